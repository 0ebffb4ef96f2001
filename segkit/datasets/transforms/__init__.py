"""Transforms of samples. mmcv's (Normalize, RandomChoice, RandomResize, ...) are built by the same
registry: importing them here is what registers them with its parent.
"""

import mmcv.transforms  # noqa: F401

from segkit.old_names import serve

from .albu import Albu
from .aug_test import MultiScaleViews, PackViews
from .compose import Compose
from .cutout_mosaic import RandomCutOut, RandomMosaic
from .edges import GenerateEdge
from .formatting import PackSegInputs
from .geometric import (
    CenterCrop,
    MultiScaleFlipAug,
    Pad,
    RandomCrop,
    RandomFlip,
    RandomRotate,
    RandomRotFlip,
)
from .loading import LoadAnnotations, LoadImageFromFile, LoadImageFromNDArray
from .photometric import PhotoMetricDistortion, RandomGaussianBlur
from .resize import Resize, ResizeShortestEdge, ResizeToMultiple, SegRescale
from .tones import CLAHE, AdjustGamma, Rerange, RGB2Gray

__all__ = [
    'AdjustGamma', 'Albu', 'CLAHE', 'CenterCrop', 'Compose', 'GenerateEdge', 'LoadAnnotations',
    'LoadImageFromFile', 'LoadImageFromNDArray', 'MultiScaleFlipAug', 'MultiScaleViews',
    'PackSegInputs', 'PackViews', 'Pad', 'PhotoMetricDistortion', 'RGB2Gray', 'RandomCrop',
    'RandomCutOut', 'RandomFlip', 'RandomGaussianBlur', 'RandomMosaic', 'RandomRotFlip',
    'RandomRotate', 'Rerange', 'Resize', 'ResizeShortestEdge', 'ResizeToMultiple', 'SegRescale',
]  # fmt: skip

serve(__name__)
