"""Pure-python configs: read_base, and classes in the place of their names."""

from mmengine.config import Config
from mmengine.runner import Runner

DATA = """
from mmcv.transforms import LoadImageFromFile, RandomFlip, RandomResize, Resize
from mmengine.dataset import DefaultSampler, InfiniteSampler

from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs
from mmseg.datasets.transforms.transforms import PhotoMetricDistortion, RandomCrop
from mmseg.evaluation import IoUMetric

crop_size = (32, 32)
metainfo = dict(
    classes=('road', 'pothole', 'lane'), palette=[[128, 64, 128], [255, 0, 0], [255, 255, 255]])
train_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=LoadAnnotations),
    dict(type=RandomResize, scale=(64, 48), ratio_range=(0.5, 2.0), keep_ratio=True,
         resize_type=Resize),
    dict(type=RandomCrop, crop_size=crop_size, cat_max_ratio=0.75),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PhotoMetricDistortion),
    dict(type=PackSegInputs),
]
test_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=Resize, scale=(64, 48), keep_ratio=True),
    dict(type=LoadAnnotations),
    dict(type=PackSegInputs),
]
train_dataloader = dict(
    batch_size=2, num_workers=0,
    sampler=dict(type=InfiniteSampler, shuffle=True),
    dataset=dict(
        type=BaseSegDataset, data_root='data', metainfo=metainfo,
        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1, num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(
        type=BaseSegDataset, data_root='data', metainfo=metainfo,
        data_prefix=dict(img_path='images/val', seg_map_path='labels/val'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type=IoUMetric, iou_metrics=['mIoU'])
test_evaluator = val_evaluator
"""

CONFIG = """
from mmengine.config import read_base
from mmengine.optim import OptimWrapper, PolyLR
from mmengine.runner import IterBasedTrainLoop, TestLoop, ValLoop
from torch.optim import SGD

from mmseg.models import EncoderDecoder, FCNHead, PSPHead, ResNetV1c, SegDataPreProcessor
from mmseg.models.losses import CrossEntropyLoss

with read_base():
    from .lazy_data import *

default_scope = 'mmseg'
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type=EncoderDecoder,
    data_preprocessor=dict(
        type=SegDataPreProcessor, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True, size=crop_size),
    backbone=dict(
        type=ResNetV1c, depth=18, base_channels=8, stem_channels=8, strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4), norm_cfg=norm_cfg),
    decode_head=dict(
        type=PSPHead, in_channels=64, in_index=3, channels=16, pool_scales=(1, 2), num_classes=3,
        norm_cfg=norm_cfg, loss_decode=dict(type=CrossEntropyLoss, loss_weight=1.0)),
    auxiliary_head=dict(
        type=FCNHead, in_channels=32, in_index=2, channels=8, num_convs=1, num_classes=3,
        norm_cfg=norm_cfg, loss_decode=dict(type=CrossEntropyLoss, loss_weight=0.4)),
    test_cfg=dict(mode='whole'))
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.01, momentum=0.9))
param_scheduler = [dict(type=PolyLR, eta_min=1e-4, power=0.9, begin=0, end=2, by_epoch=False)]
train_cfg = dict(type=IterBasedTrainLoop, max_iters=2, val_interval=2)
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)
"""


def main():
    for name, text in (('lazy_data', DATA), ('lazy', CONFIG)):
        with open(f'{name}.py', 'w') as file:
            file.write(text)
    cfg = Config.fromfile('lazy.py')
    cfg.work_dir = 'work_dirs/lazy'
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert 0 <= runner.test()['aAcc'] <= 100
