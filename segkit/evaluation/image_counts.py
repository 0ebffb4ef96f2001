"""Per-image counts, kept only where someone asks for statistics over images.

Three numbers a class and image (intersection, label, prediction) are all that IoU needs: 2,000
images of 150 classes take 7 MB, where their confusion matrices would take 360 MB.

A bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13, percentile
interval) tells from them how much of a difference the choice of test images makes: draw as many
images as there are, with replacement, and take mIoU of the summed counts; do that often and read
the percentiles.

Shapes: N images, K classes, R resamples. counts (N, 3, K) int64 -> mIoU (R,).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.dist import all_gather, all_reduce
from torch import Tensor

from .scores import iou_of_counts, nanmean


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
