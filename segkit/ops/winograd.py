"""3x3 convolutions on a CPU in four times fewer multiplications (Winograd's minimal filtering).

Lavin and Gray, arXiv:1509.09308, section 4, F(4x4, 3x3): a tile of 4x4 outputs takes 6x6 inputs d
and the filter g, and with three small matrices A, B, G it is

    y = A^T [ (G g G^T) * (B^T d B) ] A

where * multiplies entry by entry, so that over all channels and tiles each of the 36 entries is one
matrix product: U (K, C) of the filters by V (C, T) of the tiles. The matrices are those of Toom and
Cook for the points 0, +-11/16, +-3/2 and infinity, which keep their entries near 1: over 2048
channels the result is off by 1.1e-6 of its size where a plain convolution in float32 is off by
0.3e-6, and with the paper's points 0, +-1, +-2 it would be by 2.4e-6.

A convolution of dilation r is r * r of them without, each on the pixels whose row and column leave
the same remainders by r: the remainders are two more axes of the strided view that tiles are read
through.

Backward. By the input it is a convolution with the filters turned by 180 degrees. By the filters it
is the transpose of the formula, G^T [ (A dy A^T) * (B^T d B) ] G.

Whatever is held at once - tiles, filters and products of some channels and rows - fits a core's
share of the last cache, and no page is taken from the system twice.

Legend: x (N, C, H, W), weight (K, C, 3, 3), out (N, K, H, W); T tiles of a band of rows.
"""

from collections.abc import Iterator
from fractions import Fraction
from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.ops import wide_conv
from segkit.ops.wide_conv import TAPS, Ways, shape_of, takes

STEP, SIDE = 4, 6  # outputs and inputs of a tile, a side
POINTS = (Fraction(0), Fraction(11, 16), Fraction(-11, 16), Fraction(3, 2), Fraction(-3, 2))
TILES, INPUTS, OUTPUTS = 256, 256, 128  # tiles and channels at once
MOST_WHOLE = 1.25  # pixels of whole tiles, of those of the map: where it pays


def _toom_cook() -> tuple[list[list[Fraction]], list[list[Fraction]], list[list[Fraction]]]:
    """A^T (4, 6), G (6, 3) and B^T (6, 6) of the points and infinity."""
    zero, one = Fraction(0), Fraction(1)
    a = [[p**i for p in POINTS] + [one if i == STEP - 1 else zero] for i in range(STEP)]
    scales = [prod((p - q for q in POINTS if q != p), start=one) for p in POINTS]
    g = [[p**i / scale for i in range(TAPS)] for p, scale in zip(POINTS, scales)]
    g.append([zero] * (TAPS - 1) + [one])
    others = [[q for q in POINTS if q != p] for p in POINTS] + [list(POINTS)]
    b = [_coefficients(roots) for roots in others]
    return a, g, [row + [zero] * (SIDE - len(row)) for row in b]


def _coefficients(roots: list[Fraction]) -> list[Fraction]:
    """Of the product of (x - root), the lowest power first."""
    row = [Fraction(1)]
    for root in roots:
        row = [a - root * b for a, b in zip([Fraction(0), *row], [*row, Fraction(0)])]
    return row


def _both_axes(matrix: list[list[Fraction]]) -> Tensor:
    numbers = [[float(v) for v in row] for row in matrix]
    one = torch.tensor(numbers, dtype=torch.float64, device='cpu')
    return torch.kron(one, one).float()


A, G, B = map(_both_axes, _toom_cook())  # (16, 36), (36, 9), (36, 36)


