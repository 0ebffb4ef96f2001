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

    Panels are drawn only for an image that is among them when it comes.
    """

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.kept: list[Example] = []  # lowest first

    def offer(self, example: Example, draw: Callable[[], Panels]) -> None:
        """Take the example in if it is among the lowest or highest; NaN scores never are."""
        full = len(self.kept) == 2 * self.keep
        if self.keep < 1 or math.isnan(example.score):
            return
        if full and self.kept[self.keep - 1].score <= example.score <= self.kept[self.keep].score:
            return
        example.panels = draw()
        bisect.insort(self.kept, example, key=_score)
        if full:
            del self.kept[self.keep]

    def merge(self, others: list[Ranking]) -> None:
        """Take in what other ranks kept."""
        for example in (example for other in others for example in other.kept):
            self.offer(example, partial(getattr, example, 'panels'))

    def split(self) -> tuple[list[Example], list[Example]]:
        """(worst, best) without an example in both: worst first, best first."""
        half = len(self.kept) // 2
        return self.kept[:half], self.kept[half:][::-1][: self.keep]
