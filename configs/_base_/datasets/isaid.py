"""iSAID, 16 classes, tiles and crops of 896x896 (33,978 for training, 11,644 for validation)."""

_base_ = './potsdam.py'

dataset_type = 'iSAIDDataset'
data_root = 'data/iSAID'
crop_size = scale = (896, 896)
train_pipeline = [
    {**t, **dict(RandomResize=dict(scale=scale),
                 RandomCrop=dict(crop_size=crop_size)).get(t['type'], {})}
    for t in _base_.train_pipeline]
test_pipeline = [
    {**t, **dict(Resize=dict(scale=scale)).get(t['type'], {})}
    for t in _base_.test_pipeline]
_set = dict(type=dataset_type, data_root=data_root)
train_dataloader = dict(dataset=dict(**_set, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(**_set, pipeline=test_pipeline))
test_dataloader = val_dataloader
