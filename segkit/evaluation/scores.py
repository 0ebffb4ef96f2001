"""From a confusion matrix to scores.

Per class, with I correctly labelled pixels, L labelled and P predicted ones:

    IoU = I / (L + P - I)        Acc = Recall = I / L        Precision = I / P
    Dice = 2 I / (L + P)         F_beta = (1 + beta^2) I / (beta^2 L + P)

A class that is neither labelled nor predicted has no score (nan) and is left out of every mean;
one that is only predicted has IoU, Dice and F equal to 0. F is written with counts, not with
precision and recall: a class that was missed altogether then counts 0, where
2 p r / (p + r) is 0 / 0 and the class would drop out of the mean.

Everything is float64 of int64 counts; percentages are made in ``summary`` only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

# Scores of each class: headings of a table, and in small letters attributes of Scores.
COLUMNS = ('IoU', 'Acc', 'Dice', 'Fscore', 'Precision', 'Recall')
# What each name in ``iou_metrics`` reports of them; the mean over classes has an m before its name.
METRIC_GROUPS = {
    'mIoU': ('IoU', 'Acc'),
    'mDice': ('Dice', 'Acc'),
    'mFscore': ('Fscore', 'Precision', 'Recall'),
}


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Elementwise quotient in float64; 0 / 0 is nan, without a warning."""
    with np.errstate(divide='ignore', invalid='ignore'):
        return np.asarray(numerator, np.float64) / np.asarray(denominator, np.float64)


def iou_of_counts(counts: np.ndarray) -> np.ndarray:
    """IoU of (..., 3, K) counts holding (I, L, P); nan where a class is absent."""
    intersect, label, pred = np.moveaxis(np.asarray(counts), -2, 0)
    return divide(intersect, label + pred - intersect)


@dataclass
class Scores:
    """Scores of a (K, K) int64 matrix, rows labels and columns predictions.

    Args:
        matrix: the counts.
        classes: K names.
        beta: weight of recall in the F-score.
        nan_to_num: value in [0, 1] that stands for the score of an absent class and then counts
            in the mean; None leaves absent classes out.
        extra: further results by name, each a percentage (boundary IoU, confidence limits).
        areas: I, L and P of each class, (3, K), where there is no matrix.
    """

    matrix: np.ndarray
    classes: Sequence[str]
    beta: float = 1.0
    nan_to_num: float | None = None
    extra: dict = field(default_factory=dict)
    areas: Sequence[np.ndarray] | None = None

    def __post_init__(self) -> None:
        matrix = self.matrix
        counts: Sequence[np.ndarray] = self.areas or (
            np.diagonal(matrix),
            matrix.sum(1),
            matrix.sum(0),
        )
        self.intersect, self.label_area, self.pred_area = counts
        weight = self.beta**2
        union = self.label_area + self.pred_area - self.intersect
        weighted = weight * self.label_area + self.pred_area
        # (K,) each, in [0, 1] or nan.
        self.iou = self._share(self.intersect, union)
        self.acc = self.recall = self._share(self.intersect, self.label_area)
        self.precision = self._share(self.intersect, self.pred_area)
        self.dice = self._share(2 * self.intersect, self.label_area + self.pred_area)
        self.fscore = self._share((1 + weight) * self.intersect, weighted)

    def _share(self, part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        values = divide(part, whole)
        return values if self.nan_to_num is None else np.nan_to_num(values, nan=self.nan_to_num)

    @cached_property
    def overall(self) -> float:
        """Share of labelled pixels that are right, in [0, 1]."""
        return float(divide(self.intersect.sum(), self.label_area.sum()))

    @cached_property
    def frequency_weighted(self) -> float:
        """IoU averaged with the share of labelled pixels as weight, in [0, 1]."""
        share = divide(self.label_area, self.label_area.sum())
        present = self.label_area > 0
        return float((share[present] * self.iou[present]).sum()) if present.any() else float('nan')

    def summary(self, iou_metrics: Sequence[str] = tuple(METRIC_GROUPS)) -> dict[str, float]:
        """Result name -> percentage, in full precision, in the order they are printed."""
        results = {'aAcc': 100 * self.overall}
        for metric in iou_metrics:
            for name in METRIC_GROUPS[metric]:
                results[f'm{name}'] = 100 * nanmean(getattr(self, name.lower()))
            if metric == 'mIoU':
                results['FWIoU'] = 100 * self.frequency_weighted
        return {**results, **self.extra}

    def per_class(self, headings: Iterable[str] = COLUMNS) -> dict[str, np.ndarray]:
        """Heading -> (K,) scores in percent."""
        return {heading: 100 * getattr(self, heading.lower()) for heading in headings}


def nanmean(values: np.ndarray) -> float:
    """Mean of the entries that are not nan; nan, silently, where there is none."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float('nan')


def row_shares(matrix: np.ndarray) -> np.ndarray:
    """(K, K) counts -> percent of each row; rows without labels are nan."""
    return 100 * divide(matrix, matrix.sum(1, keepdims=True))


def worst_confusions(matrix: np.ndarray, classes: Sequence[str], count: int = 10) -> list[tuple]:
    """(label, prediction, percent of the label's pixels, pixels), most pixels first."""
    off = matrix.copy()
    np.fill_diagonal(off, 0)
    shares = row_shares(matrix)
    order = np.argsort(off, axis=None, kind='stable')[::-1][:count]
    cells = zip(*np.unravel_index(order, off.shape))
    return [
        (classes[i], classes[j], float(shares[i, j]), int(off[i, j]))
        for i, j in cells
        if off[i, j] > 0
    ]
