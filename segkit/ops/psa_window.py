"""Which offsets a mask holds: the geometry shared by the mask op and the attention.

PSANet (Zhao et al., ECCV 2018, section 3.2) predicts, at every pixel, one logit for each offset
of an Mh x Mw window around it. Names used throughout:

    own    i = (k, l): the pixel whose feature predicts the window
    other  j = (s, t): the pixel the prediction is about
    offset of the pair, as an index into the window: (s - k + half_h, t - l + half_w),
           half = (M - 1) // 2; an even window reaches one further down and right

One axis is described by a ``Reach``: ``before`` and ``after`` are the largest steps from own to
other that the window holds and the map allows. A *patch* is a run of own rows (a ``Tile``) times a
run of own columns; a *block* is some rows of patches by some columns of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

PSA_TYPES = ('collect', 'distribute')
# A reach of this much of an axis is widened to all of it: little is lost, and nothing is outside.
NEARLY_ALL = 7 / 8
Rectangle = tuple[slice, slice]


@dataclass(frozen=True)
class Reach:
    """Offsets of one axis of length ``size`` under a mask of length ``mask``."""

    size: int
    mask: int

    @property
    def half(self) -> int:
        return (self.mask - 1) // 2

    @property
    def before(self) -> int:
        return min(self.half, self.size - 1)

    @property
    def after(self) -> int:
        return min(self.mask - 1 - self.half, self.size - 1)

    @property
    def start(self) -> int:
        """First row of the window that is used; ``span`` are."""
        return self.half - self.before

    @property
    def span(self) -> int:
        return self.before + self.after + 1

    @property
    def full(self) -> bool:
        """Every other is inside the window of every own."""
        return self.span == 2 * self.size - 1

    def others(self, first: int, last: int) -> tuple[int, int]:
        """Half-open range of others within reach of any own in first .. last (inclusive)."""
        return max(0, first - self.before), min(self.size, last + self.after + 1)

    def tiles(self, length: int) -> list['Tile']:
        """The axis in runs of at most ``length`` own pixels, each with its others."""
        tiles = []
        for own in cut(self.size, length):
            start, stop = self.others(own.start, own.stop - 1)
            if stop - start >= NEARLY_ALL * self.size:
                start, stop = 0, self.size
            tiles.append(Tile(own, slice(start, stop), start - (own.stop - 1) + self.half))
        return tiles


class Tile(NamedTuple):
    """One axis of a patch."""

    own: slice
    other: slice
    first: int  # row or column of the window; may be negative or beyond: there the window is 0

    @property
    def owns(self) -> int:
        return self.own.stop - self.own.start

    @property
    def others(self) -> int:
        return self.other.stop - self.other.start

    @property
    def span(self) -> int:
        """Rows or columns of the window that some own pixel uses for some other."""
        return self.others + self.owns - 1

    def within(self, chunk: slice) -> 'Tile':
        """Only the others of a chunk."""
        start, stop = max(self.other.start, chunk.start), min(self.other.stop, chunk.stop)
        first = self.first + start - self.other.start
        return Tile(self.own, slice(start, max(start, stop)), first)


class Block(NamedTuple):
    """Patches: every tile of rows with every tile of columns."""

    rows: list[Tile]
    columns: list[Tile]

    @property
    def own(self) -> Rectangle:
        return _hull([t.own for t in self.rows]), _hull([t.own for t in self.columns])

    @property
    def other(self) -> Rectangle:
        return _hull([t.other for t in self.rows]), _hull([t.other for t in self.columns])

    def within(self, rows: slice, columns: slice) -> 'Block':
        """The patches that reach a chunk of others, and of their others only those."""
        kept = ([t.within(c) for t in ts] for ts, c in zip(self, (rows, columns)))
        return Block(*([t for t in tiles if t.others] for tiles in kept))


def cut(size: int, length: int) -> list[slice]:
    """[0, size) in runs of at most ``length``, nearly equal."""
    count = -(-size // length)
    edges = [size * i // count for i in range(count + 1)]
    return [slice(*pair) for pair in zip(edges, edges[1:])]


def overlap(start: int, span: int, size: int) -> tuple[slice, slice]:
    """Where [start, start + span) meets [0, size), in the coordinates of [0, size) and of start."""
    low, high = max(start, 0), min(start + span, size)
    return slice(low, high), slice(low - start, high - start)


def _hull(runs: list[slice]) -> slice:
    return slice(min(r.start for r in runs), max(r.stop for r in runs))


def parse_psa_type(psa_type: str | int) -> str:
    """'collect' or 'distribute'; mmcv's 0 and 1 are understood too."""
    if isinstance(psa_type, int) and not isinstance(psa_type, bool) and psa_type in (0, 1):
        return PSA_TYPES[psa_type]
    if psa_type in PSA_TYPES:
        return psa_type
    raise ValueError(
        f"psa_type must be 'collect' (0) or 'distribute' (1), got {psa_type!r}; "
        'a two-way head calls the operator once for each.'
    )


def parse_mask_size(mask_size: int | Sequence[int]) -> tuple[int, int]:
    """(Mh, Mw), both positive; one int stands for a square window."""
    pair = (mask_size, mask_size) if isinstance(mask_size, int) else tuple(mask_size)
    if len(pair) != 2 or any(int(m) != m or m < 1 for m in pair):
        raise ValueError(f'mask_size must be one or two positive integers, got {mask_size!r}.')
    return int(pair[0]), int(pair[1])
