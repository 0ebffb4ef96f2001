"""Cityscapes to train and validate on, the night of Dark Zurich (50 images) to test on."""

_base_ = './cityscapes.py'

test_pipeline = [
    {**t, **dict(Resize=dict(scale=(1920, 1080))).get(t['type'], {})}
    for t in _base_.test_pipeline]
test_dataloader = dict(
    dataset=dict(
        type='DarkZurichDataset',
        data_root='data/dark_zurich/',
        data_prefix=dict(
            img_path='rgb_anon/val/night/GOPR0356', seg_map_path='gt/val/night/GOPR0356'),
        pipeline=test_pipeline))
