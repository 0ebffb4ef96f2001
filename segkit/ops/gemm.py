"""Matrix products of float32 on a CPU, by oneDNN where torch has it.

``torch.mm`` in float32 is MKL's, which takes its AVX2 path on processors that are not Intel's: half
of what an AVX-512 machine can do (measured on Zen 5: 110 against 250 GFLOP/s; on Zen 4, whose
AVX-512 is half as wide inside, 92 against 102). The inner product of oneDNN, which torch ships and
Inductor calls, is not held back and reads either operand transposed in place.

It adds up all of k in one go, which costs accuracy: logits over 512 channels are off by 4e-6 where
MKL's are off by 2e-6. Added up in runs of 128 they are off by 1.5e-6.
"""

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=1)
def has_inner_product() -> bool:
    """Whether torch offers oneDNN's float32 inner product, found out by calling it."""
    ones = torch.ones(2, 2)
    try:
        return torch.equal(inner_product(ones, ones), ones + 1)
    except (AttributeError, RuntimeError):
        return False


def matmul_nt(left: Tensor, right: Tensor) -> Tensor:
    """left (..., m, k) times right (..., n, k) transposed: (..., m, n). Not differentiable."""
    if not takes(left, right):
        return torch.matmul(left, right.transpose(-1, -2))
    if left.dim() == 2:
        return inner_product(left, right)
    parts = [inner_product(*pair) for pair in zip(left, right)]
    return torch.stack(parts) if len(parts) > 1 else parts[0][None]


def takes(left: Tensor, right: Tensor) -> bool:
    """Whether the inner product computes this one."""
    fits = left.device.type == 'cpu' and left.dtype == right.dtype == torch.float32
    return fits and min(left.numel(), right.numel()) > 0 and has_inner_product()


def inner_product(left: Tensor, right: Tensor) -> Tensor:
    """left (m, k) times right (n, k) transposed, for what `takes` says yes to."""
    # oneDNN takes a slow way through a matrix with gaps, transposed or not.
    left = left if left.is_contiguous() or left.t().is_contiguous() else left.contiguous()
    right = right if right.is_contiguous() or right.t().is_contiguous() else right.contiguous()
    return torch.ops.mkldnn._linear_pointwise(left, right, None, 'none', [], '')
