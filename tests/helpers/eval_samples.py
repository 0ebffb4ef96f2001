"""Samples as a network hands them to a metric, made from a seed."""

import numpy as np
import torch
from mmengine.structures import PixelData

from segkit.structures import SegDataSample

CLASSES = ('sky', 'tree', 'road', 'car', 'person')
PALETTE = [[70, 130, 180], [107, 142, 35], [128, 64, 128], [0, 0, 142], [220, 20, 60]]
META = {'classes': CLASSES, 'palette': PALETTE}


def sample_of(label, pred, img_path: str = 'images/a.jpg', **meta) -> SegDataSample:
    """A SegDataSample holding two (H, W) maps."""
    sample = SegDataSample(metainfo={'img_path': img_path, 'ori_shape': pred.shape, **meta})
    if label is not None:
        sample.gt_sem_seg = PixelData(data=torch.as_tensor(label)[None])
    sample.pred_sem_seg = PixelData(data=torch.as_tensor(pred)[None])
    return sample


def random_samples(count: int, seed: int = 0, k: int = len(CLASSES)) -> list[SegDataSample]:
    """Pictures of different sizes, a tenth of the pixels ignored, two thirds predicted right."""
    rng = np.random.default_rng(seed)
    samples = []
    for i in range(count):
        shape = tuple(rng.integers(8, 30, 2))
        label = rng.integers(0, k, shape, dtype=np.uint8)
        pred = np.where(rng.random(shape) < 0.6, label, rng.integers(0, k, shape, dtype=np.uint8))
        label[rng.random(shape) < 0.1] = 255
        samples.append(sample_of(label, pred, f'images/{i:03}.jpg'))
    return samples
