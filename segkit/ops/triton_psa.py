"""The two memory-bound steps of windowed attention as one kernel each, in Triton.

    skew + softmax                band -> attention and the logarithm of its denominator
    softmax backward + unskew     attention and its gradient -> gradient of the band

A *band* is the product of a patch's features with a slice of the window (segkit/ops/psa/band.py):
the logits of own pixel (kk, uu) of the patch lie at window place (p, q), and those of the pair with
other (s, t) at p = s - kk + Kb - 1, q = t - uu + T - 1. In plain torch each step is three to five
passes over memory; here it is one read and one write.

Shapes: patch of Kb x T own pixels and S x U others, M = Kb * T, K = S * U,
P = S + Kb - 1, Q = U + T - 1; pairs (N, Kb, T, S, U), any strides with the last one 1;
attention (N, M, K) contiguous. Statistics are float32 for float16, bfloat16 and float32 input.

Checked on CPU by Triton's interpreter (TRITON_INTERPRET=1) and by compiling for sm_80 and sm_90.
"""

import os

import torch
from torch import Tensor

try:
    import triton

    from segkit.ops import triton_kernels as kernels
except ImportError:  # the CPU build of PyTorch comes without Triton
    triton = kernels = None

INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
HAS_TRITON = triton is not None and (INTERPRETED or torch.cuda.is_available())
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
# A row of at most this many pairs stays in registers: 128 of them with 8 warps, without spills.
MOST_IN_REGISTERS = 8192
LOOP_BLOCK = 4096
WARPS = 8
COLUMN_TILE = (32, 32)  # own x other pixels that a program of the column kernel reads at once
UNSKEW_BLOCK = 1024


def use_triton(tensor: Tensor) -> bool:
    """True where these kernels run on this tensor."""
    on_device = tensor.is_cuda or (INTERPRETED and tensor.device.type == 'cpu')
    wanted = os.environ.get('SEGKIT_TRITON', 'auto') != '0'
    return HAS_TRITON and wanted and on_device and tensor.dtype in DTYPES


def skew_softmax(
    pairs: Tensor, collect: bool, outside: int = 0, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """Softmax of a skewed view, read once, with ``outside`` more logits of 0 in each sum.

    Args:
        pairs: (N, Kb, T, S, U), see ``segkit.ops.psa.band.pairs_of``; last stride 1.
        collect: True takes the softmax over the others of each own pixel (a row of the result),
            False over the own pixels of each other (a column).
        outside: how many pairs with logit 0 the softmax runs over besides these.
        dtype: of the attention; that of ``pairs`` unless given.

    Returns:
        attention: (N, M own, K other). If ``outside``, less exp(-lse), the weight of a pair
            outside: the aggregate is then attention times values, plus exp(-lse) times the sum of
            all values.
        lse: (N, M) or (N, K), float32, the logarithm of the softmax's denominator.
    """
    n, kb, t, s, u = _check(pairs)
    attention = pairs.new_empty(n, kb * t, s * u, dtype=dtype or pairs.dtype)
    lse = pairs.new_empty(n, kb * t if collect else s * u, dtype=torch.float32)
    if collect:
        block, grid = _row_block(s * u), (n * kb * t,)
        kernels.softmax_rows[grid](
            pairs, attention, lse, *_strides(pairs), kb * t, t, s * u, u, outside,
            BLOCK=block, WHOLE=block >= s * u, num_warps=WARPS,
        )  # fmt: skip
    else:
        rows, columns = COLUMN_TILE
        kernels.softmax_columns[(n, triton.cdiv(s * u, columns))](
            pairs, attention, lse, *_strides(pairs), kb * t, t, s * u, u, outside,
            ROWS=rows, COLUMNS=columns, num_warps=4,
        )  # fmt: skip
    return attention, lse


def skew_exp(pairs: Tensor, lse: Tensor, collect: bool, dtype: torch.dtype | None = None) -> Tensor:
    """The attention exp(pairs - lse) again, from the ``lse`` of the forward pass.

    Args:
        pairs: (N, Kb, T, S, U), last stride 1.
        lse: (N, M) for collect, (N, K) for distribute, float32.
        dtype: of the result; that of ``pairs`` unless given.

    Returns:
        (N, M own, K other).
    """
    n, kb, t, s, u = _check(pairs)
    attention = pairs.new_empty(n, kb * t, s * u, dtype=dtype or pairs.dtype)
    block = min(_row_block(s * u), LOOP_BLOCK)
    kernels.exp_rows[(n * kb * t, triton.cdiv(s * u, block))](
        pairs, lse.contiguous(), attention, *_strides(pairs), kb * t, t, s * u, u,
        COLLECT=collect, BLOCK=block, num_warps=WARPS,
    )  # fmt: skip
    return attention


def softmax_backward_unskew(
    attention: Tensor,
    grad: Tensor,
    delta: Tensor,
    patch: tuple[int, int, int, int],
    collect: bool,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Gradient of the band: attention * (grad - delta), each at its window place, 0 elsewhere.

    Args:
        attention, grad: (N, M own, K other), contiguous; grad is that of the attention.
        delta: float32, sum over the softmax of attention * grad, equally the sum over channels of
            output times its gradient: (N, M) for collect, (N, K) for distribute.
        patch: (Kb, T, S, U).
        dtype: of the result; that of ``attention`` unless given.

    Returns:
        (N * M, P * Q), every element written.
    """
    kb, t, s, u = patch
    n, m, k = attention.shape
    if (m, k) != (kb * t, s * u):
        raise ValueError(
            f'attention of shape {tuple(attention.shape)} is not of the patch {patch}.'
        )
    rows, columns = s + kb - 1, u + t - 1
    band = attention.new_empty(n * m, rows * columns, dtype=dtype or attention.dtype)
    kernels.backward_rows[(n * m, triton.cdiv(rows * columns, UNSKEW_BLOCK))](
        attention.contiguous(), grad.contiguous(), delta.contiguous(), band, m, kb, t, s, u,
        COLLECT=collect, BLOCK=UNSKEW_BLOCK, num_warps=4,
    )  # fmt: skip
    return band


def _check(pairs: Tensor) -> torch.Size:
    if pairs.dim() != 5 or pairs.stride(4) != 1:
        raise ValueError(
            'pairs must be (N, Kb, T, S, U) with consecutive last elements, got shape '
            f'{tuple(pairs.shape)} and strides {pairs.stride()}.'
        )
    return pairs.shape


def _strides(pairs: Tensor) -> tuple[int, ...]:
    return pairs.stride()[:4]


def _row_block(pairs: int) -> int:
    whole = triton.next_power_of_2(pairs)
    return whole if whole <= MOST_IN_REGISTERS else LOOP_BLOCK
