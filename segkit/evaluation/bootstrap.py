"""Bootstrap confidence interval of mIoU over images.

Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13, percentile interval:
draw as many images as there are, with replacement, and take mIoU of the summed counts; do that
often and read the percentiles. It tells how much of a difference the choice of test images makes.

Shapes: N images, K classes, R resamples. counts (N, 3, K) int64 -> mIoU (R,).
"""

from __future__ import annotations

import numpy as np

from .scores import iou_of_counts, nanmean


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
