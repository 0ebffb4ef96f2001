"""Transforms of samples. mmcv's (Resize, RandomResize, Pad, Normalize, RandomChoice,
...) are built by the same registry: importing them here is what registers them with its parent.
"""

import mmcv.transforms  # noqa: F401

from .aug_test import MultiScaleViews, PackViews
from .compose import Compose
from .formatting import PackSegInputs
from .geometric import RandomCrop, RandomFlip, RandomRotate
from .loading import LoadAnnotations, LoadImageFromFile
from .photometric import PhotoMetricDistortion, RandomGaussianBlur

__all__ = [
    'Compose',
    'LoadAnnotations',
    'LoadImageFromFile',
    'MultiScaleViews',
    'PackSegInputs',
    'PackViews',
    'PhotoMetricDistortion',
    'RandomCrop',
    'RandomFlip',
    'RandomGaussianBlur',
    'RandomRotate',
]
