"""A network of a few thousand parameters for tests of what happens around the network."""

import torch
from torch import nn

from segkit.models.segmentors import EncoderDecoder
from segkit.registry import MODELS
from segkit.structures import PixelData, SegDataSample

ONE_CHANNEL = {
    'num_classes': 2, 'out_channels': 1,
    'loss_decode': {'type': 'CrossEntropyLoss', 'use_sigmoid': True},
}  # fmt: skip


class TinyBackbone(nn.Module):
    """One map of 6 channels at one eighth of the image: (N, 3, H, W) -> (N, 6, H/8, W/8)."""

    def __init__(self, pretrained=None):
        super().__init__()
        self.pretrained = pretrained
        self.conv = nn.Conv2d(3, 6, 9, stride=8, padding=4)

    def forward(self, x):
        return (torch.tanh(self.conv(x)),)


def _head(align_corners, **kwargs):
    head = {
        'type': 'FCNHead', 'in_channels': 6, 'channels': 8, 'num_classes': 4, 'num_convs': 1,
        'concat_input': False, 'dropout_ratio': 0.1, 'norm_cfg': {'type': 'BN'}, 'in_index': 0,
        'align_corners': align_corners,
    }  # fmt: skip
    return {**head, **kwargs}


def tiny_segmentor(
    mode='whole', align_corners=False, aux=0, pretrained=None, backbone=None, seed=0,
    in_list=False, **head,
):  # fmt: skip
    """An EncoderDecoder whose classes vary from pixel to pixel.

    ``aux`` auxiliary heads; a single one is given as itself, or ``in_list``.
    """
    if 'segkit_test_tiny' not in MODELS.module_dict:
        MODELS.register_module(name='segkit_test_tiny', module=TinyBackbone)
    torch.manual_seed(seed)
    slide = {'crop_size': (33, 41), 'stride': (20, 25)} if mode == 'slide' else {}
    heads = [_head(align_corners, loss_decode=_loss(0.4)) for _ in range(aux)]
    model = EncoderDecoder(
        backbone={'type': 'segkit_test_tiny', **(backbone or {})},
        decode_head=_head(align_corners, **head),
        auxiliary_head=heads[0] if aux == 1 and not in_list else heads or None,
        data_preprocessor={'type': 'SegDataPreProcessor', 'mean': [120.0] * 3, 'std': [60.0] * 3},
        test_cfg={'mode': mode, **slide},
        pretrained=pretrained,
    )
    nn.init.normal_(model.decode_head.conv_seg.weight)
    nn.init.zeros_(model.decode_head.conv_seg.bias)
    return model


def _loss(weight):
    return {'type': 'CrossEntropyLoss', 'loss_weight': weight}


def sample_of(labels=None, **metainfo):
    """A data sample, with random labels of the size ``labels`` if given."""
    sample = SegDataSample(metainfo=metainfo)
    if labels:
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 4, (1, *labels), dtype=torch.uint8))
    return sample
