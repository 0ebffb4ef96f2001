"""Which offsets a mask holds: the geometry shared by the mask op and the attention.

PSANet (Zhao et al., ECCV 2018, section 3.2) predicts, at every pixel, one logit for each offset
of an Mh x Mw window around it. Names used throughout:

    own    i = (k, l): the pixel whose feature predicts the window
    other  j = (s, t): the pixel the prediction is about
    offset of the pair, as an index into the window: (s - k + half_h, t - l + half_w),
           half = (M - 1) // 2; an even window reaches one further down and right

One axis is described by a ``Reach``: ``before`` and ``after`` are the largest steps from own to
other that the window holds and the map allows; the window's rows ``start .. start + span`` are
the only ones ever used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

PSA_TYPES = ('collect', 'distribute')


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
        """First row of the window that is used."""
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

    def owners(self, first: int, last: int) -> tuple[int, int]:
        """Half-open range of owns that reach any other in first .. last (inclusive)."""
        return max(0, first - self.after), min(self.size, last + self.before + 1)


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
