"""Pascal Context, 60 classes, crops of 480x480 (4,998 training images, 5,105 for validation)."""

_base_ = './pipeline.py'

dataset_type = 'PascalContextDataset'
data_root = 'data/VOCdevkit/VOC2010/'
crop_size = (480, 480)
train_pipeline = [
    {**t, **dict(RandomResize=dict(scale=(520, 520)),
                 RandomCrop=dict(crop_size=crop_size)).get(t['type'], {})}
    for t in _base_.train_pipeline]
test_pipeline = [
    {**t, **dict(Resize=dict(scale=(520, 520))).get(t['type'], {})}
    for t in _base_.test_pipeline]
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/SegmentationContext/train.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext'),
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ImageSets/SegmentationContext/val.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
