"""PSPHead against pooling, upsampling, concatenating and convolving as written in the paper."""

import pytest
import torch
from helpers.heads import SMALL, check_head, upsampled

from segkit.models.decode_heads import PSPHead


def written(head, x):
    maps = [x]
    for scale, module in zip(head.pool_scales, head.psp_modules):
        cells = torch.nn.functional.adaptive_avg_pool2d(x, scale)
        maps.append(upsampled(module[1](cells), x, head.align_corners))
    return head.conv_seg(head.bottleneck(torch.cat(maps, dim=1)))


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('kwargs', [{}, {'pool_scales': (1, 5)}, {'norm_cfg': None}])
def test_matches_the_written_out_head(kwargs, align_corners):
    check_head(PSPHead, written, align_corners=align_corners, **kwargs)


@pytest.mark.parametrize('size', [(3, 12), (5, 4)])
def test_pools_maps_smaller_than_the_cells(size):
    check_head(PSPHead, written, size=size)


def test_one_image_a_batch_cannot_train_batch_norm():
    head = PSPHead(**SMALL)
    with pytest.raises(
        ValueError, match='cannot train on one image. Use a batch_size of at least 2'
    ):
        head([torch.randn(1, 16, 6, 7)])
    PSPHead(**{**SMALL, 'norm_cfg': {'type': 'GN', 'num_groups': 2}})([torch.randn(1, 16, 6, 7)])
    assert head.eval()([torch.randn(1, 16, 6, 7)]).shape == (1, 5, 6, 7)


def test_an_unusual_convolution_is_evaluated_as_written():
    head = check_head(PSPHead, written)
    head.bottleneck.conv.padding_mode = 'circular'  # outside the identity the fast path rests on
    head.bottleneck.conv._reversed_padding_repeated_twice = [1, 1, 1, 1]
    x = torch.randn(1, 16, 6, 7)
    assert torch.equal(head.eval()([x]), written(head, x))
