"""The first 10,000 pictures of COCO-Stuff (9,000 for training, 1,000 for testing); 0 is ignored."""

_base_ = './coco-stuff164k.py'

data_root = 'data/coco_stuff10k'
_ten = dict(data_root=data_root, reduce_zero_label=True)
train_dataloader = dict(dataset=dict(
    **_ten, data_prefix=dict(img_path='images/train2014', seg_map_path='annotations/train2014')))
val_dataloader = dict(dataset=dict(
    **_ten, data_prefix=dict(img_path='images/test2014', seg_map_path='annotations/test2014')))
test_dataloader = val_dataloader
