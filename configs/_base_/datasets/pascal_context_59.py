"""Pascal Context without its background: 59 classes."""

_base_ = './pascal_context.py'

_load = dict(type='LoadAnnotations', reduce_zero_label=True)
train_pipeline = [_load if t['type'] == 'LoadAnnotations' else t for t in _base_.train_pipeline]
test_pipeline = [_load if t['type'] == 'LoadAnnotations' else t for t in _base_.test_pipeline]
train_dataloader = dict(dataset=dict(type='PascalContextDataset59', pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(type='PascalContextDataset59', pipeline=test_pipeline))
test_dataloader = val_dataloader
