"""ADE20K, 150 classes, crops of 512x512 (20,210 training images, 2,000 for validation)."""

_base_ = './pipeline.py'

dataset_type = 'ADE20KDataset'
data_root = 'data/ade/ADEChallengeData2016'
train_pipeline = [
    {**t, 'reduce_zero_label': True} if t['type'] == 'LoadAnnotations' else t
    for t in _base_.train_pipeline]
test_pipeline = [
    {**t, 'reduce_zero_label': True} if t['type'] == 'LoadAnnotations' else t
    for t in _base_.test_pipeline]
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
