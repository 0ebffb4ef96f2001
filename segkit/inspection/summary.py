"""The records of a split added up: numbers without judgement, ready for JSON."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from segkit.datasets.decode import Header

from .config_datasets import Problem
from .examine import Record

Item = TypeVar('Item')


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
    read = []
    for record in records:
        summary.problems += record.problems
        summary.examined += 1
        summary.labelled |= record.label is not None
        summary.counts.update(record.counts)
        summary.images_with.update(record.counts.keys())
        for value in record.counts:
            summary.examples.setdefault(value, record.label or record.image)
        if set(record.counts) == {ignore_index}:
            summary.all_ignored.append(record.label or record.image)
        if record.size is not None and record.look is not None:
            read.append(record)
            summary.sizes[record.size] += 1
            summary.channels.setdefault(len(record.means), record.image)
            summary.looks.append((record.image, record.look))
        if record.header is not None:
            summary.headers.append(record.header)
    if len(summary.channels) == 1:
        pixels = [height * width for height, width in (record.size or (0, 0) for record in read)]
        mean = np.average([record.means for record in read], 0, pixels)
        power = np.average([record.squares for record in read], 0, pixels)
        std = np.sqrt(np.maximum(power - mean**2, 0))
        flip = -1 if len(mean) == 3 else 1  # as read they are BGR; what a config writes is RGB
        summary.mean, summary.std = (x[::flip].round(3).tolist() for x in (mean, std))
    return summary


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """``count`` of the items, evenly spread."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]
