"""Dilated 3x3 convolutions on a CPU without the taps that fall outside of the map.

At dilation r a tap of row -1 meets H - r of a map's H rows, so of a map that r is a large part of
(an 8x8 map at r = 4, or 64x64 at the rates 24 and 36 of arXiv:1706.05587) most products are by
zeros of the padding. Here each tap is a matrix product over the pixels that it does meet,

    out[k, p] = sum over taps t of  W_t[k, :] x[:, p + t],   where p + t lies inside,

(1 - 2 r / 3 H) (1 - 2 r / 3 W) of the multiplications. Its transpose is the gradient by the input,
and that by the filters is  dW_t = sum over p of dy[:, p] x[:, p + t]^T.

Legend: x (N, C, H, W), weight (K, C, 3, 3), out (N, K, H, W).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from segkit.ops import wide_conv
from segkit.ops.wide_conv import Ways, shape_of, takes

# Shares of the products that meet the map below which it pays: matrix products are not as fast as
# convolutions, and for a small map the filters are what it takes time to put in order.
MOST_INSIDE, MOST_INSIDE_BY_FILTERS = 0.6, 0.5
OUTPUTS = 256  # whose gradients by the filters are put in order at once, in a cache


def inside(height: int, width: int, dilation: int) -> float:
    """The share of the products of pixels and taps that do not meet the padding."""
    rows, columns = (side + 2 * max(side - dilation, 0) for side in (height, width))
    return rows * columns / (9 * height * width)


def _meets(side: int, shift: int) -> tuple[slice, slice]:
    """The places p for which p + shift lies in the side, and those p + shift."""
    first, last = max(0, -shift), min(side, side - shift)
    return slice(first, last), slice(first + shift, last + shift)


def _taps(height: int, width: int, d: int) -> Iterator[tuple[int, int, tuple, tuple]]:
    """Row and column of each tap that meets the map, the centre first; where it gives to, and
    where it takes from."""
    for i, j in sorted(((i, j) for i in range(3) for j in range(3)), key=lambda tap: tap != (1, 1)):
        (to_rows, rows), (to_columns, columns) = (
            _meets(height, (i - 1) * d), _meets(width, (j - 1) * d),
        )  # fmt: skip
        if to_rows.start < to_rows.stop and to_columns.start < to_columns.stop:
            yield i, j, (to_rows, to_columns), (rows, columns)


def _pixels(x: Tensor, place: tuple[slice, slice]) -> Tensor:
    """(channels, N * pixels) of a rectangle of maps (N, channels, H, W)."""
    return x[:, :, place[0], place[1]].transpose(0, 1).flatten(1)


def convolve(x: Tensor, weight: Tensor, dilation: int, turned: bool = False) -> Tensor:
    """The convolution that keeps the size, of zeros outside; ``turned`` is its transpose."""
    filters = weight.permute(2, 3, 1, 0) if turned else weight.permute(2, 3, 0, 1)
    filters = filters.contiguous()
    out = x.new_empty((x.shape[0], filters.shape[2], *x.shape[2:]))
    for i, j, to, taken in _taps(x.shape[2], x.shape[3], dilation):
        to, taken = (taken, to) if turned else (to, taken)
        product = torch.mm(filters[i, j], _pixels(x, taken))
        place = out[:, :, to[0], to[1]].transpose(0, 1)
        if (i, j) == (1, 1):
            place.copy_(product.view(place.shape))
        else:
            place += product.view(place.shape)
    return out


operator = torch.library.custom_op('segkit::far_taps', convolve, mutates_args=())
operator.register_fake(shape_of)


def by_filters(x: Tensor, grad: Tensor, dilation: int) -> Tensor:
    """The gradient by the filters, (K, C, 3, 3), of that by the outputs, ``grad`` (N, K, H, W)."""
    out = x.new_empty((grad.shape[1], x.shape[1], 3, 3))
    taps = list(_taps(x.shape[2], x.shape[3], dilation))
    make = x.new_empty if len(taps) == 9 else x.new_zeros  # taps that meet nothing stay 0
    sums = make((3, 3, min(OUTPUTS, grad.shape[1]), x.shape[1]))
    for first in range(0, len(out), OUTPUTS):
        part, above = out[first : first + OUTPUTS], grad[:, first : first + OUTPUTS]
        some = sums[:, :, : len(part)]
        for i, j, to, taken in taps:
            torch.mm(_pixels(above, to), _pixels(x, taken).t(), out=some[i, j])
        part.copy_(some.permute(2, 3, 0, 1))
    return out


def _pays_by_pixels(x: Tensor, dilation: int) -> bool:
    height, width = x.shape[2:]
    enough = x.shape[0] * height * width >= wide_conv.LEAST_PIXELS
    return enough and inside(height, width, dilation) <= MOST_INSIDE


def _pays_by_filters(x: Tensor, dilation: int) -> bool:
    return inside(x.shape[2], x.shape[3], dilation) <= MOST_INSIDE_BY_FILTERS


def ways(x: Tensor, weight: Tensor, dilation: int) -> Ways | None:
    """These, where one pays in what is computed or in a gradient that will be asked."""
    if dilation == 1 or not takes(x, weight):
        return None
    pixels, filters = _pays_by_pixels(x, dilation), _pays_by_filters(x, dilation)
    trains = weight.requires_grad and torch.is_grad_enabled()
    if not pixels and not (trains and filters):
        return None
    return Ways(convolve if pixels else None, by_filters if filters else None, operator)
