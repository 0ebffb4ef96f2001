"""ADE20K as PSANet's paper augments it: crops of 465x465, rotation and blur added (section 4.1)."""

_base_ = './ade20k.py'

crop_size = (465, 465)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomRotate', prob=0.5, degree=10),
    dict(type='RandomGaussianBlur', prob=0.5),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs')]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
