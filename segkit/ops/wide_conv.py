"""Convolutions that keep the size, in products of ours where those take less than torch's.

What may be done so is said here (`takes`); where it pays, and the products, say winograd.py and
far_taps.py, each with a function from inputs to `Ways`, or None. `conv2d` goes them. Compiled
without gradients each is a torch.library operator, one opaque node; exported networks, and those
compiled with gradients, have a plain convolution.

Legend: x (N, C, H, W), weight (K, C, 3, 3), out (N, K, H, W).
"""

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

from segkit.ops.autograd_context import Context

TAPS = 3
# Fewer pairs of channels, or pixels, than these cost more to put in order than they save.
LEAST_PAIRS, LEAST_PIXELS = 2**18, 512


class Convolve(Protocol):
    """Zeros outside; ``turned`` is the transpose: of ``x`` (N, K, H, W) to (N, C, H, W)."""

    def __call__(
        self, x: Tensor, weight: Tensor, dilation: int, turned: bool = False
    ) -> Tensor: ...


class ByFilters(Protocol):
    """The gradient (K, C, 3, 3) by the filters of that by the outputs, ``grad`` (N, K, H, W)."""

    def __call__(self, x: Tensor, grad: Tensor, dilation: int) -> Tensor: ...


class Ways(NamedTuple):
    """How to go, forward and by the inputs, and by the filters; None: as torch does. And what the
    compiler sees of the first."""

    convolve: Convolve | None
    by_filters: ByFilters | None
    operator: Convolve


class _Kept(Context, Protocol):
    dilation: int
    ways: Ways


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, dilation: int, ways: Ways) -> Tensor:
        if ways.convolve is not None:
            return ways.convolve(x, weight, dilation)
        return F.conv2d(x, weight, padding=dilation, dilation=dilation)

    @staticmethod
    def setup_context(ctx: _Kept, inputs: tuple[Tensor, Tensor, int, Ways], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.dilation, ctx.ways = inputs[2:]

    @staticmethod
    def backward(ctx: _Kept, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        d, (of_x, of_weight, *_) = ctx.dilation, ctx.needs_input_grad
        how = {'padding': d, 'dilation': d}
        # Ours have no gradient: somebody may differentiate this one.
        convolve, by_filters, _ = (None,) * 3 if torch.is_grad_enabled() else ctx.ways
        by_input = by_weight = None
        if of_x and convolve is not None:
            by_input = convolve(grad, weight, d, turned=True)
        elif of_x:
            by_input = conv2d_input(x.shape, weight, grad, **how)
        if of_weight and by_filters is not None:
            by_weight = by_filters(x, grad, d)
        elif of_weight:
            by_weight = conv2d_weight(x, weight.shape, grad, **how)
        return by_input, by_weight, None, None


def shape_of(x: Tensor, weight: Tensor, dilation: int, turned: bool = False) -> Tensor:
    """An empty output of `Convolve`, for the compiler."""
    return x.new_empty((x.shape[0], weight.shape[1 if turned else 0], *x.shape[2:]))


def takes(x: Tensor, weight: Tensor) -> bool:
    """Whether it is for code of ours: float32 on a CPU, 3x3 and wide, and no exporter or autocast
    at work, and no compiler where there are gradients."""
    if torch.compiler.is_compiling():
        if torch.compiler.is_exporting() or torch.is_grad_enabled():
            return False
    elif torch.jit.is_tracing() or type(x) is not Tensor:
        return False
    if x.device.type != 'cpu' or not x.dtype == weight.dtype == torch.float32 or x.dim() != 4:
        return False
    if torch.is_autocast_enabled('cpu') or not x.is_contiguous():
        return False
    return weight.shape[:2].numel() >= LEAST_PAIRS and weight.shape[2:] == (TAPS, TAPS)


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int, ways: Ways | None
) -> Tensor:
    """``F.conv2d(x, weight, bias, padding=dilation, dilation=dilation)``, equal to rounding."""
    if ways is None:
        return F.conv2d(x, weight, bias, padding=dilation, dilation=dilation)
    if torch.compiler.is_compiling():
        out = ways.operator(x, weight, dilation)
    else:
        out = _Convolution.apply(x, weight, dilation, ways)
    return out if bias is None else out.add_(bias[:, None, None])
