"""psa_attention and psa_logits: values against loops and the written-out form, precision, input."""

import pytest
import torch
from helpers.psa_oracle import GEOMETRIES, loop_attention, random_case, written_out

from segkit.ops import gemm, psa_attention, psa_logits, psa_mask, psa_softmax

TYPES = ('collect', 'distribute')
BACKENDS = ('windowed', 'composite')


@pytest.fixture(params=[(3, 1), (16, 600), (10**6, 2**30)], ids=['pixel', 'patch', 'whole'])
def cutting(request, monkeypatch):
    """From one pixel a patch and one row a chunk to the whole map at once."""
    monkeypatch.setattr(psa_softmax, 'PATCH_ROWS', request.param[0])
    monkeypatch.setattr(psa_softmax, 'CHUNK_BYTES', request.param[1])


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('softmax', [True, False])
@pytest.mark.parametrize('psa_type', TYPES)
@pytest.mark.parametrize(('size', 'mask'), GEOMETRIES)
def test_equals_loops_over_pairs(size, mask, psa_type, softmax, backend, cutting):
    case = [t.detach() for t in random_case(size, mask)]
    expected = loop_attention(*case, psa_type, mask, softmax)
    out = psa_attention(*case, psa_type, mask, softmax=softmax, scale=0.5, backend=backend)
    torch.testing.assert_close(out, 0.5 * expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize('psa_type', TYPES)
@pytest.mark.parametrize(('size', 'mask'), [((23, 37), (9, 8)), ((24, 40), (33, 21))])
def test_closed_form_where_the_mask_reaches_little(size, mask, psa_type, cutting):
    case = [t.detach() for t in random_case(size, mask, n=1)]
    out = psa_attention(*case, psa_type, mask)
    torch.testing.assert_close(out, written_out(*case, psa_type, mask), rtol=0, atol=1e-12)


@pytest.mark.parametrize('logit', [-30.0, 30.0])
@pytest.mark.parametrize('psa_type', TYPES)
def test_extreme_logits_keep_their_precision(psa_type, logit):
    # All pairs in reach far below, or far above, the zeros outside the mask.
    value, _, _ = random_case((16, 16), (5, 5), n=1)
    feat, weight = torch.ones(1, 1, 16, 16).double(), torch.full((25, 1), logit).double()
    exact = written_out(value, feat, weight, psa_type, (5, 5))
    single = [t.detach().float() for t in (value, feat, weight)]
    assert (psa_attention(*single, psa_type, (5, 5)) - exact).abs().max() < 1e-6


@pytest.mark.parametrize('psa_type', TYPES)
@pytest.mark.parametrize(('size', 'mask'), [((20, 20), (39, 39)), ((18, 24), (15, 23))])
def test_error_is_below_that_of_the_written_out_form(size, mask, psa_type):
    case = [t.detach() for t in random_case(size, mask, channels=512)]
    single = [t.float() for t in case]
    exact = written_out(*case, psa_type, mask)
    ours = psa_attention(*single, psa_type, mask) - exact
    theirs = written_out(*single, psa_type, mask) - exact
    assert ours.square().mean() <= theirs.square().mean()
    assert ours.abs().max() < 1e-6


@pytest.mark.parametrize('psa_type', TYPES)
def test_bfloat16_is_as_good_as_the_written_out_form_in_bfloat16(psa_type):
    case = [t.detach().float() for t in random_case((12, 14), (9, 27), channels=64)]
    half = [t.bfloat16() for t in case]
    exact = psa_attention(*case, psa_type, (9, 27))
    out = psa_attention(*half, psa_type, (9, 27))
    assert out.dtype == torch.bfloat16
    own = (written_out(*half, psa_type, (9, 27)).float() - exact).abs().max()
    assert (out.float() - exact).abs().max() <= 2 * own


def test_autocast_chooses_the_type_and_leaves_float64_alone():
    case = [t.detach().float() for t in random_case((6, 7), (5, 5), channels=16)]
    with torch.autocast('cpu', torch.bfloat16):
        out = psa_attention(*case, 'collect', 5)
        double = psa_attention(*[t.double() for t in case], 'collect', 5)
    assert torch.equal(out, psa_attention(*[t.bfloat16() for t in case], 'collect', 5))
    assert double.dtype == torch.float64


def test_same_without_the_inner_product_of_onednn(monkeypatch):
    case = [t.detach().float() for t in random_case((9, 8), (9, 9), channels=32)]
    fast = psa_attention(*case, 'distribute', 9)
    monkeypatch.setattr(gemm, 'has_inner_product', lambda: False)
    plain = psa_attention(*case, 'distribute', 9)
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(('size', 'mask'), GEOMETRIES)
@pytest.mark.parametrize('backend', BACKENDS)
def test_logits_are_what_the_mask_makes_of_the_windows(size, mask, backend):
    _, feat, weight = random_case(size, mask)
    windows = torch.einsum('nchw,mc->nmhw', feat, weight)
    expected = psa_mask(windows, 'distribute', mask).flatten(2)
    logits = psa_logits(feat, weight, mask, backend=backend)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-12)


def test_weight_of_a_convolution_and_an_empty_batch():
    value, feat, weight = random_case((4, 5), (3, 3))
    conv_weight = weight[:, :, None, None]
    same = psa_attention(value, feat, conv_weight, 0, 3)
    assert torch.equal(same, psa_attention(value, feat, weight, 'collect', (3, 3)))
    for psa_type in TYPES:
        assert psa_attention(value[:0], feat[:0], weight, psa_type, 3).shape == (0, 7, 4, 5)


def test_bad_input_is_named():
    value, feat, weight = (t.detach() for t in random_case((4, 5), (3, 3)))
    with pytest.raises(ValueError, match=r'need a weight of shape \(25, 6\), got \(9, 6\)'):
        psa_attention(value, feat, weight, 'collect', 5)
    with pytest.raises(ValueError, match=r'one N, H and W, got \(2, 7, 4, 4\)'):
        psa_attention(value[..., :4], feat, weight, 'collect', 3)
    with pytest.raises(ValueError, match='one N, H and W'):
        psa_attention(value[0], feat[0], weight, 'collect', 3)
    with pytest.raises(ValueError, match="got 'sideways'"):
        psa_attention(value, feat, weight, 'sideways', 3)
    with pytest.raises(ValueError, match=r"backend must be one of .*got 'cuda'"):
        psa_attention(value, feat, weight, 'collect', 3, backend='cuda')
    with pytest.raises(TypeError, match=r'torch\.float32, torch\.float64'):
        psa_attention(value, feat.float(), weight, 'collect', 3)
    with pytest.raises(TypeError, match=r'torch\.int64'):
        psa_logits(feat.long(), weight.long(), 3)
