"""Per-image counts, kept only where someone asks for statistics over images, or scores of each.

Three numbers a class and image (intersection, label, prediction) are all that IoU needs: 2,000
images of 150 classes take 7 MB, where their confusion matrices would take 360 MB.

A bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13, percentile
interval) tells from them how much of a difference the choice of test images makes: draw as many
images as there are, with replacement, and take mIoU of the summed counts; do that often and read
the percentiles.

Scores over a whole data set are of sums of pixels, in which a large picture counts more than a
small one. The mean over pictures counts each alike. A picture's mIoU is over the classes that it
has in its label or its prediction; a class in neither has an empty cell in the table of pictures.

Shapes: N images, K classes, R resamples. counts (N, 3, K) int64 -> mIoU (R,).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from itertools import zip_longest

import numpy as np
import torch
from mmengine.dist import all_gather, all_gather_object, all_reduce, get_rank
from torch import Tensor

from segkit.outputs import note
from segkit.shared_text import cell

from .scores import iou_of_counts, nanmean
from .tables import write_table

Picture = tuple[str, Tensor, float]  # name, (3, K) counts, share of its labelled pixels unknown


def counts_of_matrix(matrix: Tensor) -> Tensor:
    """(K, K) matrix -> (3, K) int64 on the CPU: intersection, label, prediction."""
    return torch.stack([matrix.diagonal(), matrix.sum(1), matrix.sum(0)]).cpu()


def gather_rows(rows: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    """Stack the rows of all ranks: (N, *shape) int64, the same on every rank.

    Collectives want equal shapes, so each rank pads to the longest and the padding is cut after.
    """
    own = torch.stack(list(rows)) if rows else torch.zeros(0, *shape, dtype=torch.int64)
    length = torch.tensor([len(own)])
    lengths = [int(n) for n in all_gather(length)]
    padded = own.new_zeros(max(lengths), *shape)
    padded[: len(own)] = own
    return torch.cat([part[:n].cpu() for part, n in zip(all_gather(padded), lengths)])


def sum_over_ranks(value: int) -> int:
    """An integer summed over all ranks."""
    total = torch.tensor([value])
    all_reduce(total)
    return int(total)


def bootstrap_miou(counts: np.ndarray, resamples: int = 1000, seed: int = 0) -> np.ndarray:
    """(R,) values of mIoU in [0, 1], one a resample.

    The images are put in a canonical order first, so the result does not depend on the order
    in which ranks saw them.
    """
    n = len(counts)
    rows = counts.reshape(n, -1)
    rows = rows[np.lexsort(rows.T[::-1])].astype(np.float64)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
    sums = (drawn @ rows).reshape(resamples, *counts.shape[1:])
    return np.array([nanmean(iou) for iou in iou_of_counts(sums)])


def confidence_interval(
    counts: np.ndarray, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval (low, high) of mIoU, in [0, 1]."""
    values = bootstrap_miou(counts, resamples, seed)
    if np.isnan(values).all():  # no labelled pixel at all; nanquantile would warn
        return float('nan'), float('nan')
    tail = (1 - level) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)


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
