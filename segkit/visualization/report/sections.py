"""What a report says: the numbers and charts of each section, which ``report.html`` sets out."""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from pathlib import Path

import numpy as np

from segkit.evaluation.scalars import Curves
from segkit.evaluation.scores import Scores, row_shares, worst_confusions

from .. import charts
from ..overlays import IGNORED
from ..web_page import data_uri, fill

_SCORE_CURVES = ('mIoU', 'mAcc', 'aAcc', 'mDice', 'mFscore')
_PHOTOGRAPHS = ('image', 'errors')
# Recall is Acc, and the F-score with beta 1 is Dice: each is shown once.
_COLUMNS = ('IoU', 'Acc', 'Precision', 'Dice')
_SIZES = 8
_LISTED = 1000  # pictures of the table, the worst first; all are in the CSV of --per-picture
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


@dataclass
class Report:
    """Everything a page shows; see ``ReportBuilder`` for how it is collected.

    Args:
        title: heading.
        scores: of the whole test.
        palette: K colours (R, G, B).
        metrics: headline results in percent.
        image_scores: (N,) mIoU of each image in percent.
        pictures: name, share of right pixels and mIoU of each image, in percent.
        images_with_class: (K,) images whose labels hold the class.
        sizes: (N, 2) height and width of each image.
        examples: (worst, best) pictures.
        unlabelled: pictures of images without labels.
        curves: scalars of the training run.
        config: full text of the configuration.
        environment, timings, facts: name -> value; ``facts`` stand under the title.
    """

    title: str
    scores: Scores
    palette: Sequence[Sequence[int]]
    metrics: dict[str, float]
    image_scores: np.ndarray
    images_with_class: np.ndarray
    sizes: np.ndarray
    examples: tuple[list[Example], list[Example]] = ([], [])
    pictures: list[tuple[str, float, float]] = field(default_factory=list)
    unlabelled: list[Example] = field(default_factory=list)
    curves: Curves = field(default_factory=dict)
    config: str = ''
    environment: dict = field(default_factory=dict)
    timings: dict = field(default_factory=dict)
    facts: dict = field(default_factory=dict)


def report_page(report: Report) -> str:
    """The page as text."""
    known = {name: value for name, value in report.metrics.items() if not math.isnan(value)}
    worst, best = ([_example(report, e) for e in some] for some in report.examples)
    contents = dict(
        training=_training(report.curves),
        worst=worst,
        best=best,
        pictures=[_example(report, example) for example in report.unlabelled],
        tables=[
            (heading, entries)
            for heading, entries in (
                ('Timings', report.timings),
                ('Environment', report.environment),
            )
            if entries
        ],
    )
    if report.scores.matrix.any():
        contents |= _of_labels(report)
    return fill(
        Path(__file__).with_name('report.html'),
        report=report,
        metrics=sorted(known.items(), key=lambda item: 'mIoU' not in item[0]),
        ignored=IGNORED,
        **contents,
    )


def _training(curves: Curves) -> list[tuple[str, str]]:
    """(heading, chart) of loss, scores and learning rate over the iterations of training."""
    losses = {k: v for k, v in curves.items() if k == 'loss' or k.split('.')[-1].startswith('loss')}
    scores = {k: curves[k] for k in _SCORE_CURVES if k in curves}
    if not losses and not scores:
        return []
    accuracy = {k: v for k, v in curves.items() if k.endswith('acc_seg')}
    rate = {'lr': curves['lr']} if 'lr' in curves else {}
    return [
        (heading, charts.svg(charts.curves({unit: lines}, smoothed=smoothed), heading))
        for heading, unit, lines, smoothed in (
            ('Loss', 'loss', losses, True),
            ('Validation scores', 'percent', scores, False),
            ('Learning rate', 'learning rate', rate, False),
            ('Training accuracy', 'percent', accuracy, True),
        )
        if lines
    ]


def _of_labels(report: Report) -> dict[str, object]:
    """What follows from labels: classes, confusion, statistics and the sentence about them."""
    scores, names = report.scores, [str(name) for name in report.scores.classes]
    iou = scores.iou
    known = [i for i in np.argsort(np.nan_to_num(iou, nan=2)) if not math.isnan(iou[i])]
    ends = known[-1], known[0]
    share = 100 * scores.label_area / scores.matrix.sum()
    per_class = scores.per_class()
    columns = [per_class[name] for name in _COLUMNS]
    rows = zip(names, report.palette, zip(*columns), share, report.images_with_class.tolist())
    seen = np.flatnonzero(scores.matrix.sum(0) + scores.matrix.sum(1))
    shares = row_shares(scores.matrix[np.ix_(seen, seen)])
    sizes = Counter(map(tuple, report.sizes.tolist()))
    often = sorted(sizes.items(), key=lambda entry: (-entry[1], entry[0]))
    labels = '% of labelled pixels', 'IoU in %'
    dots = charts.scatter(names, share, 100 * scores.iou, report.palette, labels)
    bars = charts.histogram(report.image_scores, 'mIoU of an image in %')
    matrix = charts.confusion(shares, [names[i] for i in seen])
    return dict(
        columns=_COLUMNS,
        classes=list(rows),
        labelled=int((scores.label_area > 0).sum()),
        ends=[(names[i], int((iou == iou[i]).sum()) - 1, 100 * iou[i]) for i in ends],
        matrix=charts.svg(matrix, 'confusion matrix'),
        seen=len(seen),
        mixed=worst_confusions(scores.matrix, names),
        statistics=[
            ('Images by score', charts.svg(bars, 'images by score')),
            ('Frequent classes and rare ones', charts.svg(dots, ' and '.join(labels))),
        ],
        listed=sorted(report.pictures, key=lambda entry: (math.isnan(entry[2]), entry[2]))[
            :_LISTED
        ],
        over_pictures=float(report.image_scores.mean()) if len(report.image_scores) else math.nan,
        sizes=[(w, h, n, 100 * n / len(report.sizes)) for (h, w), n in often[:_SIZES]],
        other_sizes=len(sizes) - _SIZES,
    )


def _example(report: Report, example: Example) -> dict[str, object]:
    return dict(
        example=example,
        panels=[
            (title, data_uri(panel, title in _PHOTOGRAPHS))
            for title, panel in example.panels.items()
        ],
        legend=[(report.palette[i], str(report.scores.classes[i])) for i in example.present],
    )
