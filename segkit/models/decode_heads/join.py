"""Joining a map with smaller ones: conv3x3(cat(x, upsampled lows)), norm, activation.

``segkit.ops.conv_cat_upsampled`` evaluates the convolution without the concatenation; a bottleneck
it does not cover (another kernel, stride or convolution class) is evaluated as written.
"""

from collections.abc import Sequence
from typing import TypeGuard

import torch
from torch import Tensor, nn

from segkit.models.layers import ConvModule
from segkit.ops import conv_cat_upsampled

from .open_sizes import is_open, resize_to


def _commutes(conv: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether the identity holds for this convolution: plain 3x3, padding 1 with zeros."""
    return type(conv) is nn.Conv2d and (
        (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups, conv.padding_mode)
        == ((3, 3), (1, 1), (1, 1), (1, 1), 1, 'zeros')
    )


def join_upsampled(
    module: ConvModule, x: Tensor, lows: Sequence[Tensor], align_corners: bool | int
) -> Tensor:
    """``module(cat([x, *lows resized to x]))``; x (N, C0, h, w), lows (N, Ci, hi, wi)."""
    size = tuple(x.shape[2:])
    if is_open(*size) or not _commutes(module.conv):
        lows = [resize_to(y, size, align_corners) for y in lows]
        return module(torch.cat([x, *lows], dim=1))
    out = conv_cat_upsampled(module.conv, x, list(lows), size, bool(align_corners))
    if module.norm is not None:
        out = module.norm(out)
    return module.activate(out) if module.with_activation else out
