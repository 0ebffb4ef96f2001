"""VOC 2012 with the SBD labels: 10,582 training images out of two label folders."""

_base_ = './pascal_voc12.py'

_train = _base_.train_dataloader.dataset
_aug = dict(
    ann_file='ImageSets/Segmentation/aug.txt',
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassAug'))
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[_train, {**_train, **_aug}]))
