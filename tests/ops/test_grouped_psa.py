"""The form of windowed attention for GPUs, on CPU in float64 against the written-out form."""

import pytest
import torch

from segkit.ops import psa_attention, psa_softmax
from segkit.ops import psa_grouped_passes as grouped_passes
from segkit.ops.psa import composite_attention, composite_logits
from segkit.ops.psa_grouped import Groups, Window, pack_tokens, skew, unpack_tokens, unskew
from segkit.ops.psa_grouped_passes import grouped_backward, grouped_forward, images_at_once

CASES = [  # (n, h, w, mask_h, mask_w)
    (2, 5, 6, 9, 11),  # everything in reach
    (1, 7, 4, 5, 3),  # truncated
    (2, 6, 5, 4, 8),  # even
    (1, 9, 3, 25, 2),  # larger on one axis, truncated on the other
    (1, 1, 1, 1, 1),
]


def inputs_of(case, channels=4, values=3):
    n, h, w, mask_h, mask_w = case
    torch.manual_seed(0)
    shapes = ((n, values, h, w), (n, channels, h, w), (mask_h * mask_w, channels))
    return [torch.randn(shape, dtype=torch.float64) for shape in shapes], (mask_h, mask_w)


@pytest.mark.parametrize('kb', [1, 2, 3])
@pytest.mark.parametrize('case', CASES, ids=str)
def test_a_band_holds_every_logit(case, kb):
    n, h, w, *_ = case
    (_, feat, weight), mask = inputs_of(case)
    groups = Groups(n, h, w, kb, w - 1, w - 1)
    matrices = Window(weight, mask, groups).matrices()
    band = torch.bmm(pack_tokens(feat, groups), matrices.transpose(1, 2))
    expected = composite_logits(feat, weight, *mask)
    torch.testing.assert_close(skew(band, groups), expected)


@pytest.mark.parametrize('kb', [1, 2, 3])
def test_unskew_is_the_adjoint_of_skew(kb):
    groups = Groups(2, 5, 4, kb, 3, 3)
    band = torch.randn(groups.band_shape, dtype=torch.float64)
    grad = torch.randn(2, 20, 20, dtype=torch.float64)
    left, right = (skew(band, groups) * grad).sum(), (band * unskew(grad, groups)).sum()
    torch.testing.assert_close(left, right)


def test_tokens_come_back():
    feat = torch.randn(2, 3, 5, 4)
    for kb in (1, 2, 5):
        groups = Groups(2, 5, 4, kb, 3, 3)
        assert torch.equal(unpack_tokens(pack_tokens(feat, groups), groups), feat)


@pytest.mark.parametrize('save', [False, True])
@pytest.mark.parametrize('collect', [True, False], ids=['collect', 'distribute'])
@pytest.mark.parametrize('case', CASES, ids=str)
def test_both_passes_are_those_of_the_written_out_form(case, collect, save):
    inputs, mask = inputs_of(case)
    value, feat, weight = (t.requires_grad_() for t in inputs)
    expected = composite_attention(value, feat, weight, collect, *mask, True)
    upstream = torch.randn_like(expected)
    expected_grads = torch.autograd.grad(expected, (value, feat, weight), upstream)
    with torch.no_grad():
        out, lse, attention = grouped_forward(value, feat, weight, collect, mask)
        torch.testing.assert_close(out, expected)
        weight_grad = torch.zeros_like(weight)
        dvalue, dfeat = grouped_backward(
            upstream, value, feat, weight, lse, (upstream * out).sum(1),
            attention if save else None, collect, mask, weight_grad,
        )  # fmt: skip
    for got, want in zip((dvalue, dfeat, weight_grad), expected_grads):
        torch.testing.assert_close(got, want)


def test_maps_too_large_for_the_budget_are_left_to_the_patches():
    assert images_at_once(torch.empty(8, 1, 49, 49, dtype=torch.bfloat16), (97, 97)) >= 8
    assert images_at_once(torch.empty(1, 1, 256, 512, device='meta'), (97, 97)) == 0


@pytest.mark.parametrize('save', [False, True])
@pytest.mark.parametrize('psa_type', ['collect', 'distribute'])
def test_the_operator_takes_images_in_turns(psa_type, save, monkeypatch):
    """As on a GPU, with a budget of one image."""
    inputs, mask = inputs_of((3, 4, 3, 5, 3))
    inputs = [t.requires_grad_() for t in inputs]
    budget = grouped_passes.images_at_once(inputs[1], mask)
    monkeypatch.setattr(grouped_passes, 'CHUNK_BYTES', grouped_passes.CHUNK_BYTES // budget)
    monkeypatch.setattr(psa_softmax, 'use_grouped', lambda *_: True)
    assert grouped_passes.images_at_once(inputs[1], mask) == 1
    options = {'save_attention': save, 'scale': 0.5}

    def attend(*tensors, backend='windowed'):
        return psa_attention(*tensors, psa_type, mask, backend=backend, **options)

    torch.testing.assert_close(attend(*inputs), attend(*inputs, backend='composite'))
    torch.autograd.gradcheck(attend, inputs)


@pytest.mark.parametrize('save', [False, True])
def test_the_operator_answers_as_its_fake_says(save, monkeypatch):
    monkeypatch.setattr(psa_softmax, 'use_grouped', lambda *_: True)
    (value, feat, weight), mask = inputs_of((2, 4, 3, 5, 3))
    arguments = (value.requires_grad_(), feat, weight, True, *mask, True, save)
    torch.library.opcheck(torch.ops.segkit.psa_attention, arguments)


def test_bfloat16_errs_no_more_than_the_written_out_form():
    inputs, mask = inputs_of((2, 9, 10, 17, 19), channels=64, values=32)
    inputs[2] /= 8
    half = [t.bfloat16() for t in inputs]
    for collect in (True, False):
        exact = composite_attention(*(t.double() for t in half), collect, *mask, True)
        ours = grouped_forward(*half, collect, mask)[0].double()
        written = composite_attention(*half, collect, *mask, True).double()
        assert (ours - exact).abs().max() <= 2 * (written - exact).abs().max()
