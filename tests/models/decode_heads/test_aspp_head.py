"""The heads of DeepLabV3 and V3+ against their branches concatenated as written in the papers."""

import pytest
import torch
from helpers.heads import SMALL, check_head, samples_of, upsampled

from segkit.models.decode_heads import ASPPHead, DepthwiseSeparableASPPHead

RATES = {'dilations': (1, 2, 3)}


def joined(head, x):
    pooled = head.image_pool[1](x.mean((2, 3), keepdim=True))
    branches = [upsampled(pooled, x, head.align_corners), *(b(x) for b in head.aspp_modules)]
    return head.bottleneck(torch.cat(branches, dim=1))


def written(head, x):
    return head.conv_seg(joined(head, x))


def with_detail(x):
    """The map as the coarse one, and a finer one made of it by hand."""
    return [x.repeat_interleave(2, 2).repeat_interleave(2, 3)[..., 1:], x]


def written_with_detail(head, x):
    fine, x = with_detail(x)
    detail = head.c1_bottleneck(fine)
    maps = [upsampled(joined(head, x), detail, head.align_corners), detail]
    return head.conv_seg(head.sep_bottleneck(torch.cat(maps, dim=1)))


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('kwargs', [{}, {'dilations': (2,)}, {'norm_cfg': None}])
def test_matches_the_written_out_head(kwargs, align_corners):
    head = check_head(ASPPHead, written, align_corners=align_corners, **{**RATES, **kwargs})
    sizes = [branch.conv.kernel_size[0] for branch in head.aspp_modules]
    assert sizes == [1 if rate == 1 else 3 for rate in head.dilations]


@pytest.mark.parametrize('align_corners', [False, True])
def test_a_finer_map_adds_its_details(align_corners):
    check_head(
        DepthwiseSeparableASPPHead,
        written_with_detail,
        maps=with_detail,
        align_corners=align_corners,
        c1_in_channels=16,
        c1_channels=4,
        **RATES,
    )


def test_without_a_finer_map():
    def plain(head, x):
        return head.conv_seg(head.sep_bottleneck(joined(head, x)))

    head = check_head(DepthwiseSeparableASPPHead, plain, c1_in_channels=0, **RATES)
    dilated = head.aspp_modules[1].depthwise_conv.conv
    assert (dilated.groups, dilated.dilation) == (16, (2, 2))


def test_the_finer_map_is_chosen_by_position_or_name():
    torch.manual_seed(0)
    coarse, fine = torch.randn(2, 16, 6, 7), torch.randn(2, 3, 12, 13)
    head = DepthwiseSeparableASPPHead(**SMALL, c1_in_channels=3, in_index=1).eval()
    want = head([fine, coarse])
    head.in_index, head.c1_index = 'out', 'low'
    assert torch.equal(head({'low': fine, 'out': coarse}), want)
    head.c1_index = 'lwo'
    with pytest.raises(ValueError, match=r"c1_index='lwo' cannot .* named \['low', 'out'\]"):
        head({'low': fine, 'out': coarse})


@pytest.mark.parametrize('cls', [ASPPHead, DepthwiseSeparableASPPHead])
def test_one_image_a_batch_cannot_train_batch_norm(cls):
    head = cls(**SMALL, **({} if cls is ASPPHead else {'c1_in_channels': 16}))
    with pytest.raises(ValueError, match='cannot train on one image'):
        head.loss([torch.randn(1, 16, 6, 7)], samples_of(torch.zeros(1, 12, 14).byte()))
    assert head.eval()([torch.randn(1, 16, 6, 7)]).shape == (1, 5, 6, 7)
