"""A real network on generated pictures, small enough to train in a test.

PSPNet on ResNet-18 with 1/8 of its channels, crops of 32x32 of 64x64 pictures: about 25 ms an
iteration on one core. ``tiny_config`` returns a Config; ``write_tiny_config`` its file, for the
tools.
"""

from pathlib import Path

from mmengine.config import Config

NO_VALIDATION = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)
_TEXT = """
default_scope = 'segkit'
num_classes = 13
norm_cfg = dict(type='SyncBN', requires_grad=True)
head = dict(
    num_classes=num_classes, dropout_ratio=0.1, norm_cfg=norm_cfg, align_corners=False)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[127.5] * 3, std=[64.0] * 3, bgr_to_rgb=True, pad_val=0,
        seg_pad_val=255, size=(32, 32)),
    backbone=dict(
        type='ResNetV1c', depth=18, num_stages=4, out_indices=(0, 1, 2, 3), base_channels=8,
        stem_channels=8, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), contract_dilation=True,
        norm_cfg=norm_cfg, norm_eval=False, style='pytorch'),
    decode_head=dict(
        type='PSPHead', in_channels=64, in_index=3, channels=16, pool_scales=(1, 2),
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0), **head),
    auxiliary_head=dict(
        type='FCNHead', in_channels=32, in_index=2, channels=8, num_convs=1, concat_input=False,
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4), **head),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(64, 64), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(32, 32), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(64, 64), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')]
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ShapesDataset', split='train', num_images=11, size=(64, 64), serialize_data=False,
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ShapesDataset', split='val', num_images=3, size=(64, 64), serialize_data=False,
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
max_iters = 8
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=4)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4))
param_scheduler = [
    dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=max_iters, by_epoch=False)]
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
randomness = dict(seed=7)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=2),
    checkpoint=dict(type='CheckpointHook', interval=2, max_keep_ckpts=2, save_best='mIoU'))
log_processor = dict(by_epoch=False)
"""


def write_tiny_config(folder: Path) -> Path:
    """Write the config to ``folder/tiny.py`` and return the path."""
    path = Path(folder) / 'tiny.py'
    path.write_text(_TEXT)
    return path


def tiny_config(work_dir: Path, **options) -> Config:
    """The config with ``options`` merged in; their keys have "__" for the "." of a path."""
    cfg = Config.fromstring(_TEXT, '.py')
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in options.items()})
    cfg.work_dir = str(work_dir)
    return cfg


def epochs(**options) -> dict:
    """Options of a run of three epochs, of four iterations on one rank and two on two (eleven
    images in batches of three), with schedules of both kinds."""
    return dict(
        train_cfg=dict(_delete_=True, by_epoch=True, max_epochs=3, val_interval=1),
        train_dataloader__sampler=dict(type='DefaultSampler', shuffle=True),
        train_dataloader__batch_size=3,
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=5),
            dict(type='MultiStepLR', milestones=[1, 2], by_epoch=True),
        ],
        default_hooks__checkpoint__by_epoch=True,
        default_hooks__checkpoint__interval=1,
        default_hooks__checkpoint__max_keep_ckpts=-1,
        **options,
    )
