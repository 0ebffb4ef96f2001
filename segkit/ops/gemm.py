"""Matrix products for the attention and the upsampled convolution.

On CPU, ``torch.mm`` in float32 is MKL's, which takes its AVX2 path on processors that are not
Intel's: half of what an AVX-512 machine can do (measured on Zen 5: 110 against 250 GFLOP/s). The
inner product of oneDNN, which torch ships and Inductor calls, is not held back, reads either
operand transposed in place, and is used here where it exists. Everywhere else, torch.matmul.

That inner product adds up all of k in one go, which costs accuracy: logits over 512 channels are
off by 4e-6 where MKL's are off by 2e-6. Added up in runs of 128 they are off by 1.5e-6.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

RUN = 128


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
    if not _takes(left, right):
        return torch.matmul(left, right.transpose(-1, -2))
    if left.dim() == 2:
        return _inner_product(left, right)
    if left.shape[0] == 1:
        return _inner_product(left[0], right[0])[None]
    return torch.stack([_inner_product(a, b) for a, b in zip(left, right)])


def runs_of(tensor: Tensor, k: int) -> int:
    """How many runs a sum over k is best split into for ``sum_of_products_nt``."""
    return k // RUN if _takes(tensor, tensor) and k % RUN == 0 else 1


def sum_of_products_nt(left: Tensor, right: Tensor) -> Tensor:
    """left (runs, m, k) times right (runs, n, k) transposed, added up: (m, n)."""
    total = matmul_nt(left[0], right[0])
    for a, b in zip(left[1:], right[1:]):
        total.add_(matmul_nt(a, b))
    return total


def product_nt(left: Tensor, right: Tensor) -> Tensor:
    """left (m, k) times right (n, k) transposed, differentiable; traced as a plain product."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if traced or torch.is_autocast_enabled(left.device.type) or not _takes(left, right):
        return torch.matmul(left, right.t())
    return _product_nt(left, right)


def sum_of_channel_products(left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """Sum over dim 1 of left * right, both of one dtype: products and sum in the wider ``dtype``.

    In half precision, products rounded before they are added up cost three digits of the sum.
    """
    product = left * right if left.dtype == dtype else left.to(dtype).mul_(right)
    return product.sum(1)


def _takes(left: Tensor, right: Tensor) -> bool:
    """Whether the inner product computes this one."""
    fits = left.device.type == 'cpu' and left.dtype == right.dtype == torch.float32
    filled = left.numel() > 0 and right.numel() > 0
    return fits and filled and bool(torch.backends.mkldnn.enabled) and has_inner_product()


def _inner_product(left: Tensor, right: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(_dense(left), _dense(right), None, 'none', [], '')


def _dense(matrix: Tensor) -> Tensor:
    """A matrix without gaps, transposed or not: oneDNN takes a slow way through any other."""
    return matrix if matrix.is_contiguous() or matrix.t().is_contiguous() else matrix.contiguous()


@torch.library.custom_op('segkit::product_nt', mutates_args=())
def _product_nt(left: Tensor, right: Tensor) -> Tensor:
    return matmul_nt(left, right)


@_product_nt.register_fake
def _(left: Tensor, right: Tensor) -> Tensor:
    return left.new_empty(left.shape[0], right.shape[0])


def _save(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
    left, right = ctx.saved_tensors
    need_left, need_right = ctx.needs_input_grad
    return (
        product_nt(grad, right.t()) if need_left else None,
        product_nt(grad.t(), left.t()) if need_right else None,
    )


_product_nt.register_autograd(_gradient, setup_context=_save)
