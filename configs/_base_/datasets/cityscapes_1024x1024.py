"""Cityscapes with crops of 1024x1024."""

_base_ = './cityscapes.py'

crop_size = (1024, 1024)
train_pipeline = [
    {**t, **dict(RandomCrop=dict(crop_size=crop_size)).get(t['type'], {})}
    for t in _base_.train_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
