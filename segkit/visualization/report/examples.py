"""Example pictures of a report: chosen by score while a test runs, kept small."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter

import numpy as np

Panels = dict[str, np.ndarray]
_score = attrgetter('score')


@dataclass
class Example:
    """One picture of the report.

    Args:
        name: of the image, as shown.
        score: mean IoU over the classes in it, in percent.
        accuracy: share of its labelled pixels that are right, in percent.
        size: (H, W).
        present: indices of the classes labelled or predicted in it.
        panels: title -> (h, w, 3) uint8 RGB.
    """

    name: str
    score: float
    accuracy: float
    size: tuple[int, int]
    present: list[int]
    panels: Panels = field(repr=False)


class Ranking:
    """The ``keep`` lowest and the ``keep`` highest examples seen so far.

    Panels are drawn only for an image that makes it into one of the two lists.
    """

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self._low: list[Example] = []
        self._high: list[Example] = []

    def offer(self, example: Example, draw: Callable[[], Panels]) -> None:
        """Take the example in if it is among the lowest or highest; NaN scores never are."""
        if self.keep < 1 or math.isnan(example.score):
            return
        low = len(self._low) < self.keep or example.score < self._low[-1].score
        high = len(self._high) < self.keep or example.score > self._high[0].score
        if not (low or high):
            return
        example.panels = draw()
        if low:
            bisect.insort(self._low, example, key=_score)
            del self._low[self.keep :]
        if high:
            bisect.insort(self._high, example, key=_score)
            del self._high[: -self.keep]

    def merge(self, others: list[Ranking]) -> None:
        """Take in what other ranks kept."""
        for example in (example for other in others for example in other.everything()):
            self.offer(example, partial(getattr, example, 'panels'))

    def everything(self) -> list[Example]:
        """All kept examples once, lowest first."""
        known = {id(example): example for example in self._low + self._high}
        return sorted(known.values(), key=_score)

    def split(self) -> tuple[list[Example], list[Example]]:
        """(worst, best) without an example in both: worst first, best first."""
        known = self.everything()
        half = min(self.keep, len(known) // 2)
        best = known[half:][-self.keep :] if half else known
        return known[:half], best[::-1]
