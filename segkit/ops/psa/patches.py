"""Walk a map patch by patch: the loop that every pass of windowed attention shares.

The outer loop runs over column tiles, because a run of window columns has to be copied to become
a matrix; the inner loop over row tiles takes its run of window rows from that copy for free.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from segkit.ops.gemm import runs_of, sum_of_products_nt
from segkit.ops.psa.band import Packing, in_runs, pairs_of, trim
from segkit.ops.psa.policy import chunk_lengths, patch_lengths
from segkit.ops.psa.tiles import Range, Tile, cut, runs, widen
from segkit.ops.psa.window import Reach

ALL = (slice(None),)  # index of one whole axis, to be added to those of others


@dataclass
class Patch:
    """Own pixels row.own x column.own, their others, and the factors of their logits."""

    row: Tile
    column: Tile
    tokens: Tensor  # (runs, N * Kb * T, C / runs)
    matrix: Tensor  # (runs, P * Q, C / runs)
    matrix_grad: Tensor | None = None  # like matrix, to be added to

    @property
    def own(self) -> tuple[slice, ...]:
        """Index of the own pixels in (N, H, W, ...)."""
        return slice(None), self.row.own, self.column.own

    @property
    def own_map(self) -> tuple[slice, ...]:
        """Index of the own pixels in (N, C, H, W)."""
        return slice(None), slice(None), self.row.own, self.column.own

    @property
    def other(self) -> tuple[slice, slice]:
        """Index of the others in (H, W)."""
        return self.row.other, self.column.other

    def pairs(self) -> Tensor:
        """Logits (N, Kb, T, S, U), a skewed view of a fresh product."""
        return pairs_of(sum_of_products_nt(self.tokens, self.matrix), self.row, self.column)

    def logits(self, dtype: torch.dtype) -> Tensor:
        """Logits (N, Kb * T, S * U), contiguous."""
        pairs = self.pairs()
        copy = pairs.new_empty(pairs.shape, dtype=dtype).copy_(pairs)
        return copy.flatten(3, 4).flatten(1, 2)


class Patches:
    """The patches of one call, and the geometry they share."""

    def __init__(self, feat: Tensor, weight: Tensor, mask: Range) -> None:
        n, _, h, w = feat.shape
        self.size = (n, h, w)
        self.pixels = h * w
        self.rows, self.columns = Reach(h, mask[0]), Reach(w, mask[1])
        self.lengths = patch_lengths(n, h, w)
        self.tokens = feat.permute(0, 2, 3, 1).contiguous()
        self.weight_shape = weight.shape
        self.runs = runs_of(feat, feat.shape[1])
        self.window = in_runs(trim(weight, self.rows, self.columns), self.runs)
        self.statistics = torch.promote_types(feat.dtype, torch.float32)

    def column_passes(
        self,
        own: tuple[Range, Range] | None = None,
        other: tuple[Range, Range] | None = None,
        weight_grad: Tensor | None = None,
    ) -> Iterator[tuple[Tile, Iterator[Patch]]]:
        """(column tile, its patches), for a rectangle of own pixels and one of others.

        Adds the gradient that a pass leaves in ``matrix_grad`` to ``weight_grad`` (Mh * Mw, C).
        """
        own_rows, own_columns = own or (None, None)
        other_rows, other_columns = other or (None, None)
        rows = [t for t in cut(self.rows, self.lengths[0], own_rows, other_rows) if t.others]
        for column in cut(self.columns, self.lengths[1], own_columns, other_columns):
            if not (rows and column.others):
                continue
            packing = Packing(self.window, rows, column)
            packed = packing.pack(self.window)
            grad = None
            if weight_grad is not None:
                grad = torch.zeros_like(packed, dtype=weight_grad.dtype)
            yield column, self._patches(rows, column, packing, packed, grad)
            if grad is not None and weight_grad is not None:
                window_grad = in_runs(trim(weight_grad, self.rows, self.columns), self.runs)
                packing.add_to(window_grad, grad)

    def _patches(
        self, rows: list[Tile], column: Tile, packing: Packing, packed: Tensor, grad: Tensor | None
    ) -> Iterator[Patch]:
        for row in rows:
            tokens = self.tokens[:, row.own, column.own].flatten(0, 2)
            tokens = tokens.unflatten(1, (self.runs, -1)).transpose(0, 1).contiguous()
            matrix_grad = None if grad is None else packing.matrix(grad, row)
            yield Patch(row, column, tokens, packing.matrix(packed, row), matrix_grad)

    def chunks(self) -> Iterator[tuple[tuple[Range, Range], tuple[Range, Range]]]:
        """(own, other): rectangles of others that tile the map, and the owns that reach them."""
        lengths = chunk_lengths(*self.size, self.columns, self.statistics.itemsize)
        for rows in runs(self.rows.size, lengths[0]):
            for columns in runs(self.columns.size, lengths[1]):
                own = (
                    widen(self.rows, self.rows.owners(rows[0], rows[1] - 1)),
                    widen(self.columns, self.columns.owners(columns[0], columns[1] - 1)),
                )
                yield own, (rows, columns)
