"""Networks with each head on three convolutions: exporting one takes seconds, a ResNet a minute."""

import torch
from mmengine.config import Config
from torch import nn

from segkit.apis import init_model
from segkit.models.layers import ConvModule
from segkit.registry import MODELS

HEADS = {
    'fcn': dict(type='FCNHead', num_convs=1),
    'pspnet': dict(type='PSPHead'),
    'psanet': dict(type='PSAHead', mask_size=(9, 9)),
    'danet': dict(type='DAHead', pam_channels=8),
    'isanet': dict(type='ISAHead', isa_channels=8, down_factor=(4, 4)),
    'deeplabv3': dict(type='ASPPHead', dilations=(1, 3)),
    'deeplabv3plus': dict(
        type='DepthwiseSeparableASPPHead', dilations=(1, 3), c1_in_channels=8, c1_channels=4
    ),
    'upernet': dict(type='UPerHead', in_channels=[8, 16, 32], in_index=[0, 1, 2]),
    'segformer': dict(type='SegformerHead', in_channels=[4, 8, 16, 32], in_index=[0, 1, 2, 3]),
}
MIT = dict(type='MixVisionTransformer', embed_dims=4, num_layers=(1, 1, 1, 1))
BINARY = dict(
    num_classes=2, out_channels=1, threshold=0.6,
    loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True),
)  # fmt: skip


@MODELS.register_module()
class ShortBackbone(nn.Module):
    """Three strided convolutions."""

    def __init__(self, in_channels=3):
        super().__init__()
        sizes = [in_channels, 8, 16, 32]
        self.stages = nn.Sequential(
            *(
                ConvModule(a, b, 3, stride=2, padding=1, norm_cfg=dict(type='BN'))
                for a, b in zip(sizes, sizes[1:])
            )
        )

    def forward(self, x):
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)


def short_config(
    name, backbone=None, channels=32, preprocessor=None, loader=None, test_cfg=None, **head
):
    """A Config to predict with, of the head that HEADS calls ``name``."""
    head = {
        'in_channels': channels, 'in_index': -1, 'channels': 16, 'num_classes': 5,
        'norm_cfg': dict(type='BN'), **HEADS[name], **head,
    }  # fmt: skip
    preprocessor = preprocessor or dict(
        type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.4, 57.1, 57.4],
        bgr_to_rgb=True,
    )  # fmt: skip
    model = dict(
        type='EncoderDecoder', data_preprocessor=preprocessor, decode_head=head,
        backbone=backbone or (MIT if name == 'segformer' else dict(type='ShortBackbone')),
        test_cfg=test_cfg or dict(mode='whole'),
    )  # fmt: skip
    pipeline = [dict(type='LoadImageFromFile', **loader or {}), dict(type='PackSegInputs')]
    return Config(dict(model=model, test_dataloader=dict(dataset=dict(pipeline=pipeline))))


def build(name, *args, fuse_bn=False, **kwargs):
    """The network of ``short_config``."""
    torch.manual_seed(0)
    return init_model(short_config(name, *args, **kwargs), fuse_bn=fuse_bn)
