"""Datasets, their transforms, samplers and collation; importing the package registers them all."""

from .ade20k import ADE20KDataset
from .base import BaseSegDataset
from .cityscapes import CityscapesDataset
from .collate import seg_collate
from .errors import DataError
from .pascal_context import PascalContextDataset, PascalContextDataset59
from .pascal_voc import PascalVOCDataset
from .samplers import DefaultSampler, InfiniteSeededSampler, SeededIndex, UnpaddedSampler
from .shapes import ShapesDataset
from .wrappers import ConcatDataset, RepeatDataset

__all__ = [
    'ADE20KDataset',
    'BaseSegDataset',
    'CityscapesDataset',
    'ConcatDataset',
    'DataError',
    'DefaultSampler',
    'InfiniteSeededSampler',
    'PascalContextDataset',
    'PascalContextDataset59',
    'PascalVOCDataset',
    'RepeatDataset',
    'SeededIndex',
    'ShapesDataset',
    'UnpaddedSampler',
    'seg_collate',
]
