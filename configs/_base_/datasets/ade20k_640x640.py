"""ADE20K with crops of 640x640."""

_base_ = './ade20k.py'

crop_size = (640, 640)
train_pipeline = [
    {**t, **dict(RandomResize=dict(scale=(2048, 640)),
                 RandomCrop=dict(crop_size=crop_size)).get(t['type'], {})}
    for t in _base_.train_pipeline]
test_pipeline = [
    {**t, **dict(Resize=dict(scale=(2048, 640))).get(t['type'], {})}
    for t in _base_.test_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
