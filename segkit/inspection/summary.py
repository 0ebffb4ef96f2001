"""The records of a split added up: numbers without judgement, ready for JSON."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from segkit.datasets.picture_headers import Header

from .examine import Record
from .leaves import Problem


@dataclass
class Summary:
    """What a split holds.

    counts, images_with: class index (or other label value) -> pixels, and -> images that show it.
    mean, std: per channel in RGB order over all pixels; None without a readable image.
    sizes: (height, width) -> images. examples: label value -> a file that holds it.
    ignore_index: label of the pixels that do not count.
    channels: of the pictures as loaded -> one that has so many. headers, looks: of each picture.
    """

    name: str
    images: int = 0
    examined: int = 0
    mean: list[float] | None = None
    std: list[float] | None = None
    sizes: Counter = field(default_factory=Counter)
    counts: Counter = field(default_factory=Counter)
    images_with: Counter = field(default_factory=Counter)
    examples: dict[int, str] = field(default_factory=dict)
    all_ignored: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    labelled: bool = False
    ignore_index: int = 255
    channels: dict[int, str] = field(default_factory=dict)
    headers: list[Header] = field(default_factory=list)
    looks: list[tuple[str, np.ndarray]] = field(default_factory=list)

    @property
    def ignored_share(self) -> float:
        """Share of labelled-or-ignored pixels that are ignored, in [0, 1]."""
        total = sum(self.counts.values())
        return self.counts[self.ignore_index] / total if total else 0.0

    def values_outside(self, num_classes: int) -> list[int]:
        """Label values that are neither a class nor ignored, sorted."""
        return sorted(v for v in self.counts if v != self.ignore_index and not 0 <= v < num_classes)

    def share(self, index: int) -> float:
        """Share of a class among the pixels that are not ignored."""
        total = sum(n for value, n in self.counts.items() if value != self.ignore_index)
        return self.counts[index] / total if total else 0.0


def add_up(
    name: str,
    images: int,
    records: Iterable[Record],
    problems: list[Problem],
    ignore_index: int = 255,
) -> Summary:
    """Sum the records of a split; ``problems`` are those found before any file was read."""
    summary = Summary(name, images, problems=list(problems), ignore_index=ignore_index)
    weights, means, squares = [], [], []
    for record in records:
        summary.problems += record.problems
        summary.examined += 1
        summary.labelled |= record.label is not None
        _add_label(summary, record)
        if record.size is not None:
            summary.sizes[record.size] += 1
            weights.append(record.size[0] * record.size[1])
            means.append(record.means)
            summary.channels.setdefault(len(record.means), record.image)
        if record.header is not None:
            summary.headers.append(record.header)
        if record.look is not None:
            summary.looks.append((record.image, record.look))
            squares.append(record.squares)
    # Channels as read are BGR; what a config writes is RGB.
    summary.mean, summary.std = _moments(weights, means, squares)
    return summary


def _add_label(summary: Summary, record: Record) -> None:
    summary.counts.update(record.counts)
    summary.images_with.update(record.counts.keys())
    for value in record.counts:
        summary.examples.setdefault(value, record.label or record.image)
    if set(record.counts) == {summary.ignore_index}:
        summary.all_ignored.append(record.label or record.image)


def _moments(weights: list, means: list, squares: list) -> tuple:
    if not weights or len({len(row) for row in means}) != 1:
        return None, None
    total = sum(weights)
    mean = [sum(w * v for w, v in zip(weights, column)) / total for column in zip(*means)]
    power = [sum(w * v for w, v in zip(weights, column)) / total for column in zip(*squares)]
    std = [math.sqrt(max(p - m * m, 0.0)) for p, m in zip(power, mean)]
    flip = -1 if len(mean) == 3 else 1
    return [round(m, 3) for m in mean[::flip]], [round(s, 3) for s in std[::flip]]
