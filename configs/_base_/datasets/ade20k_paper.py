"""ADE20K as PSANet's paper augments it: crops of 465x465, rotation and blur added (section 4.1)."""

_base_ = './ade20k.py'

crop_size = (465, 465)
train_pipeline = [
    *_base_.train_pipeline[:3],
    dict(type='RandomRotate', prob=0.5, degree=10),
    dict(type='RandomGaussianBlur', prob=0.5),
    {**_base_.train_pipeline[3], 'crop_size': crop_size},
    _base_.train_pipeline[4],
    dict(type='PackSegInputs')]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
