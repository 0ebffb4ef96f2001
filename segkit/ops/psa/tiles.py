"""How the pixels of a map are cut into patches, and which part of the window a patch needs.

A patch is a run of own rows times a run of own columns. On each axis its pixels reach the others
``other_start .. other_stop``, through window rows ``window_start .. window_start + span``: the
offset other - own + before takes ``others + owns - 1`` values, however wide the patch. That sum is
the whole waste of the method: one own pixel alone would need ``others`` of them.
"""

from dataclasses import dataclass

from segkit.ops.psa.window import Reach

# A reach of this much of the axis is widened to all of it: the closed form for what is out of
# reach divides rounding errors by the share that is out.
NEARLY_ALL = 7 / 8

Range = tuple[int, int]


@dataclass(frozen=True)
class Tile:
    """One axis of a patch; ranges are half-open."""

    own_start: int
    own_stop: int
    other_start: int
    other_stop: int
    window_start: int  # may be negative or beyond the window: those rows are zero

    @property
    def owns(self) -> int:
        return self.own_stop - self.own_start

    @property
    def others(self) -> int:
        return self.other_stop - self.other_start

    @property
    def span(self) -> int:
        return self.others + self.owns - 1

    @property
    def own(self) -> slice:
        return slice(self.own_start, self.own_stop)

    @property
    def other(self) -> slice:
        return slice(self.other_start, self.other_stop)


def cut(
    reach: Reach,
    length: int,
    own: Range | None = None,
    other: Range | None = None,
) -> list[Tile]:
    """Tiles of at most ``length`` own pixels, of nearly equal size, for a range of each kind."""
    start, stop = own or (0, reach.size)
    return [_tile(reach, start + a, start + b, other) for a, b in runs(stop - start, length)]


def runs(size: int, length: int) -> list[Range]:
    """[0, size) in runs of at most ``length``, nearly equal."""
    count = -(-size // length)
    edges = [size * i // count for i in range(count + 1)]
    return list(zip(edges, edges[1:]))


def _tile(reach: Reach, own_start: int, own_stop: int, other: Range | None) -> Tile:
    start, stop = widen(reach, reach.others(own_start, own_stop - 1))
    if other is not None:
        start, stop = max(start, other[0]), min(stop, other[1])
        stop = max(start, stop)
    return Tile(own_start, own_stop, start, stop, start - (own_stop - 1) + reach.before)


def widen(reach: Reach, found: Range) -> Range:
    """The whole axis where nearly all of it is found."""
    start, stop = found
    return (0, reach.size) if stop - start >= NEARLY_ALL * reach.size else found
