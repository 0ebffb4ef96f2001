"""SegformerHead and UPerHead against resizing, concatenating and convolving as in the papers."""

import pytest
import torch
import torch.nn.functional as F
from helpers import found
from helpers.heads import SMALL, check_head, upsampled

from segkit.models.decode_heads import SegformerHead, UPerHead
from segkit.models.decode_heads.several_maps import SeveralMapsHead

FOUR = {'in_channels': [16, 12, 10, 5], 'in_index': [0, 1, 2, 3]}


def pyramid(x):
    """Four maps of x, each coarser than the one before, of fewer channels."""
    sides = [x.shape[2:], (6, 5), (3, 3), (2, 3)]
    return [F.adaptive_avg_pool2d(x[:, :c], s) for c, s in zip(FOUR['in_channels'], sides)]


def segformer(head, x):
    maps = [conv(m) for conv, m in zip(head.convs, pyramid(x))]
    wide = [maps[0], *(upsampled(m, maps[0], head.align_corners) for m in maps[1:])]
    return head.conv_seg(head.fusion_conv(torch.cat(wide, dim=1)))


def uper(head, x):
    *finer, last = pyramid(x)
    pooled = [
        upsampled(mixer(F.adaptive_avg_pool2d(last, pool.cells)), last, head.align_corners)
        for pool, mixer in head.psp_modules
    ]
    levels = [conv(m) for conv, m in zip(head.lateral_convs, finer)]
    levels.append(head.bottleneck(torch.cat([last, *pooled], dim=1)))
    for i in (2, 1, 0):
        levels[i] = levels[i] + upsampled(levels[i + 1], levels[i], head.align_corners)
    levels = [*(conv(m) for conv, m in zip(head.fpn_convs, levels)), levels[3]]
    wide = [upsampled(m, levels[0], head.align_corners) for m in levels]
    return head.conv_seg(head.fpn_bottleneck(torch.cat(wide, dim=1)))


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('norm', [{'type': 'BN'}, None], ids=['BN', 'none'])
@pytest.mark.parametrize(('cls', 'written'), [(SegformerHead, segformer), (UPerHead, uper)])
def test_matches_the_written_out_head(cls, written, norm, align_corners):
    check_head(
        cls, written, size=(11, 10), maps=pyramid, norm_cfg=norm, align_corners=align_corners,
        **FOUR,
    )  # fmt: skip


def test_maps_are_resized_as_asked():
    torch.manual_seed(0)
    head = SegformerHead(**{**SMALL, **FOUR}, interpolate_mode='nearest').eval()
    maps = pyramid(torch.randn(2, 16, 11, 10))
    narrow = [conv(m) for conv, m in zip(head.convs, maps)]
    wide = [F.interpolate(m, (11, 10)) for m in narrow]
    assert torch.equal(head(maps), head.conv_seg(head.fusion_conv(torch.cat(wide, dim=1))))


def test_as_many_channels_as_maps():
    kinds = [cls for cls in found.heads().values() if issubclass(cls, SeveralMapsHead)]
    assert len(kinds) >= 2
    for cls in kinds:
        with pytest.raises(ValueError, match='lists of one length'):
            cls(**{**SMALL, 'in_channels': [16, 8], 'in_index': [0, 1, 2]})
        with pytest.raises(ValueError, match=r'in_index=\[0, 1, 2, 3\] cannot .* 2 of them'):
            cls(**{**SMALL, **FOUR})([torch.zeros(1, 16, 4, 4)] * 2)


def test_a_watched_join_is_evaluated_as_written():
    torch.manual_seed(0)
    maps = pyramid(torch.randn(2, 16, 11, 10))
    head = SegformerHead(**{**SMALL, **FOUR}).eval()
    want, seen = head(maps), []
    head.fusion_conv.conv.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    torch.testing.assert_close(head(maps), want)
    assert [x.shape[1] for x in seen] == [4 * 8]
