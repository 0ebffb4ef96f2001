"""Logits of a patch from one matrix product, read through a skewed view.

The product of the patch's features with a slice of the window gives a *band*: for every own pixel
(kk, uu) of the patch and every row and column (p, q) of the slice, the logit

    band[n, kk, uu, p, q],   of the pair with  p = s - kk + (Kb - 1),  q = t - uu + (T - 1)

with s, t counted from the first other. Moving own by one pixel moves the window by minus one: in
memory, the pairs are a strided view of the band, with every stride positive and every address
inside. Reading it is the mask operator; writing through it, onto zeros, is the adjoint.

Shapes: patch of Kb x T own pixels and S x U others; P = S + Kb - 1, Q = U + T - 1; trimmed window
(R, Q', C); packed window (runs, rows, Q, C / runs), zero where the mask ends. Channels come in runs
that are multiplied one by one (segkit/ops/gemm.py says why).
"""

import torch
from torch import Tensor

from segkit.ops.psa.tiles import Tile
from segkit.ops.psa.window import Reach


def trim(weight: Tensor, rows: Reach, columns: Reach) -> Tensor:
    """(Mh * Mw, C) -> (R, Q', C), a view: the offsets that the map can reach."""
    window = weight.view(rows.mask, columns.mask, -1)
    return window.narrow(0, rows.start, rows.span).narrow(1, columns.start, columns.span)


def in_runs(window: Tensor, runs: int) -> Tensor:
    """(R, Q', C) -> (runs, R, Q', C / runs), a view."""
    return window.unflatten(2, (runs, -1)).permute(2, 0, 1, 3)


class Packing:
    """The slice of the window that one column tile needs, for all row tiles of a pass."""

    def __init__(self, window: Tensor, rows: list[Tile], column: Tile) -> None:
        """window (runs, R, Q', C / runs)."""
        self.first = min(tile.window_start for tile in rows)
        span = max(tile.window_start + tile.span for tile in rows) - self.first
        self.shape = (window.shape[0], span, column.span, window.shape[3])
        row_in, row_out = _overlap(self.first, span, window.shape[1])
        column_in, column_out = _overlap(column.window_start, column.span, window.shape[2])
        runs = slice(None)
        self.inside, self.target = (runs, row_in, column_in), (runs, row_out, column_out)

    def pack(self, window: Tensor) -> Tensor:
        """(runs, rows, Q, C / runs), contiguous, so that consecutive rows are matrices."""
        packed = window.new_empty(self.shape)
        if packed[self.target].shape != packed.shape:
            packed.zero_()
        packed[self.target] = window[self.inside]
        return packed

    def add_to(self, window: Tensor, packed: Tensor) -> None:
        """The adjoint of ``pack``: add a packed gradient to that of the window."""
        window[self.inside] += packed[self.target]

    def matrix(self, packed: Tensor, row: Tile) -> Tensor:
        """(runs, P * Q, C / runs): the rows of one tile, a view."""
        return packed.narrow(1, row.window_start - self.first, row.span).flatten(1, 2)


def _overlap(start: int, span: int, size: int) -> tuple[slice, slice]:
    """Where [start, start + span) meets [0, size), in the coordinates of each."""
    low, high = max(start, 0), min(start + span, size)
    return slice(low, high), slice(low - start, high - start)


def pairs_of(band: Tensor, row: Tile, column: Tile) -> Tensor:
    """The skewed view (N, Kb, T, S, U) of a band (N * Kb * T, P * Q) that starts its storage."""
    pitch = row.span * column.span  # one own pixel
    patch = row.owns * column.owns
    size = (band.shape[0] // patch, row.owns, column.owns, row.others, column.others)
    strides = (
        patch * pitch,
        column.owns * pitch - column.span,
        pitch - 1,
        column.span,
        1,
    )
    return band.as_strided(size, strides, (row.owns - 1) * column.span + column.owns - 1)


class BandGradient:
    """Zero bands to write gradients of pairs into, kept for the last shape of patch.

    Patches of one shape write the same places, so the rest stays zero without being cleared.
    """

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.band: Tensor | None = None

    def unskew(self, grad: Tensor, row: Tile, column: Tile, dtype: torch.dtype) -> Tensor:
        """(N, Kb * T, S * U) -> (N * Kb * T, P * Q) in the dtype of the products."""
        shape = (row.owns, column.owns, row.others, column.others)
        band = self.band
        if band is None or shape != self.shape:
            count = grad.shape[0] * row.owns * column.owns
            band = self.band = grad.new_zeros(count, row.span * column.span, dtype=dtype)
            self.shape = shape
        pairs = pairs_of(band, row, column)
        pairs.copy_(grad.view(pairs.shape))
        return band
