"""SegFormer: a Mix Transformer and an MLP over its four maps (arXiv:2105.15203)."""

_base_ = './resnet50-d8.py'

model = dict(
    pretrained='https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/'
               'mit_b0_20220624-7e0fe6dd.pth',
    backbone=dict(
        _delete_=True,
        type='MixVisionTransformer',
        embed_dims=32,
        num_stages=4,
        num_layers=(2, 2, 2, 2),
        num_heads=(1, 2, 5, 8),
        patch_sizes=(7, 3, 3, 3),
        sr_ratios=(8, 4, 2, 1),
        out_indices=(0, 1, 2, 3),
        mlp_ratio=4,
        qkv_bias=True,
        drop_path_rate=0.1),
    decode_head=dict(
        type='SegformerHead',
        in_channels=[32, 64, 160, 256],
        in_index=[0, 1, 2, 3],
        channels=256,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=_base_.norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    auxiliary_head=None)
