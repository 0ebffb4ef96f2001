"""FCNHead against its written-out form, for each shape it takes."""

import pytest
import torch
from helpers.heads import SMALL, check_head

from segkit.models.decode_heads import FCNHead


def written(head, x):
    features = x
    for conv in head.convs if head.num_convs else []:
        features = conv(features)
    if head.concat_input:
        features = head.conv_cat(torch.cat([x, features], dim=1))
    return head.conv_seg(features)


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(
    'kwargs',
    [
        {},
        {'num_convs': 1, 'concat_input': False},
        {'num_convs': 1, 'kernel_size': 1, 'norm_cfg': None},
        {'dilation': 2},
        {'num_convs': 0, 'channels': 16, 'concat_input': False},
        {'num_convs': 0, 'channels': 16},
    ],
)
def test_matches_the_written_out_head(kwargs, align_corners):
    check_head(FCNHead, written, align_corners=align_corners, **kwargs)


def test_dilated_convolution_keeps_the_size():
    head = FCNHead(**SMALL, dilation=3, kernel_size=5)
    assert head([torch.randn(2, 16, 9, 10)]).shape == (2, 5, 9, 10)


def test_without_convolutions_the_channels_must_agree():
    with pytest.raises(ValueError, match='in_channels=16 must equal channels=8'):
        FCNHead(**SMALL, num_convs=0)
