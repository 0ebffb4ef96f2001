"""UPerNet on the same pictures: a feature pyramid on a ResNet without dilation."""

_base_ = './pspnet_r18-d8_shapes.py'

model = dict(
    backbone=dict(strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1)),
    decode_head=dict(
        _delete_=True,
        type='UPerHead',
        in_channels=[32, 64, 128, 256],
        in_index=[0, 1, 2, 3],
        channels=64,
        num_classes=_base_.num_classes,
        norm_cfg=_base_.norm_cfg))
