"""Cityscapes, 19 classes, crops of 512x1024 (2,975 fine training images, 500 for validation)."""

_base_ = './pipeline.py'

dataset_type = 'CityscapesDataset'
data_root = 'data/cityscapes/'
crop_size = (512, 1024)
train_pipeline = [
    {**t, **dict(RandomResize=dict(scale=(2048, 1024)),
                 RandomCrop=dict(crop_size=crop_size)).get(t['type'], {})}
    for t in _base_.train_pipeline]
test_pipeline = [
    {**t, **dict(Resize=dict(scale=(2048, 1024))).get(t['type'], {})}
    for t in _base_.test_pipeline]
train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        pipeline=train_pipeline))
auto_scale_lr = dict(base_batch_size=8)  # 4 GPUs x 2
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
