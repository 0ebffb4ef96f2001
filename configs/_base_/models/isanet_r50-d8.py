"""ISANet: attention across blocks, then within them (arXiv:1907.12273)."""

_base_ = './resnet50-d8.py'

model = dict(
    decode_head=dict(
        type='ISAHead',
        in_channels=2048,
        in_index=3,
        channels=512,
        isa_channels=256,
        down_factor=(8, 8),
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=_base_.norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)))
