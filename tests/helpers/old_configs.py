"""Configs as mmsegmentation's users wrote them, 0.x and 1.x, for each network and dataset."""

import itertools

HEADS = {
    'fcn': "type='FCNHead', num_convs=2, concat_input=True,",
    'pspnet': "type='PSPHead', pool_scales=(1, 2, 3, 6),",
    'psanet': "type='PSAHead', mask_size={mask}, psa_type='bi-direction', compact=False, "
    'shrink_factor=2, normalization_factor=1.0, psa_softmax=True,',
    'danet': "type='DAHead', pam_channels=64,",
    'isanet': "type='ISAHead', isa_channels=256, down_factor=(8, 8),",
}

# name in a config -> class, root, scale, crop, classes, zero label, slide stride, batch, lr, decay
DATASETS = {
    '512x1024_40k_cityscapes': (
        'CityscapesDataset', 'data/cityscapes/', (2048, 1024), (512, 1024), 19, False, None, 2,
        0.01, 0.0005,
    ),
    '769x769_80k_cityscapes': (
        'CityscapesDataset', 'data/cityscapes/', (2049, 1025), (769, 769), 19, False, (513, 513),
        2, 0.01, 0.0005,
    ),
    '512x512_160k_ade20k': (
        'ADE20KDataset', 'data/ade/ADEChallengeData2016', (2048, 512), (512, 512), 150, True, None,
        4, 0.01, 0.0005,
    ),
    '512x512_20k_voc12aug': (
        'PascalVOCDataset', 'data/VOCdevkit/VOC2012', (2048, 512), (512, 512), 21, False, None, 4,
        0.01, 0.0005,
    ),
    '480x480_40k_pascal_context': (
        'PascalContextDataset', 'data/VOCdevkit/VOC2010/', (520, 520), (480, 480), 60, False,
        (320, 320), 4, 0.004, 0.0001,
    ),
}  # fmt: skip
_CONTEXT = '480x480_40k_pascal_context'  # trained with PSPNet-101 and FCN only
FAMILIES = [
    f'{method}_r{depth}-d8_{data}'
    for method, depth, data in itertools.product(HEADS, (50, 101), DATASETS)
    if data != _CONTEXT or method == 'fcn' or (method, depth) == ('pspnet', 101)
]

_FOLDERS = {  # 0.x arguments of (train, val)
    'CityscapesDataset': (
        "img_dir='leftImg8bit/train', ann_dir='gtFine/train'",
        "img_dir='leftImg8bit/val', ann_dir='gtFine/val'",
    ),
    'ADE20KDataset': (
        "img_dir='images/training', ann_dir='annotations/training'",
        "img_dir='images/validation', ann_dir='annotations/validation'",
    ),
    'PascalVOCDataset': (
        "img_dir='JPEGImages', ann_dir=['SegmentationClass', 'SegmentationClassAug'], "
        "split=['ImageSets/Segmentation/train.txt', 'ImageSets/Segmentation/aug.txt']",
        "img_dir='JPEGImages', ann_dir='SegmentationClass', split='ImageSets/Segmentation/val.txt'",
    ),
    'PascalContextDataset': (
        "img_dir='JPEGImages', ann_dir='SegmentationClassContext', "
        "split='ImageSets/SegmentationContext/train.txt'",
        "img_dir='JPEGImages', ann_dir='SegmentationClassContext', "
        "split='ImageSets/SegmentationContext/val.txt'",
    ),
}

_V0 = """
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder', pretrained='open-mmlab://resnet{depth}_v1c',
    backbone=dict(
        type='ResNetV1c', depth={depth}, num_stages=4, out_indices=(0, 1, 2, 3),
        dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1), norm_cfg=norm_cfg, norm_eval=False,
        style='pytorch', contract_dilation=True),
    decode_head=dict(
        {head} in_channels=2048, in_index=3, channels=512, dropout_ratio=0.1,
        num_classes={classes}, norm_cfg=norm_cfg, align_corners={align},
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    auxiliary_head=dict(
        type='FCNHead', in_channels=1024, in_index=2, channels=256, num_convs=1,
        concat_input=False, dropout_ratio=0.1, num_classes={classes}, norm_cfg=norm_cfg,
        align_corners={align},
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4)),
    train_cfg=dict(), test_cfg=dict({test_cfg}))
dataset_type = '{dataset}'
data_root = '{root}'
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop_size = {crop}
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'{zero}),
    dict(type='Resize', img_scale={scale}, ratio_range=(0.5, 2.0)),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size=crop_size, pad_val=0, seg_pad_val=255),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_semantic_seg'])]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale={scale}, flip=False, transforms=[
        dict(type='Resize', keep_ratio=True),
        dict(type='RandomFlip'),
        dict(type='Normalize', **img_norm_cfg),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img'])])]
_val = dict(type=dataset_type, data_root=data_root, {val}, pipeline=test_pipeline)
data = dict(
    samples_per_gpu={batch}, workers_per_gpu={batch},
    train=dict(type=dataset_type, data_root=data_root, {train}, pipeline=train_pipeline),
    val=_val, test=_val)
optimizer = dict(type='SGD', lr={lr}, momentum=0.9, weight_decay={decay})
optimizer_config = dict()
lr_config = dict(policy='poly', power=0.9, min_lr=1e-4, by_epoch=False)
runner = dict(type='IterBasedRunner', max_iters={iters})
checkpoint_config = dict(by_epoch=False, interval={interval})
evaluation = dict(interval={interval}, metric='mIoU', pre_eval=True)
log_config = dict(interval=50, hooks=[dict(type='TextLoggerHook', by_epoch=False)])
dist_params = dict(backend='nccl')
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
cudnn_benchmark = True
"""


def v0_config(name: str) -> str:
    """The text of a flat 0.x config of one of FAMILIES."""
    method, backbone, data = name.split('_', 2)
    dataset, root, scale, crop, classes, zero, stride, batch, lr, decay = DATASETS[data]
    iters = int(data.split('_')[1][:-1]) * 1000
    slide = f"mode='slide', crop_size={crop}, stride={stride}"
    train, val = _FOLDERS[dataset]
    return _V0.format(
        depth=backbone[1:].split('-')[0],
        head=HEADS[method].format(mask=(66, 66) if zero else (97, 97)),
        classes=classes, align=crop == (769, 769), test_cfg=slide if stride else "mode='whole'",
        dataset=dataset, root=root, scale=scale, crop=crop,
        zero=', reduce_zero_label=True' if zero else '', train=train, val=val, batch=batch, lr=lr,
        decay=decay, iters=iters, interval=iters // 10,
    )  # fmt: skip
