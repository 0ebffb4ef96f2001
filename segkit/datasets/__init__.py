"""Datasets, their transforms, samplers and collation; importing the package registers them all."""

from segkit.errors import DataError
from segkit.old_names import serve

from .ade20k import ADE20KDataset
from .base import BaseSegDataset
from .camvid import CamVidDataset
from .cityscapes import CityscapesDataset
from .coco_stuff import COCOStuffDataset
from .collate import seg_collate
from .isaid import iSAIDDataset
from .isprs import ISPRSDataset, PotsdamDataset
from .loveda import LoveDADataset
from .night import DarkZurichDataset, NightDrivingDataset
from .pascal_context import PascalContextDataset, PascalContextDataset59
from .pascal_voc import PascalVOCDataset
from .samplers import (
    DefaultSampler,
    InfiniteSeededSampler,
    SeededIndex,
    UnpaddedSampler,
    WeightedSampler,
)
from .shapes import ShapesDataset
from .transforms import (
    LoadAnnotations,
    LoadImageFromFile,
    PackSegInputs,
    PhotoMetricDistortion,
    RandomCrop,
    RandomFlip,
    RandomGaussianBlur,
    RandomRotate,
)
from .wrappers import ConcatDataset, MultiImageMixDataset, RepeatDataset

__all__ = [
    'ADE20KDataset', 'BaseSegDataset', 'COCOStuffDataset', 'CamVidDataset', 'CityscapesDataset',
    'ConcatDataset', 'DarkZurichDataset', 'DataError', 'DefaultSampler', 'ISPRSDataset',
    'InfiniteSeededSampler', 'LoadAnnotations', 'LoadImageFromFile', 'LoveDADataset',
    'MultiImageMixDataset', 'NightDrivingDataset', 'PackSegInputs', 'PascalContextDataset',
    'PascalContextDataset59', 'PascalVOCDataset', 'PhotoMetricDistortion', 'PotsdamDataset',
    'RandomCrop', 'RandomFlip', 'RandomGaussianBlur', 'RandomRotate', 'RepeatDataset',
    'SeededIndex', 'ShapesDataset', 'UnpaddedSampler', 'WeightedSampler', 'iSAIDDataset',
    'seg_collate',
]  # fmt: skip

serve(__name__)
