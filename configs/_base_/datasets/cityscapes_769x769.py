"""Cityscapes with crops of 769x769 = 8 x 96 + 1, so that corners align at every stride."""

_base_ = './cityscapes.py'

crop_size = (769, 769)
train_pipeline = [
    {**t, **dict(RandomResize=dict(scale=(2049, 1025)),
                 RandomCrop=dict(crop_size=crop_size)).get(t['type'], {})}
    for t in _base_.train_pipeline]
test_pipeline = [
    {**t, **dict(Resize=dict(scale=(2049, 1025))).get(t['type'], {})}
    for t in _base_.test_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
