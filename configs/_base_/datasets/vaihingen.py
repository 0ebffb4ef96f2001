"""ISPRS Vaihingen, 6 classes, tiles and crops of 512x512 (344 for training, 398 for validation)."""

_base_ = './potsdam.py'

dataset_type = 'ISPRSDataset'
data_root = 'data/vaihingen'
_set = dict(type=dataset_type, data_root=data_root)
train_dataloader = dict(dataset=_set)
val_dataloader = dict(dataset=_set)
test_dataloader = val_dataloader
