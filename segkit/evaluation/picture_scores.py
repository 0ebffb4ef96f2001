"""A line of scores for each picture, as CSV, and the mean over pictures.

Scores over a whole data set are of sums of pixels, in which a large picture counts more than a
small one. The mean over pictures counts each alike. A picture's mIoU is over the classes that it
has in its label or its prediction; a class in neither has an empty cell.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from itertools import zip_longest

import numpy as np
from mmengine.dist import all_gather_object, get_rank
from torch import Tensor

from segkit.outputs import note
from segkit.shared_text import cell

from .scores import iou_of_counts, nanmean
from .tables import write_table

Picture = tuple[str, Tensor, float]  # name, (3, K) counts, share of its labelled pixels unknown


def write_pictures(
    path: str | os.PathLike, pictures: Sequence[Picture], classes: Sequence[str]
) -> float:
    """Bring the ranks' pictures together and write the file, on the first rank.

    Returns:
        The mean over pictures of their mIoU, in percent and on every rank, nan where no picture has
        a label.
    """
    # Rank r of W has the pictures r, r + W, ... of the data set.
    turns = zip_longest(*all_gather_object(list(pictures)))
    rows = [_row(*picture) for turn in turns for picture in turn if picture is not None]
    if get_rank() == 0:
        write_table(path, _table(classes, rows))
        note(path, 'IoUMetric')
    return nanmean(np.array([row[1] for row in rows])) if rows else math.nan


def _row(name: str, counts: Tensor, unknown: float) -> tuple:
    """Name, mIoU, aAcc, unknown and the IoU of each class, in percent."""
    iou = 100 * iou_of_counts(counts.numpy())
    right, labelled, _ = counts.sum(1).tolist()
    return name, nanmean(iou), 100 * right / labelled if labelled else math.nan, 100 * unknown, iou


def _table(classes: Sequence[str], rows: Sequence[tuple]) -> Iterator[list[str]]:
    """One line a picture, a last line of means over pictures."""
    yield ['picture', 'mIoU', 'aAcc', 'unknown', *map(cell, classes)]
    for name, *numbers, iou in rows:
        yield [cell(name), *map(_cell, [*numbers, *iou])]
    if rows:
        columns = np.array([[*numbers, *iou] for _, *numbers, iou in rows])
        yield ['mean', *(_cell(nanmean(column)) for column in columns.T)]


def _cell(value: float) -> str:
    return f'{value:.4f}' if math.isfinite(value) else ''
