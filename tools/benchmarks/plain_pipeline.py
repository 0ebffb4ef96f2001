"""The training pipeline written out plainly, step by step: the oracle of the fast one.

Images are loaded, resized and flipped by mmcv's own transforms; crop, distortion and packing are
spelled out in numpy, float by float. Same random draws in the same order, nothing clever. It is
also the baseline of ``tools/benchmarks/bench_data.py``.
"""

import mmcv
import mmcv.transforms
import numpy as np
import torch
from mmengine.structures import PixelData
from PIL import Image

from segkit.structures import SegDataSample

META = ('img_path', 'seg_map_path', 'ori_shape', 'img_shape', 'pad_shape', 'scale_factor')
META += ('flip', 'flip_direction', 'reduce_zero_label', 'ignore_index')


def load_label(results: dict) -> dict:
    label = np.array(Image.open(results['seg_map_path'])).astype(np.uint8)
    if results['reduce_zero_label']:
        label[label == 0] = 255
        label = label - 1
        label[label == 254] = 255
    if results.get('label_map'):
        before = label.copy()
        for old, new in results['label_map'].items():
            label[before == old] = new
    return {**results, 'gt_seg_map': label}


class PlainCrop:
    def __init__(self, crop_size, cat_max_ratio=1.0, ignore_index=255):
        self.crop_size, self.ratio, self.ignore = crop_size, cat_max_ratio, ignore_index

    def _box(self, img):
        room_y = max(img.shape[0] - self.crop_size[0], 0)
        room_x = max(img.shape[1] - self.crop_size[1], 0)
        y = np.random.randint(0, room_y + 1)
        x = np.random.randint(0, room_x + 1)
        return slice(y, y + self.crop_size[0]), slice(x, x + self.crop_size[1])

    def __call__(self, results):
        img, label = results['img'], results['gt_seg_map']
        box = self._box(img)
        if self.ratio < 1:
            for _ in range(10):
                values, counts = np.unique(label[box], return_counts=True)
                counts = counts[values != self.ignore]
                if len(counts) > 1 and np.max(counts) / np.sum(counts) < self.ratio:
                    break
                box = self._box(img)
        cropped = img[box]
        return {
            **results,
            'img': cropped,
            'gt_seg_map': label[box],
            'img_shape': cropped.shape[:2],
        }


def convert(img, alpha=1.0, beta=0.0):
    return np.clip(img.astype(np.float32) * alpha + beta, 0, 255).astype(np.uint8)


class PlainDistortion:
    """SSD's photometric distortion with its published defaults."""

    def __call__(self, results):
        rng, img = np.random, results['img']
        if rng.randint(2):
            img = convert(img, beta=rng.uniform(-32, 32))
        mode = rng.randint(2)
        if mode == 1 and rng.randint(2):
            img = convert(img, alpha=rng.uniform(0.5, 1.5))
        if rng.randint(2):
            hsv = mmcv.bgr2hsv(img)
            hsv[:, :, 1] = convert(hsv[:, :, 1], alpha=rng.uniform(0.5, 1.5))
            img = mmcv.hsv2bgr(hsv)
        if rng.randint(2):
            hsv = mmcv.bgr2hsv(img)
            hsv[:, :, 0] = (hsv[:, :, 0].astype(int) + rng.randint(-18, 18)) % 180
            img = mmcv.hsv2bgr(hsv)
        if mode == 0 and rng.randint(2):
            img = convert(img, alpha=rng.uniform(0.5, 1.5))
        return {**results, 'img': img}


def pack(results):
    img = np.ascontiguousarray(results['img'].transpose(2, 0, 1))
    label = results['gt_seg_map'][None].astype(np.int64)
    sample = SegDataSample(metainfo={key: results[key] for key in META if key in results})
    sample.gt_sem_seg = PixelData(data=torch.from_numpy(label))
    return dict(inputs=torch.from_numpy(img), data_samples=sample)


def plain_pipeline(scale, crop_size, ratio_range=(0.5, 2.0), cat_max_ratio=0.75):
    """The published recipes' training pipeline as a list of callables."""
    return [
        mmcv.transforms.LoadImageFromFile(),
        load_label,
        mmcv.transforms.RandomResize(scale=scale, ratio_range=ratio_range, keep_ratio=True),
        PlainCrop(crop_size, cat_max_ratio),
        mmcv.transforms.RandomFlip(prob=0.5),
        PlainDistortion(),
        pack,
    ]


def pipeline_config(scale, crop_size, ratio_range=(0.5, 2.0), cat_max_ratio=0.75):
    """The same as users write it in a config."""
    return [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(type='RandomResize', scale=scale, ratio_range=ratio_range, keep_ratio=True),
        dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=cat_max_ratio),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'),
        dict(type='PackSegInputs'),
    ]
