"""ReportBuilder: collects what a report needs while a test runs, in memory that does not grow.

One confusion matrix, three numbers a class and image, and the best and worst examples.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce, get_rank
from torch import Tensor

from segkit.evaluation.confusion import confusion_matrix
from segkit.evaluation.image_counts import counts_of_matrix, gather_rows
from segkit.evaluation.scalars import read_curves, scalar_files
from segkit.evaluation.scores import Scores, iou_of_counts, nanmean
from segkit.shared_text import shareable, shareable_text
from segkit.whole_file import write_text

from .sections import Example, Panels, Ranking, Report, report_page


class ReportBuilder:
    """Add every image, then write one page.

    Args:
        classes: K names.
        palette: K colours (R, G, B).
        ignore_index: label of pixels that do not count.
        keep: pictures to show of the best and of the worst images each.
    """

    def __init__(
        self,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]],
        ignore_index: int = 255,
        keep: int = 6,
    ) -> None:
        self.classes, self.palette, self.ignore_index = tuple(classes), palette, ignore_index
        self._matrix = torch.zeros(len(classes), len(classes), dtype=torch.int64)
        self._rows: list[Tensor] = []
        self._sizes: list[Tensor] = []
        self._names: list[tuple[str, float]] = []
        self._ranking = Ranking(keep)
        self._keep, self._unlabelled = keep, list[Example]()

    def add(self, name: str, label: Tensor, pred: Tensor, draw: Callable[[], Panels]) -> None:
        """Count one image.

        Args:
            name: of the image.
            label, pred: (H, W) or (1, H, W) integer maps.
            draw: returns title -> (h, w, 3) uint8 RGB; called only for images that are shown.
        """
        matrix = confusion_matrix(label, pred, len(self.classes), self.ignore_index, name).cpu()
        counts = counts_of_matrix(matrix)
        size = (label.shape[-2], label.shape[-1])
        self._matrix += matrix
        self._rows.append(counts)
        self._sizes.append(torch.tensor(size))
        scores = Scores(matrix.numpy(), self.classes)
        present = np.flatnonzero(counts.sum(0)).tolist()
        name = shareable_text(name)
        self._names.append((name, 100 * scores.overall))
        example = Example(name, 100 * nanmean(scores.iou), 100 * scores.overall, size, present, {})
        self._ranking.offer(example, draw)

    def add_unlabelled(self, name: str, pred: Tensor, draw: Callable[[], Panels]) -> None:
        """An image without labels: the first few are shown. Arguments as of ``add``."""
        if len(self._unlabelled) < self._keep:
            size, nan = (pred.shape[-2], pred.shape[-1]), float('nan')
            present = [c for c in torch.unique(pred).tolist() if c < len(self.classes)]
            name = shareable_text(name)
            self._unlabelled.append(Example(name, nan, nan, size, present, draw()))

    def write(
        self,
        path: str | os.PathLike,
        title: str,
        work_dir: str | os.PathLike | None = None,
        metrics: dict | None = None,
        environment: dict | None = None,
        **about: object,
    ) -> None:
        """Bring the ranks together and write the page, on the first of them.

        Args:
            path: of the .html file; its folder is made.
            title: heading of the page.
            work_dir: folder of the training run, for the curves.
            metrics: headline results in percent; default all that follow from the matrix.
            environment: name -> value; that of the host is left out.
            about: ``config``, ``timings`` and ``facts`` of a ``Report``.
        """
        all_reduce(self._matrix)
        rows = gather_rows(self._rows, (3, len(self.classes))).numpy()
        sizes = gather_rows(self._sizes, (2,)).numpy()
        names = [entry for rank in all_gather_object(self._names) for entry in rank]
        self._ranking.merge(all_gather_object(self._ranking)[1:])
        unlabelled = [e for rank in all_gather_object(self._unlabelled) for e in rank]
        if get_rank() != 0:
            return
        scores = Scores(self._matrix.numpy(), self.classes)
        per_image = 100 * np.array([nanmean(iou) for iou in iou_of_counts(rows)])
        report = Report(
            title=shareable_text(title),
            scores=scores,
            palette=self.palette,
            metrics=metrics or scores.summary(['mIoU', 'mDice']),
            pictures=[(*entry, score) for entry, score in zip(names, per_image.tolist())],
            image_scores=per_image[~np.isnan(per_image)],
            images_with_class=(rows[:, 1] > 0).sum(0),
            sizes=sizes,
            examples=self._ranking.split(),
            unlabelled=unlabelled[: self._keep],
            curves=read_curves(scalar_files(work_dir)) if work_dir else {},
            environment=shareable({k: v for k, v in (environment or {}).items() if k != 'host'}),
            **shareable(about),
        )
        write_text(path, report_page(report))
