"""The same without context: what an FCN cannot tell apart (a lamp and a mirror) PSPNet can."""

_base_ = './pspnet_r18-d8_shapes.py'

model = dict(
    decode_head=dict(
        _delete_=True,
        type='FCNHead',
        in_channels=256,
        in_index=3,
        channels=64,
        num_convs=2,
        num_classes=_base_.num_classes,
        norm_cfg=_base_.norm_cfg))
