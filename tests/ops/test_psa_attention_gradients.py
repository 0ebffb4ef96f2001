"""Gradients of psa_attention and psa_logits: finite differences, autograd of loops, precision."""

import pytest
import torch
from helpers.psa_oracle import GEOMETRIES, loop_attention, random_case, written_out

from segkit.ops import psa_attention, psa_logits, psa_softmax

TYPES = ('collect', 'distribute')


def gradients(out, case):
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return torch.autograd.grad(out, case, grad.to(out.dtype))


@pytest.mark.parametrize('save', [False, True], ids=['recompute', 'save'])
@pytest.mark.parametrize('psa_type', TYPES)
@pytest.mark.parametrize(('size', 'mask'), [((2, 3), (3, 5)), ((2, 3), (2, 2)), ((3, 2), (1, 4))])
def test_finite_differences(size, mask, psa_type, save, monkeypatch):
    monkeypatch.setattr(psa_softmax, 'PATCH_ROWS', 4)
    value, feat, weight = random_case(size, mask, channels=2, n=1)
    assert torch.autograd.gradcheck(
        lambda *case: psa_attention(*case, psa_type, mask, scale=2.0, save_attention=save),
        (value, feat, weight),
    )


@pytest.mark.parametrize('patch_rows', [3, 16])
@pytest.mark.parametrize('mode', ['recompute', 'save', 'raw'])
@pytest.mark.parametrize('psa_type', TYPES)
@pytest.mark.parametrize(('size', 'mask'), GEOMETRIES)
def test_equals_autograd_through_loops(size, mask, psa_type, mode, patch_rows, monkeypatch):
    monkeypatch.setattr(psa_softmax, 'PATCH_ROWS', patch_rows)
    case = random_case(size, mask, channels=3)
    softmax = mode != 'raw'
    out = psa_attention(*case, psa_type, mask, softmax=softmax, save_attention=mode == 'save')
    expected = gradients(loop_attention(*case, psa_type, mask, softmax), case)
    for grad, right in zip(gradients(out, case), expected):
        torch.testing.assert_close(grad, right, rtol=0, atol=1e-11)


@pytest.mark.parametrize('save', [False, True], ids=['recompute', 'save'])
@pytest.mark.parametrize('psa_type', TYPES)
def test_closed_form_where_the_mask_reaches_little(psa_type, save):
    case = random_case((13, 27), (5, 6), n=1)
    out = psa_attention(*case, psa_type, (5, 6), save_attention=save)
    expected = gradients(written_out(*case, psa_type, (5, 6)), case)
    for grad, right in zip(gradients(out, case), expected):
        torch.testing.assert_close(grad, right, rtol=0, atol=1e-11)


@pytest.mark.parametrize('psa_type', TYPES)
def test_error_is_near_that_of_the_written_out_form(psa_type):
    mask = (33, 25)
    exact_case = random_case((20, 24), mask, channels=48)
    case = random_case((20, 24), mask, channels=48, dtype=torch.float32)
    exact = gradients(written_out(*exact_case, psa_type, mask), exact_case)
    theirs = gradients(written_out(*case, psa_type, mask), case)
    ours = gradients(psa_attention(*case, psa_type, mask), case)
    for right, their, our in zip(exact, theirs, ours):
        assert (our - right).abs().max() <= 2 * (their - right).abs().max()


def test_bfloat16_gradients_are_as_good_as_the_written_out_ones():
    mask = (9, 27)
    exact_case = random_case((12, 14), mask, channels=32)
    case = random_case((12, 14), mask, channels=32, dtype=torch.bfloat16)
    exact = gradients(written_out(*exact_case, 'collect', mask), exact_case)
    theirs = gradients(written_out(*case, 'collect', mask), case)
    ours = gradients(psa_attention(*case, 'collect', mask), case)
    for right, their, our in zip(exact, theirs, ours):
        assert our.dtype == torch.bfloat16
        assert (our - right).abs().max() <= 2 * (their - right).abs().max()


@pytest.mark.parametrize(('size', 'mask'), [((2, 3), (3, 5)), ((2, 3), (2, 2)), ((3, 2), (1, 4))])
def test_logits_finite_differences(size, mask):
    _, feat, weight = random_case(size, mask, channels=2, n=1)
    assert torch.autograd.gradcheck(lambda *case: psa_logits(*case, mask), (feat, weight))


def test_second_derivatives():
    case = random_case((2, 2), (2, 3), channels=2, n=1)
    assert torch.autograd.gradgradcheck(
        lambda *case: psa_attention(*case, 'collect', (2, 3), backend='composite'), case
    )
    grad = torch.autograd.grad(
        psa_attention(*case, 'collect', (2, 3)).square().sum(), case, create_graph=True
    )
    with pytest.raises(RuntimeError, match="backend='composite'"):
        grad[0].sum().backward()


def test_attention_is_kept_only_for_a_backward_pass(monkeypatch):
    case = random_case((4, 4), (7, 7))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        psa_attention(*case, 'collect', 7, save_attention=True)
        assert (2, 16, 16) in kept
        kept.clear()
        psa_attention(*case, 'collect', 7)
        assert (2, 16, 16) not in kept
    with torch.no_grad():
        assert not psa_attention(*case, 'collect', 7, save_attention=True).requires_grad
