"""Networks: backbones, heads, losses and the segmentor that joins them.

Nothing is imported until it is asked for, so that ``import segkit.models`` stays light and one
head can be used without the Runner's imports (PEP 562).
"""

import importlib

_HOMES = {
    'BaseSegmentor': 'segmentors',
    'EncoderDecoder': 'segmentors',
    'SegDataPreProcessor': 'data_preprocessor',
    'ResNet': 'backbones',
    'ResNetV1c': 'backbones',
    'ResNetV1d': 'backbones',
    'BaseDecodeHead': 'decode_heads',
    'FCNHead': 'decode_heads',
    'PSPHead': 'decode_heads',
    'PSAHead': 'decode_heads',
    'DAHead': 'decode_heads',
    'ISAHead': 'decode_heads',
    'CrossEntropyLoss': 'losses',
    'OHEMPixelSampler': 'samplers',
    'BACKBONES': 'builder',
    'NECKS': 'builder',
    'HEADS': 'builder',
    'LOSSES': 'builder',
    'SEGMENTORS': 'builder',
    'build_backbone': 'builder',
    'build_neck': 'builder',
    'build_head': 'builder',
    'build_loss': 'builder',
    'build_segmentor': 'builder',
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    module = importlib.import_module(f'{__name__}.{_HOMES[name]}')
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
