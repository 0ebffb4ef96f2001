"""Parts of a project of 0.x: a step of a pipeline, a head, a loss, a sampler; a repeated data set."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.config import Config
from mmseg.apis import inference_segmentor, init_segmentor, train_segmentor
from mmseg.core.seg.builder import PIXEL_SAMPLERS
from mmseg.core.seg.sampler import BasePixelSampler
from mmseg.datasets import build_dataset
from mmseg.datasets.builder import PIPELINES
from mmseg.models import build_segmentor
from mmseg.models.builder import HEADS, LOSSES
from mmseg.models.decode_heads.fcn_head import FCNHead
from mmseg.models.losses import accuracy
from mmseg.models.losses.utils import weighted_loss
from mmseg.ops import resize

HITS = []


@PIPELINES.register_module()
class Invert:
    def __init__(self, prob=0.5):
        self.prob = prob

    def __call__(self, results):
        HITS.append(1)
        results['img'] = 255 - results['img']
        return results

    def __repr__(self):
        return self.__class__.__name__


@PIXEL_SAMPLERS.register_module()
class Half(BasePixelSampler):
    def __init__(self, context, **kwargs):
        super().__init__(**kwargs)
        self.context = context

    def sample(self, seg_logit, seg_label):
        self.asked = True
        w = seg_logit.new_zeros(seg_label.squeeze(1).shape)
        w[:, ::2] = 1
        return w


@weighted_loss
def sq(pred, target):
    return (pred - target) ** 2


@LOSSES.register_module()
class MyMSE(nn.Module):
    def __init__(self, reduction='mean', loss_weight=1.0, loss_name='loss_mse'):
        super().__init__()
        self.r = reduction
        self.w = loss_weight
        self._n = loss_name

    def forward(
        self,
        cls_score,
        label,
        weight=None,
        avg_factor=None,
        reduction_override=None,
        ignore_index=255,
        **kw,
    ):
        hot = (
            F.one_hot(label.clamp(0, cls_score.shape[1] - 1), cls_score.shape[1])
            .permute(0, 3, 1, 2)
            .float()
        )
        return self.w * sq(cls_score.softmax(1), hot, reduction=self.r)

    @property
    def loss_name(self):
        return self._n


@HEADS.register_module()
class MyFCN(FCNHead):
    def __init__(self, extra=1, **kwargs):
        super().__init__(**kwargs)
        self.gate = nn.Conv2d(self.channels, self.channels, 1)

    def forward(self, inputs):
        x = self._transform_inputs(inputs)
        out = self.convs(x)
        if self.concat_input:
            out = self.conv_cat(torch.cat([x, out], 1))
        return self.cls_seg(self.gate(out))

    def losses(self, seg_logit, seg_label):
        loss = dict()
        seg_logit = resize(
            input=seg_logit,
            size=seg_label.shape[2:],
            mode='bilinear',
            align_corners=self.align_corners,
        )
        w = self.sampler.sample(seg_logit, seg_label) if self.sampler is not None else None
        seg_label = seg_label.squeeze(1)
        ld = self.loss_decode if isinstance(self.loss_decode, nn.ModuleList) else [self.loss_decode]
        for l in ld:
            if l.loss_name not in loss:
                loss[l.loss_name] = l(
                    seg_logit, seg_label, weight=w, ignore_index=self.ignore_index
                )
            else:
                loss[l.loss_name] += l(
                    seg_logit, seg_label, weight=w, ignore_index=self.ignore_index
                )
        loss['acc_seg'] = accuracy(seg_logit, seg_label)
        return loss


CONFIG = """
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    pretrained=None,
    backbone=dict(
        type='ResNetV1c',
        depth=18,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        base_channels=8,
        stem_channels=8,
        dilations=(1, 1, 2, 4),
        strides=(1, 2, 1, 1),
        norm_cfg=norm_cfg,
        norm_eval=False,
        style='pytorch',
        contract_dilation=True,
    ),
    decode_head=dict(
        type='MyFCN',
        extra=2,
        in_channels=64,
        in_index=3,
        channels=16,
        num_convs=1,
        dropout_ratio=0.1,
        num_classes=3,
        norm_cfg=norm_cfg,
        align_corners=False,
        sampler=dict(type='Half'),
        loss_decode=[
            dict(
                type='CrossEntropyLoss',
                use_sigmoid=False,
                loss_weight=1.0,
                class_weight=[1.0, 2.0, 0.5],
            ),
            dict(type='MyMSE', loss_weight=0.5),
        ],
    ),
    auxiliary_head=[
        dict(
            type='FCNHead',
            in_channels=32,
            in_index=2,
            channels=8,
            num_convs=1,
            num_classes=3,
            norm_cfg=norm_cfg,
            loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4),
        ),
    ],
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(32, 32), stride=(20, 20)),
)
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop_size = (32, 32)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=False),
    dict(type='Resize', img_scale=[(64, 48), (80, 60)], multiscale_mode='range', keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomRotate', prob=0.5, degree=10),
    dict(type='Invert', prob=1.0),
    dict(type='PhotoMetricDistortion'),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size=crop_size, pad_val=0, seg_pad_val=255),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_semantic_seg']),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug',
        img_scale=(64, 48),
        img_ratios=[0.5, 1.0],
        flip=True,
        transforms=[
            dict(type='Resize', keep_ratio=True),
            dict(type='RandomFlip'),
            dict(type='Normalize', **img_norm_cfg),
            dict(type='ImageToTensor', keys=['img']),
            dict(type='Collect', keys=['img']),
        ],
    ),
]
ds = dict(
    type='CustomDataset',
    data_root='data',
    img_dir='images/train',
    ann_dir='labels/train',
    pipeline=train_pipeline,
    classes=('a', 'b', 'c'),
    palette=[[0, 0, 0], [1, 1, 1], [2, 2, 2]],
)
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=0,
    train=dict(type='RepeatDataset', times=4, dataset=ds),
    val=dict(
        type='CustomDataset',
        data_root='data',
        img_dir='images/val',
        ann_dir='labels/val',
        pipeline=test_pipeline,
        classes=('a', 'b', 'c'),
        palette=[[0, 0, 0], [1, 1, 1], [2, 2, 2]],
    ),
    test=dict(
        type='CustomDataset',
        data_root='data',
        img_dir='images/val',
        ann_dir='labels/val',
        pipeline=test_pipeline,
        classes=('a', 'b', 'c'),
        palette=[[0, 0, 0], [1, 1, 1], [2, 2, 2]],
    ),
)
log_config = dict(interval=1, hooks=[dict(type='TextLoggerHook', by_epoch=False)])
dist_params = dict(backend='nccl')
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
cudnn_benchmark = True
optimizer = dict(
    type='AdamW',
    lr=6e-5,
    betas=(0.9, 0.999),
    weight_decay=0.01,
    paramwise_cfg=dict(custom_keys={'head': dict(lr_mult=10.0)}),
)
optimizer_config = dict(grad_clip=dict(max_norm=35, norm_type=2))
lr_config = dict(
    policy='poly',
    warmup='linear',
    warmup_iters=1,
    warmup_ratio=1e-6,
    power=1.0,
    min_lr=0.0,
    by_epoch=False,
)
runner = dict(type='IterBasedRunner', max_iters=2)
checkpoint_config = dict(by_epoch=False, interval=2)
evaluation = dict(interval=2, metric=['mIoU', 'mDice'], pre_eval=True, save_best='mIoU')
"""


def main():
    with open('older.py', 'w') as file:
        file.write(CONFIG)
    cfg = Config.fromfile('older.py')
    cfg.work_dir, cfg.seed, cfg.gpu_ids, cfg.device = 'work_dirs/older', 0, range(1), 'cpu'
    datasets = [build_dataset(cfg.data.train)]
    assert datasets[0].CLASSES == ('a', 'b', 'c')
    assert len(datasets[0]) == 16
    model = build_segmentor(cfg.model, train_cfg=cfg.get('train_cfg'), test_cfg=cfg.get('test_cfg'))
    model.init_weights()
    model.CLASSES = datasets[0].CLASSES
    train_segmentor(
        model,
        datasets,
        cfg,
        distributed=False,
        validate=True,
        meta=dict(CLASSES=datasets[0].CLASSES),
    )
    assert HITS
    assert model.decode_head.sampler.asked
    model = init_segmentor(cfg, 'work_dirs/older/iter_2.pth', device='cpu')
    result = inference_segmentor(model, np.zeros((48, 64, 3), np.uint8))
    assert result[0].shape == (48, 64)
    assert tuple(model.CLASSES) == ('a', 'b', 'c')
