"""The same by epochs, in bfloat16, scored by a moving average of the weights: a recipe of today."""

_base_ = [
    '../_base_/models/segformer_mit-b0.py', '../_base_/datasets/shapes.py',
    '../_base_/default_runtime.py', '../_base_/schedules/adamw_epochs.py',
    '../_base_/schedules/ema.py']

max_epochs, warmup_epochs = 8, 1
model = dict(
    pretrained=None,
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(embed_dims=16),
    decode_head=dict(
        in_channels=[16, 32, 80, 128], channels=64, num_classes=13,
        loss_decode=[
            dict(type='CrossEntropyLoss'),
            dict(type='DiceLoss', use_sigmoid=False, loss_weight=0.5)]))
train_dataloader = dict(sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True))
optim_wrapper = dict(optimizer=dict(lr=0.001), paramwise_cfg=dict(custom_keys=dict(
    _delete_=True, norm=dict(decay_mult=0.0))))
param_scheduler = [
    {**_base_.param_scheduler[0], 'end': warmup_epochs},
    {**_base_.param_scheduler[1], 'begin': warmup_epochs, 'end': max_epochs,
     'T_max': max_epochs - warmup_epochs}]
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
custom_hooks = [{**_base_.custom_hooks[0], 'momentum': 0.01}]
default_hooks = dict(
    logger=dict(interval=20, log_metric_by_epoch=True), checkpoint=dict(by_epoch=True, interval=1))
log_processor = dict(by_epoch=True)
