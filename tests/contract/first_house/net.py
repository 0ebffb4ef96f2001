"""The network and the data of every run here: PSPNet on two stages of a ResNet-18, 4 channels."""

default_scope = 'segkit'
num_classes = 5
norm_cfg = dict(type='SyncBN', requires_grad=True)
head = dict(num_classes=num_classes, dropout_ratio=0.1, norm_cfg=norm_cfg, align_corners=False)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[127.5] * 3, std=[64.0] * 3, bgr_to_rgb=True, pad_val=0,
        seg_pad_val=255, size=(32, 32)),
    backbone=dict(
        type='ResNetV1c', depth=18, num_stages=2, out_indices=(0, 1), base_channels=4,
        stem_channels=4, strides=(1, 2), dilations=(1, 2), contract_dilation=True,
        norm_cfg=norm_cfg, norm_eval=False, style='pytorch'),
    decode_head=dict(
        type='PSPHead', in_channels=8, in_index=1, channels=8, pool_scales=(1, 2),
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0), **head),
    auxiliary_head=dict(
        type='FCNHead', in_channels=4, in_index=0, channels=8, num_convs=1, concat_input=False,
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4), **head),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(48, 40), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(32, 32), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(48, 40), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')]
dataset = dict(
    type='BaseSegDataset', data_root='data', img_suffix='.png', seg_map_suffix='.png',
    data_prefix=dict(img_path='img', seg_map_path='ann'),
    metainfo=dict(
        classes=('sky', 'road', 'tree', 'house', 'car'),
        palette=[[70, 130, 180], [128, 64, 128], [107, 142, 35], [70, 70, 70], [0, 0, 142]]))
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline, **dataset))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(pipeline=test_pipeline, test_mode=True, **dataset))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
max_iters = 8
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=4)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4))
param_scheduler = [
    dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=max_iters, by_epoch=False)]
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
randomness = dict(seed=7)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=2),
    checkpoint=dict(type='CheckpointHook', interval=8, max_keep_ckpts=1))
log_processor = dict(by_epoch=False)
