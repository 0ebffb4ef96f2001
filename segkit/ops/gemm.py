"""Matrix products for the attention and the upsampled convolution.

On CPU, ``torch.mm`` in float32 is MKL's, which takes its AVX2 path on processors that are not
Intel's: half of what an AVX-512 machine can do (measured on Zen 5: 110 against 250 GFLOP/s). The
inner product of oneDNN, which torch ships and Inductor calls, is not held back, reads either
operand transposed in place, and is used here where it exists. Everywhere else, torch.matmul.
"""

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=1)
def has_inner_product() -> bool:
    """Whether torch offers oneDNN's float32 inner product, found out by calling it."""
    if not torch.backends.mkldnn.is_available():
        return False
    left, right = torch.eye(2), torch.ones(2, 2)
    try:
        return torch.equal(_inner_product(left, right), right)
    except (AttributeError, RuntimeError):
        return False


def matmul_nt(left: Tensor, right: Tensor) -> Tensor:
    """left (..., m, k) times right (..., n, k) transposed: (..., m, n). Not differentiable."""
    usable = left.device.type == 'cpu' and left.dtype == torch.float32 and left.numel() > 0
    if not (usable and torch.backends.mkldnn.enabled and has_inner_product()):
        return torch.matmul(left, right.transpose(-1, -2))
    if left.dim() == 2:
        return _inner_product(left, right)
    if left.shape[0] == 1:
        return _inner_product(left[0], right[0])[None]
    return torch.stack([_inner_product(a, b) for a, b in zip(left, right)])


def _inner_product(left: Tensor, right: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(left, right, None, 'none', [], '')