class _Grid(NamedTuple):
    """Where the tiles of maps (N, channels, H, W) lie: rows and columns of them a remainder."""

    images: int
    height: int
    width: int
    dilation: int

    @property
    def pitch(self) -> int:
        """Pixels from a tile to the next of the same remainders."""
        return STEP * self.dilation

    @property
    def whole_pixels(self) -> int:
        """Of all tiles, those outside of the map too."""
        return self.images * self.rows * self.columns * self.pitch**2

    @property
    def rows(self) -> int:
        return -(-self.height // self.pitch)

    @property
    def columns(self) -> int:
        return -(-self.width // self.pitch)

    def bands(self) -> Iterator[tuple[int, int]]:
        """First row of tiles and the one after the last of each band."""
        rows = max(1, TILES // (self.images * self.columns * self.dilation**2))
        for first in range(0, self.rows, rows):
            yield first, min(first + rows, self.rows)

    def tiles(self, x: Tensor, band: tuple[int, int]) -> Tensor:
        """V of a band, (36, channels, T)."""
        d, rows = self.dilation, band[1] - band[0]
        top, bottom = self.pitch * band[0] - d, self.pitch * band[1] + d
        inner = x[:, :, max(top, 0) : bottom]
        right, above = self.pitch * self.columns + d - self.width, max(-top, 0)
        padded = F.pad(inner, (d, right, above, bottom - top - above - inner.shape[2]))
        image, plane, line, one = padded.stride()
        size = (SIDE, SIDE, x.shape[1], self.images, rows, d, self.columns, d)
        strides = (
            d * line, d * one, plane, image, self.pitch * line, line, self.pitch * one, one,
        )  # fmt: skip
        tiles = padded.as_strided(size, strides).reshape(SIDE**2, -1)
        return torch.mm(B, tiles).view(SIDE**2, x.shape[1], -1)

    def outputs(self, out: Tensor, band: tuple[int, int]) -> Tensor:
        """A view (4, 4, channels, N, rows, r, columns, r) of a band of maps of whole tiles."""
        d = self.dilation
        parts = out.unflatten(3, (self.columns, STEP, d)).unflatten(2, (self.rows, STEP, d))
        return parts[:, :, band[0] : band[1]].permute(3, 6, 1, 0, 2, 4, 5, 7)

    def whole(self, x: Tensor) -> Tensor:
        """``x`` with zeros below and to the right up to whole tiles."""
        more = self.pitch * self.columns - self.width, self.pitch * self.rows - self.height
        return F.pad(x, (0, more[0], 0, more[1])) if any(more) else x


def _runs(count: int, length: int) -> list[slice]:
    return [slice(first, min(first + length, count)) for first in range(0, count, length)]


def _filters(weight: Tensor, turned: bool) -> Tensor:
    """U (36, outputs, inputs) of filters (K, C, 3, 3), or of those turned: from K to C channels."""
    by = G.flip(1) if turned else G
    filters = (by @ weight.reshape(-1, TAPS**2).t()).view(SIDE**2, *weight.shape[:2])
    return filters.transpose(1, 2) if turned else filters


def convolve(x: Tensor, weight: Tensor, dilation: int, turned: bool = False) -> Tensor:
    """The convolution that keeps the size, of zeros outside; ``turned`` is its transpose."""
    grid = _Grid(x.shape[0], x.shape[2], x.shape[3], dilation)
    count = weight.shape[1 if turned else 0]
    out = x.new_empty((grid.images, count, grid.pitch * grid.rows, grid.pitch * grid.columns))
    for band in grid.bands():
        sums: list[Tensor] = []
        for part in _runs(x.shape[1], INPUTS):
            tiles = grid.tiles(x[:, part], band)
            for i, channels in enumerate(_runs(count, OUTPUTS)):
                share = weight[part, channels] if turned else weight[channels, part]
                filters = _filters(share, turned)
                if i == len(sums):
                    sums.append(torch.bmm(filters, tiles))
                else:
                    sums[i].baddbmm_(filters, tiles)
        for products, channels in zip(sums, _runs(count, OUTPUTS)):
            place = grid.outputs(out[:, channels], band)
            place.copy_((A @ products.flatten(1)).view(place.shape))
    if out.shape[2:] == x.shape[2:]:
        return out  # no view, which nobody could write into
    return out[:, :, : grid.height, : grid.width].contiguous()


operator = torch.library.custom_op('segkit::winograd', convolve, mutates_args=())
operator.register_fake(shape_of)


def by_filters(x: Tensor, grad: Tensor, dilation: int) -> Tensor:
    """The gradient by the filters, (K, C, 3, 3), of that by the outputs, ``grad`` (N, K, H, W)."""
    grid = _Grid(x.shape[0], x.shape[2], x.shape[3], dilation)
    channels, count = x.shape[1], grad.shape[1]
    whole, bands = grid.whole(grad), list(grid.bands())

    def products(band: tuple[int, int]) -> Tensor:
        outputs = grid.outputs(whole, band).reshape(STEP**2, -1)
        return (A.t() @ outputs).view(SIDE**2, count, -1)

    # Those of one band serve all channels; of several they are made again, not held.
    held = products(bands[0]) if len(bands) == 1 else None
    out = x.new_empty((count, channels, TAPS**2))
    for part in _runs(channels, OUTPUTS):
        total = x.new_empty(0)
        for band in bands:
            product = products(band) if held is None else held
            tiles = grid.tiles(x[:, part], band).transpose(1, 2)
            first = total.dim() == 1
            total = torch.bmm(product, tiles) if first else total.baddbmm_(product, tiles)
        out[:, part] = (G.t() @ total.flatten(1)).view(TAPS**2, count, -1).permute(1, 2, 0)
    return out.view(count, channels, TAPS, TAPS)


def ways(x: Tensor, weight: Tensor, dilation: int) -> Ways | None:
    """These, where there are enough pixels and most of the tiles' lie in the map."""
    if not takes(x, weight):
        return None
    grid = _Grid(x.shape[0], x.shape[2], x.shape[3], dilation)
    pixels = grid.images * grid.height * grid.width
    pays = pixels >= wide_conv.LEAST_PIXELS and grid.whole_pixels <= MOST_WHOLE * pixels
    return Ways(convolve, by_filters, operator) if pays else None
