"""SegFormer on the same pictures: half the width of b0, trained from nothing with AdamW."""

_base_ = [
    '../_base_/models/segformer_mit-b0.py', '../_base_/datasets/shapes.py',
    '../_base_/default_runtime.py', '../_base_/schedules/adamw_160k.py']

max_iters = 800
warmup_iters = 40
model = dict(
    pretrained=None,
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(embed_dims=16, drop_path_rate=0.0),
    decode_head=dict(in_channels=[16, 32, 80, 128], channels=64, num_classes=13))
optim_wrapper = dict(optimizer=dict(lr=0.001), paramwise_cfg=dict(custom_keys=dict(
    _delete_=True, norm=dict(decay_mult=0.0))))
param_scheduler = [
    {**_base_.param_scheduler[0], 'end': warmup_iters},
    {**_base_.param_scheduler[1], 'begin': warmup_iters, 'end': max_iters}]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 4)
default_hooks = dict(logger=dict(interval=20))
