"""A project of 0.x: its data set, its config, its training script, its notebook."""

import os.path as osp

import numpy as np
from mmengine.config import Config
from mmseg.apis import (
    inference_segmentor,
    init_segmentor,
    set_random_seed,
    show_result_pyplot,
    single_gpu_test,
    train_segmentor,
)
from mmseg.core.evaluation import eval_metrics, get_palette, mean_iou
from mmseg.datasets import build_dataloader, build_dataset
from mmseg.datasets.builder import DATASETS
from mmseg.datasets.custom import CustomDataset
from mmseg.models import build_segmentor
from mmseg.utils import get_root_logger


@DATASETS.register_module()
class StreetDataset(CustomDataset):
    CLASSES = ('road', 'pothole', 'lane')
    PALETTE = [[128, 64, 128], [255, 0, 0], [255, 255, 255]]

    def __init__(self, split, **kwargs):
        super().__init__(img_suffix='.jpg', seg_map_suffix='.png', split=split, **kwargs)
        assert osp.exists(self.img_dir) and self.split is not None


CONFIG = """
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    pretrained=None,
    backbone=dict(
        type='ResNetV1c', depth=18, num_stages=4, out_indices=(0, 1, 2, 3), base_channels=8,
        stem_channels=8, dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1), norm_cfg=norm_cfg,
        norm_eval=False, style='pytorch', contract_dilation=True),
    decode_head=dict(
        type='PSPHead', in_channels=64, in_index=3, channels=16, pool_scales=(1, 2),
        dropout_ratio=0.1, num_classes=3, norm_cfg=norm_cfg, align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
dataset_type = 'StreetDataset'
data_root = 'data'
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop_size = (32, 32)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', img_scale=(64, 48), ratio_range=(0.5, 2.0)),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size=crop_size, pad_val=0, seg_pad_val=255),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_semantic_seg'])]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug', img_scale=(64, 48), flip=False,
        transforms=[
            dict(type='Resize', keep_ratio=True),
            dict(type='RandomFlip'),
            dict(type='Normalize', **img_norm_cfg),
            dict(type='ImageToTensor', keys=['img']),
            dict(type='Collect', keys=['img'])])]
data = dict(
    samples_per_gpu=2, workers_per_gpu=0,
    train=dict(
        type=dataset_type, data_root=data_root, img_dir='images/train', ann_dir='labels/train',
        split='train.txt', pipeline=train_pipeline),
    val=dict(
        type=dataset_type, data_root=data_root, img_dir='images/val', ann_dir='labels/val',
        split='val.txt', pipeline=test_pipeline),
    test=dict(
        type=dataset_type, data_root=data_root, img_dir='images/val', ann_dir='labels/val',
        split='val.txt', pipeline=test_pipeline))
log_config = dict(interval=1, hooks=[dict(type='TextLoggerHook', by_epoch=False)])
dist_params = dict(backend='nccl')
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
cudnn_benchmark = True
optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005)
optimizer_config = dict()
lr_config = dict(policy='poly', power=0.9, min_lr=1e-4, by_epoch=False)
runner = dict(type='IterBasedRunner', max_iters=2)
checkpoint_config = dict(by_epoch=False, interval=2)
evaluation = dict(interval=2, metric='mIoU', pre_eval=True)
"""


def main():
    with open('old.py', 'w') as file:
        file.write(CONFIG)
    cfg = Config.fromfile('old.py')
    cfg.work_dir = 'work_dirs/old'
    cfg.seed = 0
    set_random_seed(0, deterministic=False)
    cfg.gpu_ids = range(1)
    get_root_logger().info('start')
    datasets = [build_dataset(cfg.data.train)]
    model = build_segmentor(cfg.model, train_cfg=cfg.get('train_cfg'), test_cfg=cfg.get('test_cfg'))
    model.CLASSES = datasets[0].CLASSES
    train_segmentor(model, datasets, cfg, distributed=False, validate=True, meta=dict())
    assert osp.exists('work_dirs/old/iter_2.pth')

    dataset = build_dataset(cfg.data.test, dict(test_mode=True))
    loader = build_dataloader(
        dataset, samples_per_gpu=1, workers_per_gpu=0, dist=False, shuffle=False)
    results = single_gpu_test(model, loader)
    scores = dataset.evaluate(results, metric=['mIoU', 'mFscore'])
    assert 0 <= scores['mIoU'] <= 1 and 'IoU.pothole' in scores
    labels = list(dataset.get_gt_seg_maps())
    by_hand = mean_iou(results, labels, num_classes=3, ignore_index=255)
    assert abs(np.nanmean(by_hand['IoU']) - scores['mIoU']) < 1e-9
    assert set(eval_metrics(results, labels, 3, 255, ['mDice'])) == {'aAcc', 'Dice', 'Acc'}
    pre = single_gpu_test(model, loader, pre_eval=True)
    assert dataset.evaluate(pre)['mIoU'] == scores['mIoU']

    model = init_segmentor('old.py', 'work_dirs/old/iter_2.pth', device='cpu')
    image = dataset.img_infos[0]['filename']
    result = inference_segmentor(model, image)
    assert result[0].shape == (48, 64)
    show_result_pyplot(model, image, result, get_palette('cityscapes'), opacity=0.7, block=False)
