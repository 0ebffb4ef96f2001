"""LoveDA, 7 classes, crops of 512x512 (2,522 training images, 1,669 for validation)."""

_base_ = './pipeline.py'

dataset_type = 'LoveDADataset'
data_root = 'data/loveDA'
test_pipeline = [
    {**t, **dict(Resize=dict(scale=(1024, 1024))).get(t['type'], {})}
    for t in _base_.test_pipeline]
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='img_dir/train', seg_map_path='ann_dir/train')))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='img_dir/val', seg_map_path='ann_dir/val'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
