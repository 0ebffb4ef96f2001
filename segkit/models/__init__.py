"""Networks: backbones, heads, losses and the segmentor that joins them.

Nothing is imported until it is asked for, so that ``import segkit.models`` stays light and one
head can be used without the Runner's imports (PEP 562).
"""

import importlib

from segkit.old_names import serve

_BUILDERS = (
    'BACKBONES', 'NECKS', 'HEADS', 'LOSSES', 'SEGMENTORS',
    'build_backbone', 'build_neck', 'build_head', 'build_loss', 'build_segmentor',
)  # fmt: skip
_BASES = {'BaseSegmentor': 'segmentors.base', 'BaseDecodeHead': 'decode_heads.decode_head'}


def _homes() -> dict[str, str]:
    """Name -> module below this package."""
    from segkit.registry import TABLE

    return {
        **dict.fromkeys(_BUILDERS, 'builder'),
        **_BASES,
        **TABLE['TASK_UTILS'],
        **TABLE['MODELS'],
    }


def __getattr__(name: str) -> object:
    if name == '__all__':  # of a star import
        return sorted(_homes())
    if name.startswith('_') or name not in _homes():
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_homes()[name]}'), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_homes()])


serve(__name__)
