"""The Triton kernels, run by the interpreter on CPU and compiled for GPUs that are not here."""

import os
import subprocess
import sys

import pytest
import torch

from segkit.ops import triton_psa as ops
from segkit.ops.psa import composite_attention
from segkit.ops.psa_grouped import Groups, skew, unskew
from segkit.ops.psa_grouped_passes import grouped_backward, grouped_forward

pytest.importorskip('triton', reason='needs triton (pip install --no-deps triton)')

INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
interpreted = pytest.mark.skipif(not INTERPRETED, reason='run by test_the_interpreter_agrees')
CASES = [  # (n, h, w, mask_h, mask_w)
    (2, 3, 4, 5, 7),  # everything in reach
    (1, 5, 3, 3, 2),  # truncated, even
    (1, 4, 3, 4, 8),  # larger on one axis, truncated on the other
]
GROUPS = [Groups(2, 3, 4, kb, 3, 3) for kb in (1, 2)]
MODES = pytest.mark.parametrize('collect', [True, False], ids=['collect', 'distribute'])


@pytest.mark.skipif(INTERPRETED, reason='already under the interpreter')
def test_the_interpreter_agrees():
    """Triton decides when it is first imported, so a process of its own runs this file again."""
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-x', __file__], capture_output=True, text=True,
        env=os.environ | {'TRITON_INTERPRET': '1'},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert ' passed' in done.stdout


def random_logits(groups, scale=1.0):
    """A band and the logits (N, HW, HW) it holds; window places of no pair are nan."""
    logits = torch.randn(groups.n, groups.pixels, groups.pixels) * scale
    places = unskew(torch.ones_like(logits), groups)
    return unskew(logits, groups).masked_fill_(places == 0, float('nan')), logits.double()


@interpreted
@MODES
@pytest.mark.parametrize('groups', GROUPS, ids=str)
def test_skew_softmax(groups, collect):
    band, logits = random_logits(groups)
    attention, lse = ops.skew_softmax(band, groups, collect)
    dim = 2 if collect else 1
    torch.testing.assert_close(attention.double(), logits.softmax(dim), atol=1e-6, rtol=0)
    torch.testing.assert_close(lse.double(), logits.logsumexp(dim), atol=1e-6, rtol=0)
    again = ops.skew_exp(band, lse, groups, collect)
    torch.testing.assert_close(again, attention, atol=1e-6, rtol=0)


@interpreted
def test_skew_softmax_of_rows_too_long_for_registers(monkeypatch):
    monkeypatch.setattr(ops, 'MOST_IN_REGISTERS', 8)
    monkeypatch.setattr(ops, 'LOOP_BLOCK', 8)
    band, logits = random_logits(GROUPS[0], scale=20)
    attention, lse = ops.skew_softmax(band, GROUPS[0], True)
    torch.testing.assert_close(attention.double(), logits.softmax(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(lse.double(), logits.logsumexp(2), atol=1e-5, rtol=0)


@interpreted
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_keeps_float32_statistics(dtype):
    band, _ = random_logits(GROUPS[0])
    band = band.to(dtype)
    logits = skew(band, GROUPS[0]).double()
    attention, lse = ops.skew_softmax(band, GROUPS[0], True)
    assert attention.dtype == dtype
    step = torch.finfo(dtype).eps  # the interpreter need not round to nearest
    torch.testing.assert_close(attention.double(), logits.softmax(2), atol=1e-6, rtol=step)
    torch.testing.assert_close(lse.double(), logits.logsumexp(2), atol=1e-6, rtol=0)


@interpreted
@MODES
@pytest.mark.parametrize('groups', GROUPS, ids=str)
def test_softmax_backward_unskew_is_what_autograd_gives(groups, collect):
    _, logits = random_logits(groups)
    attention = logits.requires_grad_().softmax(2 if collect else 1)
    grad = torch.randn_like(attention)
    (expected,) = torch.autograd.grad(attention, logits, grad)
    delta = (attention * grad).sum(2 if collect else 1).detach()
    rounded = [t.float() for t in (attention.detach(), grad, delta)]
    got = ops.softmax_backward_unskew(*rounded, groups, collect)
    torch.testing.assert_close(got.double(), unskew(expected, groups), atol=1e-6, rtol=0)


@interpreted
@MODES
@pytest.mark.parametrize('case', CASES, ids=str)
def test_both_passes_are_those_of_the_written_out_form(case, collect):
    n, h, w, *mask = case
    shapes = ((n, 3, h, w), (n, 4, h, w), (mask[0] * mask[1], 4))
    exact = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    expected = composite_attention(*exact, collect, *mask, True)
    upstream = torch.randn_like(expected)
    expected_grads = torch.autograd.grad(expected, exact, upstream)
    value, feat, weight, upstream = (t.detach().float() for t in (*exact, upstream))
    assert ops.use_triton(feat)
    out, lse, attention = grouped_forward(value, feat, weight, collect, mask)
    torch.testing.assert_close(out.double(), expected, atol=2e-6, rtol=0)
    for kept in (None, attention):
        weight_grad = torch.zeros_like(weight)
        delta = (upstream * out).sum(1)
        grads = grouped_backward(
            upstream, value, feat, weight, lse, delta, kept, collect, mask, weight_grad
        )
        for got, want in zip((*grads, weight_grad), expected_grads):
            torch.testing.assert_close(got.double(), want, atol=1e-5, rtol=0)


@interpreted
def test_a_band_of_another_shape_is_an_error():
    with pytest.raises(ValueError, match='a band of these groups is contiguous, of shape'):
        ops.skew_softmax(torch.zeros(1, 2, 3), GROUPS[0], True)


POINTERS = {'attention': '*bf16', 'lse': '*fp32', 'grad': '*bf16',
            'delta': '*fp32', 'band': '*bf16'}  # fmt: skip
CONSTANTS = {
    'softmax_rows': (dict(BLOCK=4096, WHOLE=True), 8),
    'softmax_columns': (dict(ROWS=256, COLUMNS=16), 8),
    'exp_rows': (dict(COLLECT=True, BLOCK=4096), 8),
    'backward_rows': (dict(COLLECT=False, BLOCK=1024), 4),
}


@pytest.mark.skipif(INTERPRETED, reason='the interpreter replaces the compiler')
@pytest.mark.parametrize('arch', [80, 90])
@pytest.mark.parametrize('name', sorted(CONSTANTS))
def test_kernels_compile_for_gpus(name, arch, tmp_path, monkeypatch):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from segkit.ops import triton_kernels

    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    kernel = getattr(triton_kernels, name)
    constants, warps = CONSTANTS[name]
    signature = {arg: POINTERS.get(arg, 'i32') for arg in kernel.arg_names}
    source = ASTSource(kernel, signature | dict.fromkeys(constants, 'constexpr'), constants)
    target = GPUTarget('cuda', arch, 32)
    compiled = triton.compile(source, target=target, options={'num_warps': warps})
    assert compiled.asm['cubin']
