"""A 3x3 convolution over cat(identity, upsampled maps), without upsampling or concatenating.

Heads that pool context (PSPNet, Zhao et al., CVPR 2017, section 3.2; PSANet, Zhao et al., ECCV
2018, section 3.3) bring coarse maps back to full size, concatenate and convolve. Bilinear
upsampling acts on space and a convolution tap on channels, so the two commute exactly:

    conv(up(z)) = sum over taps (dy, dx) of shift(dy, dx)[ up( W[dy, dx] z ) ]

The expensive factor, W[dy, dx] z, is computed at low resolution; upsampling and shift are two
small matrices, one for each axis. It is an identity: it holds in training and inference alike.

Shapes: x (N, C0, H, W); a low map (N, Ci, h, w); conv.weight (Cout, C0 + sum Ci, 3, 3);
1-D interpolation matrices (H, 3 * h) and (W, 3 * w), one block for each tap.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.ops import wide_conv, winograd
from segkit.ops.autograd_context import Context
from segkit.ops.gemm import inner_product, takes

TAPS = 3


def conv_cat_upsampled(
    conv: nn.Conv2d,
    x: Tensor,
    lows: Sequence[Tensor],
    size: Sequence[int],
    align_corners: bool | None = False,
    lows_first: bool = False,
) -> Tensor:
    """``conv(cat([x] + [interpolate(low, size, mode='bilinear') for low in lows], dim=1))``.

    Args:
        conv: a 3x3 convolution of stride 1, padding 1 (zeros), dilation 1, without groups, whose
            input channels are those of ``x`` followed by those of each low map, in order.
        x: (N, C0, H, W), already at full size.
        lows: maps (N, Ci, h, w) of any size, to be resized to (H, W).
        size: (H, W).
        align_corners: as in ``torch.nn.functional.interpolate``; None is False.
        lows_first: the channels of the low maps come before those of ``x``.

    Returns:
        (N, Cout, H, W), equal to the written-out form up to rounding, and differentiable.

    Raises:
        ValueError: for another kind of convolution, or channels or sizes that do not fit.
    """
    size = (size[0], size[1])
    _check(conv, x, lows, size)
    of_lows = [low.shape[1] for low in lows]
    order = [*of_lows, x.shape[1]] if lows_first else [x.shape[1], *of_lows]
    weights = list(conv.weight.split(order, dim=1))
    full, full_weight = [x], [weights.pop(-1 if lows_first else 0)]
    small, small_weight = [], []
    for low, weight in zip(lows, weights):
        if low.shape[2] * low.shape[3] < size[0] * size[1]:
            small.append(low)
            small_weight.append(weight)
        else:  # nothing to gain where the map is not smaller than the output
            full.append(F.interpolate(low, size, mode='bilinear', align_corners=align_corners))
            full_weight.append(weight)
    x, weight = _cat(full), _cat(full_weight)
    out = wide_conv.conv2d(x, weight, conv.bias, 1, winograd.ways(x, weight, 1))
    if not small:
        return out
    return out + _upsampled_share(small, small_weight, size, align_corners)


def _upsampled_share(
    lows: list[Tensor], weights: list[Tensor], size: tuple[int, int], align_corners: bool | None
) -> Tensor:
    """What the low maps (N, Ci, h, w) with weights (Cout, Ci, 3, 3) add: (N, Cout, H, W).

    Rows are upsampled first (a batched product), columns last, by one plain product for all low
    maps together: landscape maps want that order, and the output is written once.
    """
    tall = [_mix_and_raise(*pair, size[0], align_corners) for pair in zip(lows, weights)]
    matrices = [shifted_interpolation(low.shape[3], size[1], align_corners, low) for low in lows]
    wide, matrix = _cat(tall, dim=3), torch.cat(matrices, dim=1)
    return product_nt(wide.flatten(0, 2), matrix).view(*wide.shape[:3], size[1])


def _mix_and_raise(low: Tensor, weight: Tensor, height: int, align_corners: bool | None) -> Tensor:
    """(N, Ci, h, w) -> (N, Cout, H, 3 * w): taps applied to channels, rows upsampled."""
    n, channels, h, w = low.shape
    out_channels = weight.shape[0]
    taps = weight.permute(3, 0, 2, 1).reshape(TAPS, out_channels * TAPS, channels)  # dx, (Cout, dy)
    tokens = low.flatten(2).transpose(1, 2).reshape(n * h * w, channels)
    parts = []
    for tap in taps:
        parts.append(product_nt(tap, tokens).view(-1, n, h, w).transpose(0, 1))
    mixed = torch.stack(parts, dim=3)  # (N, Cout * dy, h, dx, w)
    matrix = shifted_interpolation(h, height, align_corners, low)  # (H, dy * h)
    mixed = mixed.view(n * out_channels, TAPS * h, TAPS * w)
    raised = torch.bmm(matrix.expand(n * out_channels, -1, -1), mixed)
    return raised.view(n, out_channels, height, TAPS * w)


class _ProductNT(torch.autograd.Function):
    """The inner product of matrices, differentiable any times."""

    @staticmethod
    def forward(left: Tensor, right: Tensor) -> Tensor:
        return inner_product(left, right)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        left, right = ctx.saved_tensors
        of_left, of_right = ctx.needs_input_grad
        return (
            product_nt(grad, right.t()) if of_left else None,
            product_nt(grad.t(), left.t()) if of_right else None,
        )


def product_nt(left: Tensor, right: Tensor) -> Tensor:
    """left (m, k) times right (n, k) transposed; traced as a plain product."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if traced or torch.is_autocast_enabled(left.device.type) or not takes(left, right):
        return torch.matmul(left, right.t())
    return _ProductNT.apply(left, right) if torch.is_grad_enabled() else inner_product(left, right)


def shifted_interpolation(
    source: int, target: int, align_corners: bool | None, like: Tensor
) -> Tensor:
    """(target, 3 * source): the bilinear matrix under taps -1, 0, +1 of a zero-padded convolution.

    Taken from torch's own interpolation of the identity, so it follows align_corners exactly.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    identity = torch.eye(source, dtype=dtype, device=like.device)[None, :, :, None]
    matrix = F.interpolate(identity, (target, 1), mode='bilinear', align_corners=align_corners)
    matrix = matrix[0, :, :, 0].t()
    before = F.pad(matrix, (0, 0, 1, 0))[:target]
    after = F.pad(matrix, (0, 0, 0, 1))[1:]
    return torch.cat([before, matrix, after], dim=1).to(like.dtype)


def _cat(tensors: list[Tensor], dim: int = 1) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors, dim=dim)


def _check(conv: nn.Conv2d, x: Tensor, lows: Sequence[Tensor], size: tuple[int, int]) -> None:
    wanted = dict(
        kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1,
        padding_mode='zeros',
    )  # fmt: skip
    for name, value in wanted.items():
        if getattr(conv, name) != value:
            raise ValueError(
                f'conv_cat_upsampled needs a convolution with {name}={value}, '
                f'got {name}={getattr(conv, name)}; write the concatenation out for this one.'
            )
    channels = [x.shape[1], *[low.shape[1] for low in lows]]
    if sum(channels) != conv.in_channels:
        raise ValueError(
            f'The convolution takes {conv.in_channels} channels, but x and the low maps have '
            f'{" + ".join(map(str, channels))} = {sum(channels)}.'
        )
    if tuple(x.shape[2:]) != size:
        raise ValueError(
            f'x is {tuple(x.shape[2:])}, size is {size}: x must already have the output size.'
        )
