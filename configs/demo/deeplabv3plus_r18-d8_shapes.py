"""DeepLabV3+ on the same pictures: dilated convolutions, and details of the first stage."""

_base_ = './pspnet_r18-d8_shapes.py'

model = dict(
    decode_head=dict(
        _delete_=True,
        type='DepthwiseSeparableASPPHead',
        in_channels=256,
        in_index=3,
        channels=64,
        dilations=(1, 2, 4),
        c1_in_channels=32,
        c1_channels=16,
        num_classes=_base_.num_classes,
        norm_cfg=_base_.norm_cfg))
