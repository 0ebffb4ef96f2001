"""PSAHead against loops over the own and the other pixel, in float64."""

import pytest
import torch
import torch.nn.functional as F
from helpers.heads import SMALL, check_head, random_labels, samples_of, upsampled, with_random_state

from segkit.models.decode_heads import PSAHead


def logits_by_loops(head, over_complete):
    """L[own, other] of one image from the over-complete map (Mh * Mw, h, w), pixel by pixel."""
    _, h, w = over_complete.shape
    mask_h, mask_w = head.mask_size
    table = over_complete.new_zeros(h * w, h * w)
    for k in range(h):
        for m in range(w):
            for s in range(h):
                for t in range(w):
                    row, col = s - k + (mask_h - 1) // 2, t - m + (mask_w - 1) // 2
                    if head.compact:
                        table[k * w + m, s * w + t] = over_complete[s * w + t, k, m]
                    elif 0 <= row < mask_h and 0 <= col < mask_w:
                        table[k * w + m, s * w + t] = over_complete[row * mask_w + col, k, m]
    return table


def branch(head, x, attention, direction):
    out = []
    for one, over_complete in zip(x, attention(x)):
        table = logits_by_loops(head, over_complete)
        axis = 1 if direction == 'collect' else 0
        if head.psa_softmax:
            table = table.exp() / table.exp().sum(axis, keepdim=True)
        flat = one.flatten(1)
        mixed = flat @ (table.T if direction == 'collect' else table)
        out.append(mixed.reshape(one.shape) / head.normalization_factor)
    return torch.stack(out)


def written(head, x):
    s, (h, w) = head.shrink_factor, x.shape[2:]
    align_corners, size = head.align_corners, (h, w)
    if s != 1:
        align_corners = bool(h % s and w % s)
        size = ((h - 1) // s + 1, (w - 1) // s + 1) if align_corners else (h // s, w // s)
    both = head.psa_type == 'bi-direction'
    names = {'collect': '', 'distribute': '_p' if both else ''}
    out = []
    for direction in ['collect', 'distribute'] if both else [head.psa_type]:
        reduce = getattr(head, 'reduce' + names[direction])(x)
        if s != 1:
            reduce = F.interpolate(reduce, size, mode='bilinear', align_corners=align_corners)
        out.append(branch(head, reduce, getattr(head, 'attention' + names[direction]), direction))
    back = upsampled(head.proj(torch.cat(out, dim=1)), x, align_corners)
    return head.conv_seg(head.bottleneck(torch.cat([x, back], dim=1)))


@pytest.mark.parametrize('psa_type', ['collect', 'distribute', 'bi-direction'])
@pytest.mark.parametrize(
    'kwargs',
    [
        {'mask_size': (9, 9), 'size': (9, 7)},  # covers the map, shrunk with aligned corners
        {'mask_size': (3, 4), 'size': (8, 10)},  # truncated and even
        {'mask_size': (5, 3), 'size': (9, 8), 'psa_softmax': False, 'normalization_factor': None},
        {'mask_size': (4, 3), 'size': (8, 7), 'compact': True},
        {'mask_size': (5, 7), 'size': (4, 5), 'shrink_factor': 1, 'align_corners': True},
    ],
    ids=['full', 'truncated', 'no softmax', 'compact', 'not shrunk'],
)
def test_matches_loops_over_own_and_other(kwargs, psa_type):
    check_head(PSAHead, written, psa_type=psa_type, **kwargs)


@pytest.mark.parametrize('kwargs', [{'save_attention': False}, {'shrink_factor': 3}])
def test_switches_do_not_change_results(kwargs):
    check_head(PSAHead, written, mask_size=(5, 5), size=(7, 10), **kwargs)


def test_the_authors_projection_keeps_the_size():
    head = PSAHead(mask_size=(5, 5), proj_padding=0, **SMALL)
    seen = []
    head.proj.register_forward_hook(lambda module, args, out: seen.append(out.shape[2:]))
    assert head([torch.randn(2, 16, 9, 9)]).shape == (2, 5, 9, 9)
    assert seen == [(5, 5)]


def test_shrinking_follows_the_published_rule():
    head = PSAHead(mask_size=(3, 3), **SMALL)
    assert head._shrink_to(torch.empty(1, 1, 97, 97)) == ((49, 49), True)
    assert head._shrink_to(torch.empty(1, 1, 64, 128)) == ((32, 64), False)
    assert head._shrink_to(torch.empty(1, 1, 97, 64)) == (
        (48, 32),
        False,
    )  # one remainder is not enough


def test_only_the_kept_pixels_are_reduced_in_testing():
    head = with_random_state(PSAHead(mask_size=(5, 5), **SMALL))
    seen = []
    head.reduce.register_forward_hook(lambda module, args, out: seen.append(tuple(out.shape[2:])))
    for training in (True, False):
        head.train(training)([torch.randn(2, 16, 9, 9)])
    head([torch.randn(2, 16, 8, 8)])
    assert seen == [(9, 9), (5, 5), (8, 8)]  # batch statistics need every pixel


def test_group_norm_sees_every_pixel():
    head = PSAHead(mask_size=(5, 5), **{**SMALL, 'norm_cfg': {'type': 'GN', 'num_groups': 2}})
    x = torch.randn(2, 16, 9, 9)
    torch.testing.assert_close(head.eval()([x]), written(head, x), rtol=1e-4, atol=1e-5)


def test_compact_tells_the_mask_size_that_fits():
    head = PSAHead(mask_size=(3, 3), compact=True, **SMALL)
    with pytest.raises(ValueError, match=r'Set mask_size=\(4, 5\)'):
        head([torch.randn(2, 16, 8, 10)])


def test_unknown_direction_is_refused():
    with pytest.raises(ValueError, match="'both' is none of collect, distribute, bi-direction"):
        PSAHead(mask_size=(3, 3), psa_type='both', **SMALL)


def test_trains_with_the_loss_of_every_direction_reaching_its_own_branch():
    head = with_random_state(PSAHead(mask_size=(5, 5), **SMALL))
    labels = random_labels(2, (64, 64))
    head.loss([torch.randn(2, 16, 8, 8)], samples_of(labels))['loss_ce'].backward()
    for name in ('attention.1.weight', 'attention_p.1.weight'):
        assert head.get_parameter(name).grad.abs().sum() > 0
