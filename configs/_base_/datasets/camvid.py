"""CamVid, 11 classes, crops of 360x480 (367 training images, 101 for validation, 233 for testing)."""

_base_ = './pipeline.py'

dataset_type = 'CamVidDataset'
data_root = 'data/CamVid'
crop_size = (360, 480)
train_pipeline = [
    {**t, **dict(RandomResize=dict(scale=(480, 360)),
                 RandomCrop=dict(crop_size=crop_size)).get(t['type'], {})}
    for t in _base_.train_pipeline]
test_pipeline = [
    {**t, **dict(Resize=dict(scale=(480, 360))).get(t['type'], {})}
    for t in _base_.test_pipeline]
_set = dict(type=dataset_type, data_root=data_root)
train_dataloader = dict(dataset=dict(
    **_set, data_prefix=dict(img_path='train', seg_map_path='trainannot'),
    pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    **_set, data_prefix=dict(img_path='val', seg_map_path='valannot'), pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(
    **_set, data_prefix=dict(img_path='test', seg_map_path='testannot'), pipeline=test_pipeline))
