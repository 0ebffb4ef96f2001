"""The Triton kernels, run by the interpreter on CPU and compiled for GPUs that are not here."""

import os
import subprocess
import sys

import pytest
import torch

from segkit.ops import triton_psa as ops
from segkit.ops.psa.band import pairs_of
from segkit.ops.psa.tiles import Tile

pytest.importorskip('triton', reason='needs triton (pip install --no-deps triton)')

INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
interpreted = pytest.mark.skipif(not INTERPRETED, reason='run by test_the_interpreter_agrees')
PATCHES = [(1, 1, 3, 4), (3, 4, 5, 6), (2, 5, 1, 9), (4, 1, 7, 3)]  # (Kb, T, S, U)


@pytest.mark.skipif(INTERPRETED, reason='already under the interpreter')
def test_the_interpreter_agrees():
    """Triton decides when it is first imported, so a process of its own runs this file again."""
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-x', __file__], capture_output=True, text=True,
        env=os.environ | {'TRITON_INTERPRET': '1'},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert ' passed' in done.stdout


def tiles(patch):
    kb, t, s, u = patch
    return Tile(0, kb, 0, s, 0), Tile(0, t, 0, u, 0)


def random_band(patch, n=2, dtype=torch.float32):
    row, column = tiles(patch)
    return torch.randn(n * row.owns * column.owns, row.span * column.span).to(dtype)


def reference(pairs, collect, outside):
    """(attention, less the share of a pair outside; lse), in float64."""
    logits = pairs.double().flatten(3, 4).flatten(1, 2)
    dim = 2 if collect else 1
    total = logits.exp().sum(dim, keepdim=True) + outside
    excess = 1 / total if outside else 0
    return logits.exp() / total - excess, total.log().squeeze(dim)


@interpreted
@pytest.mark.parametrize('outside', [0, 7])
@pytest.mark.parametrize('collect', [True, False], ids=['collect', 'distribute'])
@pytest.mark.parametrize('patch', PATCHES, ids=str)
def test_skew_softmax(patch, collect, outside):
    pairs = pairs_of(random_band(patch), *tiles(patch))
    attention, lse = ops.skew_softmax(pairs, collect, outside)
    expected, expected_lse = reference(pairs, collect, outside)
    torch.testing.assert_close(attention.double(), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(lse.double(), expected_lse, atol=1e-6, rtol=0)


@interpreted
@pytest.mark.parametrize('collect', [True, False], ids=['collect', 'distribute'])
def test_skew_softmax_of_rows_too_long_for_registers(collect, monkeypatch):
    monkeypatch.setattr(ops, 'MOST_IN_REGISTERS', 16)
    monkeypatch.setattr(ops, 'LOOP_BLOCK', 16)
    patch = (2, 3, 5, 9)
    pairs = pairs_of(random_band(patch) * 20, *tiles(patch))
    attention, lse = ops.skew_softmax(pairs, collect, 3)
    expected, expected_lse = reference(pairs, collect, 3)
    torch.testing.assert_close(attention.double(), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(lse.double(), expected_lse, atol=1e-5, rtol=0)


@interpreted
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_keeps_float32_statistics(dtype):
    pairs = pairs_of(random_band((3, 4, 5, 6), dtype=dtype), *tiles((3, 4, 5, 6)))
    attention, lse = ops.skew_softmax(pairs, True)
    expected, expected_lse = reference(pairs, True, 0)
    assert attention.dtype == dtype
    step = torch.finfo(dtype).eps  # the interpreter need not round to nearest
    torch.testing.assert_close(attention.double(), expected, atol=1e-6, rtol=step)
    torch.testing.assert_close(lse.double(), expected_lse, atol=1e-6, rtol=0)


@interpreted
@pytest.mark.parametrize('collect', [True, False], ids=['collect', 'distribute'])
@pytest.mark.parametrize('patch', PATCHES, ids=str)
def test_skew_exp_repeats_the_attention(patch, collect):
    pairs = pairs_of(random_band(patch), *tiles(patch))
    attention, lse = ops.skew_softmax(pairs, collect)
    torch.testing.assert_close(ops.skew_exp(pairs, lse, collect), attention, atol=1e-6, rtol=0)


@interpreted
@pytest.mark.parametrize('collect', [True, False], ids=['collect', 'distribute'])
@pytest.mark.parametrize('patch', PATCHES, ids=str)
def test_softmax_backward_unskew_is_what_autograd_gives(patch, collect):
    band = random_band(patch).double().requires_grad_()
    attention, _ = reference(pairs_of(band, *tiles(patch)), collect, 0)
    grad = torch.randn_like(attention)
    (expected,) = torch.autograd.grad(attention, band, grad)
    delta = (attention * grad).sum(2 if collect else 1)
    got = ops.softmax_backward_unskew(
        attention.detach().float(), grad.float(), delta.detach().float(), patch, collect
    )
    torch.testing.assert_close(got.double(), expected, atol=1e-6, rtol=0)


@interpreted
def test_strides_that_cannot_be_read_are_an_error():
    with pytest.raises(ValueError, match='consecutive last elements'):
        ops.skew_softmax(torch.zeros(1, 1, 1, 2, 3).transpose(3, 4), True)


@interpreted
def test_a_patch_that_does_not_fit_is_an_error():
    attention = torch.zeros(1, 6, 6)
    with pytest.raises(ValueError, match=r'not of the patch \(1, 6, 2, 2\)'):
        ops.softmax_backward_unskew(attention, attention, attention, (1, 6, 2, 2), True)


POINTERS = {'pairs': '*bf16', 'attention': '*bf16', 'lse': '*fp32', 'grad': '*bf16',
            'delta': '*fp32', 'band': '*bf16'}  # fmt: skip
CONSTANTS = {
    'softmax_rows': (dict(BLOCK=4096, WHOLE=True), 8),
    'softmax_columns': (dict(ROWS=32, COLUMNS=32), 4),
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
