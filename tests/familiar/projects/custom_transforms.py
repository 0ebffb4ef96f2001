"""Transforms of one's own: new ones, and ours with a step replaced."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs, PhotoMetricDistortion
from mmseg.datasets.transforms.transforms import RandomCrop
from mmseg.registry import TRANSFORMS

SEEN = dict(crop=0, edges=0, brightness=0, labels=0)


@TRANSFORMS.register_module()
class MyRandomCrop(RandomCrop):
    """Every other crop starts at the upper left."""

    @cache_randomness
    def crop_bbox(self, results: dict) -> tuple:
        SEEN['crop'] += 1
        if SEEN['crop'] % 2:
            return super().crop_bbox(results)
        return 0, self.crop_size[0], 0, self.crop_size[1]


@TRANSFORMS.register_module()
class AddEdgeMap(BaseTransform):

    def transform(self, results):
        label = results['gt_seg_map']
        edge = np.zeros_like(label)
        edge[:, 1:] = label[:, 1:] != label[:, :-1]
        results['gt_edge_map'] = edge
        results['seg_fields'].append('gt_edge_map')
        SEEN['edges'] += 1
        return results


@TRANSFORMS.register_module()
class Dimmer(PhotoMetricDistortion):

    def brightness(self, img):
        SEEN['brightness'] += 1
        return self.convert(img, beta=-20)


@TRANSFORMS.register_module()
class LoadThreeClasses(LoadAnnotations):

    def transform(self, results):
        results = super().transform(results)
        results['gt_seg_map'][results['gt_seg_map'] > 2] = 2
        SEEN['labels'] += 1
        return results


CONFIG = """
_base_ = './base_config.py'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadThreeClasses'),
    dict(type='AddEdgeMap'),
    dict(type='RandomResize', scale=(64, 48), ratio_range=(1.0, 2.0), keep_ratio=True),
    dict(type='MyRandomCrop', crop_size={{_base_.crop_size}}, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Dimmer'),
    dict(type='PackSegInputs', meta_keys=('img_path', 'ori_shape', 'img_shape', 'flip')),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
"""


def main():
    with open('transforms.py', 'w') as file:
        file.write(CONFIG)
    cfg = Config.fromfile('transforms.py')
    cfg.work_dir = 'work_dirs/transforms'
    runner = Runner.from_cfg(cfg)
    sample = runner.train_dataloader.dataset[1]
    assert sample['data_samples'].gt_edge_map.data.shape[-2:] == (32, 32)
    assert isinstance(PackSegInputs(), BaseTransform)
    runner.train()
    assert all(count >= 4 for count in SEEN.values()), SEEN
