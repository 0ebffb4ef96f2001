"""Testing a network: windows, memory-bounded logits to classes, multi-scale views, fast modes.

Imported name by name and lazily, so that a tool can derive a test protocol without importing the
network code (PEP 562).
"""

import importlib
from typing import Any

_HOMES = {
    'window_boxes': 'windows',
    'Geometry': 'logits',
    'WholeLogits': 'logits',
    'SlideLogits': 'logits',
    'to_classes': 'classes',
    'merge_views': 'views',
    'derive_views': 'aug_test',
    'enable_aug_test': 'aug_test',
    'rescaled_size': 'aug_test',
    'fuse_conv_bn': 'fast',
    'speed_up': 'fast',
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_HOMES[name]}'), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
