"""A line of scores for each picture, as CSV, and the mean over pictures.

Scores over a whole data set are of sums of pixels, in which a large picture counts more than a
small one. The mean over pictures counts each alike. A picture's mIoU is over the classes that it
has in its label or its prediction; a class in neither has an empty cell.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank
from torch import Tensor

from segkit.outputs import note
from segkit.shared_text import cell
from segkit.whole_file import write_text

from .image_counts import counts_of_matrix
from .scores import iou_of_counts, nanmean

WRITER = 'IoUMetric'
Line = tuple[str, np.ndarray, float]


class PictureScores:
    """Counts of every picture; ``save`` brings the ranks together and writes the table.

    Args:
        path: of the CSV file.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = path
        self._lines: list[Line] = []

    def add(self, name: str, matrix: Tensor, unknown: float = 0.0) -> None:
        """A picture's (K, K) matrix; ``unknown``: share of its labelled pixels without a class."""
        self._lines.append((name, counts_of_matrix(matrix).numpy(), unknown))

    def lines(self) -> list[tuple[str, Tensor, float]]:
        """What has been added, with tensors."""
        return [(name, torch.from_numpy(counts), unknown) for name, counts, unknown in self._lines]

    def add_lines(self, lines: Sequence[tuple[str, Tensor, float]]) -> None:
        """What ``lines`` gave."""
        self._lines += [(name, counts.numpy(), unknown) for name, counts, unknown in lines]

    def drop_last(self) -> None:
        """Take out a picture that a sampler repeated."""
        del self._lines[-1:]

    def save(self, classes: Sequence[str]) -> float:
        """Write the file, on the first rank; gives the mean over pictures of their mIoU, in percent
        and on every rank, nan where no picture has a label."""
        ranks = all_gather_object(self._lines)
        # Rank r of W has the pictures r, r + W, ... of the data set.
        longest = max(map(len, ranks))
        lines = [part[i] for i in range(longest) for part in ranks if i < len(part)]
        rows = [_row(line) for line in lines]
        if get_rank() == 0:
            write_text(self.path, _table(classes, rows))
            note(self.path, WRITER)
        return nanmean(np.array([row[1] for row in rows])) if rows else math.nan


def _row(line: Line) -> tuple[str, float, float, float, np.ndarray]:
    """Name, mIoU, aAcc, unknown and the IoU of each class, in percent."""
    name, counts, unknown = line
    iou = 100 * iou_of_counts(counts)
    labelled = counts[1].sum()
    accuracy = 100 * counts[0].sum() / labelled if labelled else math.nan
    return name, nanmean(iou), float(accuracy), 100 * unknown, iou


def _table(classes: Sequence[str], rows: Sequence[tuple]) -> str:
    """One line a picture, a last line of means over pictures."""
    text = io.StringIO()
    write = csv.writer(text, lineterminator='\n').writerow
    write(['picture', 'mIoU', 'aAcc', 'unknown', *map(cell, classes)])
    for name, *numbers, iou in rows:
        write([cell(name), *map(_cell, numbers), *map(_cell, iou)])
    if rows:
        columns = np.array([[*numbers, *iou] for _, *numbers, iou in rows])
        write(['mean', *(_cell(nanmean(column)) for column in columns.T)])
    return text.getvalue()


def _cell(value: float) -> str:
    return f'{value:.4f}' if math.isfinite(value) else ''
