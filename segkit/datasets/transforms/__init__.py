"""Transforms of samples. mmcv's (Normalize, RandomChoice, RandomResize, ...) are built by the same
registry: importing them here is what registers them with its parent.
"""

import mmcv.transforms  # noqa: F401

from segkit.old_names import serve

from .aug_test import MultiScaleViews, PackViews
from .compose import Compose
from .formatting import PackSegInputs
from .geometric import CenterCrop, MultiScaleFlipAug, Pad, RandomCrop, RandomFlip, RandomRotate
from .loading import LoadAnnotations, LoadImageFromFile, LoadImageFromNDArray
from .photometric import PhotoMetricDistortion, RandomGaussianBlur
from .resize import Resize

__all__ = [
    'CenterCrop', 'Compose', 'LoadAnnotations', 'LoadImageFromFile', 'LoadImageFromNDArray',
    'MultiScaleFlipAug',
    'MultiScaleViews', 'PackSegInputs', 'PackViews', 'Pad', 'PhotoMetricDistortion',
    'RandomCrop', 'RandomFlip', 'RandomGaussianBlur', 'RandomRotate', 'Resize',
]  # fmt: skip

serve(__name__)
