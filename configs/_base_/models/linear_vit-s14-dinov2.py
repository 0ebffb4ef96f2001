"""A linear classifier on the last map of a frozen DINOv2: one 1x1 convolution learns.

Needs timm, which fetches the weights; a larger model_name needs its channels in the head.
"""

_base_ = './resnet50-d8.py'

model = dict(
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type='TimmBackbone',
        model_name='vit_small_patch14_dinov2',
        pretrained=True,
        out_indices=(11,),
        frozen=True),
    decode_head=dict(
        type='FCNHead',
        in_channels=384,
        in_index=0,
        channels=384,
        num_convs=0,
        concat_input=False,
        dropout_ratio=0,
        num_classes=19,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    auxiliary_head=None)
