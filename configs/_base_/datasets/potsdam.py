"""ISPRS Potsdam, 6 classes, tiles and crops of 512x512 (3,456 for training, 2,016 for validation)."""

_base_ = './loveda.py'

dataset_type = 'PotsdamDataset'
data_root = 'data/potsdam'
scale = (512, 512)
train_pipeline = [
    {**t, **dict(RandomResize=dict(scale=scale)).get(t['type'], {})}
    for t in _base_.train_pipeline]
test_pipeline = [
    {**t, **dict(Resize=dict(scale=scale)).get(t['type'], {})}
    for t in _base_.test_pipeline]
_set = dict(type=dataset_type, data_root=data_root)
train_dataloader = dict(dataset=dict(**_set, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(**_set, pipeline=test_pipeline))
test_dataloader = val_dataloader
