"""What only a GPU can check: kernels that run, streams, sizes beyond 32 bits, mixed precision."""

import pytest
import torch
from torch import Tensor

from segkit.ops import build_ext, cuda_ext, psa_attention, psa_mask, psa_softmax
from segkit.ops import triton_psa as triton_ops
from segkit.ops.psa_grouped import Groups, skew, unskew

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device'),
]

SHAPES = [  # (n, h, w, mask_h, mask_w)
    (2, 7, 7, 13, 13),
    (1, 8, 8, 15, 15),
    (2, 5, 6, 4, 4),
    (1, 6, 16, 31, 9),
    (1, 4, 5, 21, 33),
    (1, 1, 150, 3, 97),
    (2, 49, 49, 97, 97),
    (1, 32, 64, 97, 97),
]
MODES = ('collect', 'distribute')
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.fixture(scope='module', autouse=True)
def extension(tmp_path_factory):
    if not cuda_ext.HAS_CUDA_OPS:
        assert cuda_ext.load(build_ext.build(tmp_path_factory.mktemp('ext')))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('SEGKIT_CUDA_OPS', '1')
        yield


def on_cpu(x: Tensor, psa_type: str, mask: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(output, gradient of the input for a gradient equal to the output), by the reference."""
    x = x.cpu().requires_grad_()
    out = psa_mask(x, psa_type, mask)
    out.backward(out.detach())
    return out.detach(), x.grad


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('psa_type', MODES)
def test_psa_mask_is_the_reference(psa_type, shape, dtype):
    n, h, w, *mask = shape
    x = torch.randn(n, mask[0] * mask[1], h, w).to(dtype).cuda().requires_grad_()
    junk = torch.full((n, h * w, h, w), float('nan'), dtype=dtype, device='cuda')
    del junk  # the output is likely to reuse this memory: an element not written would show
    out = psa_mask(x, psa_type, mask)
    out.backward(out.detach())
    expected, expected_grad = on_cpu(x.detach(), psa_type, mask)
    assert torch.equal(out.cpu(), expected)
    assert torch.equal(x.grad.cpu(), expected_grad)


@pytest.mark.parametrize('psa_type', MODES)
def test_psa_mask_takes_any_strides(psa_type):
    x = torch.randn(2, 81, 6, 7, device='cuda')
    expected = psa_mask(x, psa_type, 9)
    for view in (
        x.contiguous(memory_format=torch.channels_last),
        x.transpose(2, 3).contiguous().transpose(2, 3),
    ):
        assert torch.equal(psa_mask(view, psa_type, 9), expected)


def test_psa_mask_runs_on_the_current_stream():
    x = torch.randn(4, 97 * 97, 49, 49, device='cuda')
    expected = psa_mask(x, 'collect', 97)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        late = x * 2  # ready only after the sleep: another stream would read too early
        out = psa_mask(late, 'collect', 97)
    stream.synchronize()
    assert torch.equal(out, expected * 2)


def test_an_empty_batch_and_a_wrong_mode():
    assert psa_mask(torch.empty(0, 9, 4, 5, device='cuda'), 'collect', 3).shape == (0, 20, 4, 5)
    with pytest.raises(RuntimeError, match='mode is 2; 0 is collect, 1 distribute'):
        torch.ops.segkit_ext.psa_mask_forward(torch.zeros(1, 9, 2, 2, device='cuda'), 2, 3, 3)


@pytest.mark.slow
def test_outputs_beyond_32_bit_indices():
    """33 x (64 * 128)^2 elements are more than 2**31; the last image must be right."""
    n, h, w, mask = 33, 64, 128, 5
    free, _ = torch.cuda.mem_get_info()
    if free < 2.5 * 2 * n * (h * w) ** 2:
        pytest.skip('needs 11 GB of free memory')
    x = torch.randn(n, mask * mask, h, w, device='cuda', dtype=torch.bfloat16)
    for psa_type in MODES:
        out = psa_mask(x, psa_type, mask)
        assert torch.equal(out[-1:], psa_mask(x[-1:].clone(), psa_type, mask))
        del out


@pytest.mark.parametrize('psa_type', MODES)
def test_opcheck(psa_type):
    x = torch.randn(1, 15, 3, 4, device='cuda', dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(torch.ops.segkit.psa_mask, (x, MODES.index(psa_type), 3, 5))
    torch.autograd.gradcheck(lambda t: psa_mask(t, psa_type, (3, 5)), x)


@pytest.mark.skipif(not triton_ops.HAS_TRITON, reason='needs triton')
@pytest.mark.parametrize('collect', [True, False], ids=MODES)
@pytest.mark.parametrize('size', [(49, 49), (20, 30), (80, 120)], ids=str)
@pytest.mark.parametrize('kb', [1, 13])
def test_triton_kernels(kb, size, collect):
    """80 x 120 is more than a row of registers holds."""
    groups = Groups(1, *size, kb, size[1] - 1, size[1] - 1)
    band = torch.randn(groups.band_shape, device='cuda')
    logits = skew(band, groups).double()
    dim = 2 if collect else 1
    attention, lse = triton_ops.skew_softmax(band, groups, collect)
    torch.testing.assert_close(attention.double(), logits.softmax(dim), atol=1e-6, rtol=0)
    torch.testing.assert_close(lse.double(), logits.logsumexp(dim), atol=1e-5, rtol=0)
    again = triton_ops.skew_exp(band, lse, groups, collect)
    torch.testing.assert_close(again, attention, atol=1e-6, rtol=0)
    grad, delta = torch.randn_like(attention), torch.randn_like(lse)
    got = triton_ops.softmax_backward_unskew(attention, grad, delta, groups, collect)
    want = unskew(attention * (grad - delta.unsqueeze(dim)), groups)
    torch.testing.assert_close(got, want, atol=1e-6, rtol=0)


@pytest.mark.parametrize('form', ['grouped with triton', 'grouped', 'patches'])
@pytest.mark.parametrize('save', [False, True])
@pytest.mark.parametrize('mask', [61, 25])
@pytest.mark.parametrize('psa_type', MODES)
def test_attention_in_bfloat16_errs_no_more_than_written_out(
    psa_type, mask, save, form, monkeypatch
):
    monkeypatch.setenv('SEGKIT_TRITON', 'auto' if 'triton' in form else '0')
    if form == 'patches':
        monkeypatch.setattr(psa_softmax, 'use_grouped', lambda *_: False)
    value, feat = (torch.randn(2, 64, 31, 29, device='cuda') for _ in range(2))
    weight = torch.randn(mask * mask, 64, device='cuda') / 8
    inputs = [t.bfloat16().requires_grad_() for t in (value, feat, weight)]
    exact = [t.detach().double().requires_grad_() for t in inputs]
    want = psa_attention(*exact, psa_type, mask, backend='composite')
    upstream = torch.randn_like(want)
    want_grads = torch.autograd.grad(want, exact, upstream)
    errors = []
    for backend, options in (('windowed', {'save_attention': save}), ('composite', {})):
        out = psa_attention(*inputs, psa_type, mask, backend=backend, **options)
        grads = torch.autograd.grad(out, inputs, upstream.bfloat16())
        pairs = zip((out, *grads), (want, *want_grads))
        errors.append(
            [float(((a.double() - b).abs().max() / b.abs().max()).detach()) for a, b in pairs]
        )
    for ours, written in zip(*errors):
        assert ours <= 2 * written
