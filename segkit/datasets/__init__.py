"""Datasets, their transforms, samplers and collation; importing the package registers them all."""

from .ade20k import ADE20KDataset
from .base import BaseSegDataset
from .cityscapes import CityscapesDataset
from .collate import seg_collate
from .errors import DataError
from .pascal_context import PascalContextDataset, PascalContextDataset59
from .pascal_voc import PascalVOCDataset
from .samplers import DefaultSampler, InfiniteSeededSampler, SeededIndex, UnpaddedSampler

__all__ = [
    'ADE20KDataset',
    'BaseSegDataset',
    'CityscapesDataset',
    'DataError',
    'DefaultSampler',
    'InfiniteSeededSampler',
    'PascalContextDataset',
    'PascalContextDataset59',
    'PascalVOCDataset',
    'SeededIndex',
    'UnpaddedSampler',
    'seg_collate',
]
