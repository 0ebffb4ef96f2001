"""IoUMetric: one int64 confusion matrix, summed over images and then over ranks.

mmengine's BaseMetric keeps a result per image and pickles the lists across ranks. Here ``process``
adds to a (K, K) matrix on the device of the predictions and ``evaluate`` sums it over the ranks
by one all_reduce: constant memory, no files, no pickles, and integer sums that do not depend on
the order, so that any number of ranks gives the same last digit.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce, get_rank, get_world_size
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from segkit.errors import EvaluationError
from segkit.models.losses.stray_labels import ignored_apart
from segkit.outputs import is_run, note, picture_png
from segkit.registry import METRICS

from .boundary import boundary_counts
from .confusion import Sample, confusion_matrix, flat_map, known_pixels
from .id_images import IdImageWriter, claim
from .image_counts import (
    Picture,
    confidence_interval,
    counts_of_matrix,
    gather_rows,
    sum_over_ranks,
    write_pictures,
)
from .intersect_and_union import area_scores, areas_of, total_area_to_metrics
from .scalars import publish_class_scores
from .scores import METRIC_GROUPS, Scores, iou_of_counts, nanmean
from .tables import class_table, format_table, write_csv, write_json

_COUNTS = (
    '_matrix', '_last', '_images', '_labelled', '_unknown', '_rows', '_boundary_rows', 'pictures',
)  # fmt: skip


@METRICS.register_module()
class IoUMetric(BaseMetric):
    """mIoU and its relatives over a whole data set; all results are percentages.

    Args:
        iou_metrics: any of 'mIoU' (aAcc, mIoU, mAcc, FWIoU), 'mDice' (aAcc, mDice, mAcc) and
            'mFscore' (aAcc, mFscore, mPrecision, mRecall).
        ignore_index: label of pixels that do not count; may come second.
        nan_to_num: score in [0, 1] to give classes that are in no label and no prediction; None
            leaves them out of the mean.
        beta: weight of recall in the F-score.
        output_dir: folder for predictions as PNG of ids in the data set's own coding.
        format_only: write those files only; needs no labels and returns no scores.
        boundary: also report the mean boundary IoU (``mBIoU``).
        bootstrap: number of resamples of the images for a 95 % interval of mIoU
            (``mIoU_low``, ``mIoU_high``); 0 for none.
        result_file: stem of a .json and a .csv file with everything that was measured.
        picture_file: a .csv file with the scores of each picture; adds their mean over pictures,
            ``mIoU_pictures``, to the results.
        result_info: what to write at the top of the .json file: how the scores came about.
        class_scalars: send per-class IoU and accuracy to the visualizer (TensorBoard).
        collect_device, prefix: as in mmengine; nothing is collected through files.

    After ``evaluate`` the scores of all classes are in ``scores``.

    A subclass may define ``intersect_and_union`` or ``compute_metrics``: ``results`` then holds
    four areas of each class for each image, summed in ``compute_metrics`` (intersect_and_union.py).
    """

    intersect_and_union = staticmethod(areas_of)
    total_area_to_metrics = staticmethod(total_area_to_metrics)

    def __init__(
        self,
        ignore_index: int | Sequence[str] = 255,
        iou_metrics: Sequence[str] | int | None = None,
        nan_to_num: float | None = None,
        beta: float = 1.0,
        collect_device: str = 'cpu',
        output_dir: str | None = None,
        format_only: bool = False,
        prefix: str | None = None,
        *,
        boundary: bool = False,
        bootstrap: int = 0,
        result_file: str | None = None,
        result_info: Mapping[str, object] | None = None,
        class_scalars: bool = True,
        picture_file: str | None = None,
    ) -> None:
        if not isinstance(ignore_index, int):  # the first two in the other order
            given = iou_metrics if isinstance(iou_metrics, int) else 255
            ignore_index, iou_metrics = given, ignore_index
        iou_metrics = (
            ('mIoU',) if iou_metrics is None or isinstance(iou_metrics, int) else iou_metrics
        )
        # A prefix of None is the normal case here; BaseMetric would warn about it on every run.
        super().__init__(collect_device=collect_device, prefix=prefix or 'segkit')
        self.prefix = prefix
        self.iou_metrics = [iou_metrics] if isinstance(iou_metrics, str) else list(iou_metrics)
        self.metrics = self.iou_metrics  # mmsegmentation's name
        self._check_arguments(format_only, output_dir, bootstrap)
        self.ignore_index, self.nan_to_num, self.beta = ignore_index, nan_to_num, beta
        self.output_dir, self.format_only = output_dir, format_only
        self.boundary, self.bootstrap = boundary, bootstrap
        self.result_file, self.class_scalars = result_file, class_scalars
        self.picture_file = picture_file
        self.result_info = dict(result_info or {})
        self.scores: Scores | None = None
        self.image_root: str | None = None  # set by whoever knows the data set
        self._writer: IdImageWriter | None = None
        self._sources: dict[str, str] = {}  # of a writer before this one
        self._reset()

    def _check_arguments(self, format_only: bool, output_dir: str | None, bootstrap: int) -> None:
        unknown = [m for m in self.iou_metrics if m not in METRIC_GROUPS]
        if unknown or not self.iou_metrics:
            raise EvaluationError(
                f'IoUMetric(iou_metrics={self.iou_metrics}): choose from '
                f'{", ".join(METRIC_GROUPS)}.'
            )
        if format_only and not output_dir:
            raise EvaluationError('IoUMetric(format_only=True) writes files only; set output_dir.')
        if not isinstance(bootstrap, int) or bootstrap < 0:
            raise EvaluationError(
                f'IoUMetric(bootstrap={bootstrap!r}): the number of resamples, or 0 for none.'
            )

    def _reset(self) -> None:
        self._matrix: Tensor | None = None
        self._last: Tensor | None = None
        self._images = 0
        self._labelled = self._unknown = 0  # pixels, where the network may say that it is unsure
        self._rows: list[Tensor] = []
        self._boundary_rows: list[Tensor] = []
        self.pictures: list[Picture] = []

    @property
    def classes(self) -> Sequence[str]:
        """Class names of the data set under test."""
        classes = (self.dataset_meta or {}).get('classes')
        if not classes:
            raise EvaluationError(
                "IoUMetric: the data set names no classes. Give it metainfo=dict(classes=('a', "
                "'b', ...), palette=[[r, g, b], ...]), or set dataset_meta on the evaluator."
            )
        return classes

    @property
    def writes(self) -> bool:
        """Whether it writes files, other than results into the folder of a run."""
        files = (self.result_file, self.picture_file)
        return bool(self.output_dir or any(map(self._apart, files)))

    @staticmethod
    def _apart(path: str | None) -> bool:
        """Whether a file is asked for in another folder than that of a run."""
        return bool(path) and not is_run(os.path.dirname(str(path)))

    def planned_files(
        self, images: Sequence[str], root: str | None
    ) -> tuple[str, str | None, list[str]]:
        """The option that says where, the folder of pictures, and the files to be."""
        paths = []
        if self._apart(self.result_file):
            paths = [f'{self.result_file}.json', f'{self.result_file}.csv']
        if self._apart(self.picture_file):
            paths.append(str(self.picture_file))
        if not self.output_dir:
            return f'result_file={self.result_file!r}', None, paths
        folder = str(self.output_dir)
        paths += [os.path.join(folder, picture_png(image, root)) for image in images]
        return f'--out {folder}', folder, paths

    # -- images ---------------------------------------------------------------------------------

    def process(self, data_batch: object, data_samples: Sequence) -> None:
        """Add one batch: dicts or SegDataSamples with (1, H, W) or (H, W) label maps."""
        for sample in data_samples:
            pred = _map_of(sample, 'pred_sem_seg')
            if pred is None:
                raise EvaluationError(
                    f'{_name_of(sample)}: no pred_sem_seg; the model must run in mode="predict".'
                )
            if self.output_dir:
                self._write(self.output_dir, sample, pred)
            if not self.format_only:
                self._count(sample, pred)

    def _count(self, sample: Sample, pred: Tensor) -> None:
        label = _map_of(sample, 'gt_sem_seg')
        if label is None:
            raise EvaluationError(
                f'{_name_of(sample)}: no label to compare with. Test a split that has labels, '
                'or ask for predictions only (IoUMetric(format_only=True, output_dir=...); '
                '--format-only).'
            )
        k = len(self.classes)
        apart = self._images == 0 and ignored_apart(sample, k, self.ignore_index, 'the metric')
        if apart:
            print_log(apart, 'current', logging.WARNING)
        known, unsure = label, 0.0
        if sample.get('unknown_below', None) is not None:
            known = known_pixels(label, pred, self.ignore_index, sample)
            unsure = self._count_unknown(label, known)
        if self._keeps_areas():
            maps = flat_map(pred), flat_map(known)
            self.results.append(self.intersect_and_union(*maps, k, self.ignore_index))
        matrix = confusion_matrix(known, pred, k, self.ignore_index, sample=sample)
        # What was resumed is on the CPU.
        before = None if self._matrix is None else self._matrix.to(matrix.device)
        self._matrix = matrix if before is None else before + matrix
        self._last, self._images = matrix, self._images + 1
        if self.picture_file:
            self.pictures.append((self._short_name(sample), counts_of_matrix(matrix), unsure))
        if self.bootstrap:
            self._rows.append(counts_of_matrix(matrix))
        if self.boundary:
            masks, found = (flat_map(x).cpu().numpy() for x in (known, pred))
            counts = boundary_counts(masks, found, k, self.ignore_index)
            self._boundary_rows.append(torch.from_numpy(counts))

    def _count_unknown(self, label: Tensor, known: Tensor) -> float:
        """Share of the labelled pixels of which the network was unsure."""
        labelled = int((label != self.ignore_index).sum())
        unknown = labelled - int((known != self.ignore_index).sum())
        self._labelled, self._unknown = self._labelled + labelled, self._unknown + unknown
        return unknown / max(labelled, 1)

    def _short_name(self, sample: Sample) -> str:
        """The picture's path below the root of the data set."""
        path, root = _name_of(sample), self.image_root
        return os.path.relpath(path, root) if root and Path(path).is_relative_to(root) else path

    def _write(self, folder: str, sample: Sample, pred: Tensor) -> None:
        if self._writer is None:
            meta = self.dataset_meta or {}
            coding = meta.get('palette'), meta.get('label_ids')
            self._writer = IdImageWriter(folder, self.classes, *coding, self.image_root)
            self._writer.sources.update(self._sources)
        reduce_zero_label = bool(sample.get('reduce_zero_label', False))
        self._writer.write(flat_map(pred).cpu().numpy(), _name_of(sample), reduce_zero_label)

    def progress(self) -> dict[str, object]:
        """What has been counted so far, in values that ``torch.load(weights_only=True)`` reads."""
        state: dict[str, object] = {name: getattr(self, name) for name in _COUNTS}
        state = {k: v.cpu() if isinstance(v, Tensor) else v for k, v in state.items()}
        sources = dict(self._writer.sources if self._writer else self._sources)
        return dict(state, sources=sources, results=list(self.results))

    def go_on_from(self, state: Mapping[str, Any]) -> None:
        """Count on from what ``progress`` gave."""
        for name in _COUNTS:
            setattr(self, name, state[name])
        self._sources = dict(state['sources'])
        self.results[:] = state['results']

    # -- the whole data set -----------------------------------------------------------------------

    def evaluate(self, size: int) -> dict[str, float]:
        """Sum over ranks and score; every rank returns the same results.

        Args:
            size: images in the data set. Where a sampler padded its list to a multiple of the
                ranks, the surplus images are taken out again.
        """
        if self.output_dir and get_world_size() > 1:
            # No rank's predictions may have overwritten another's; each knows its own names only.
            merged: dict[str, str] = {}
            for sources in all_gather_object(self._writer.sources if self._writer else {}):
                for name, img_path in sources.items():
                    claim(merged, name, img_path, self.output_dir)
        if self.format_only:
            print_log(f'Predictions are in {self.output_dir}.', 'current')
            return {}
        areas = self._keeps_areas() or bool(sum_over_ranks(len(self.results)))
        results = self._of_areas(size) if areas else self._of_matrix(size)
        if self.scores is not None:
            table = class_table(self.scores, self.iou_metrics)
            print_log('Per class, in percent:\n' + table, 'current')
        if not areas:
            table = format_table(list(results), [[float(value) for value in results.values()]])
            print_log('Summary, in percent:\n' + table, 'current')
        if self.scores is not None and not areas and get_rank() == 0:
            if self.result_file:
                info = dict(self.result_info, images=size)
                write_json(f'{self.result_file}.json', self.scores, **info)
                write_csv(f'{self.result_file}.csv', self.scores)
                for kind in ('json', 'csv'):
                    note(f'{self.result_file}.{kind}', 'IoUMetric')
            if self.class_scalars:
                publish_class_scores(self.scores)
        prefix = f'{self.prefix}/' if self.prefix else ''
        return {prefix + name: value for name, value in results.items()}

    def _of_matrix(self, size: int) -> dict[str, float]:
        matrix = self._without_padding(size)
        all_reduce(matrix)
        counted = matrix.cpu().numpy(), self.classes, self.beta, self.nan_to_num
        scores = Scores(*counted, self._extras())
        self.results.clear()
        self._reset()
        self.scores = scores
        return self.compute_metrics([])

    def _keeps_areas(self) -> bool:
        """Whether a step of it was replaced that asks for the areas of each image."""
        steps = ('intersect_and_union', 'total_area_to_metrics', 'compute_metrics')
        own, ours = type(self), IoUMetric
        return any(
            name in vars(self) or getattr(own, name) is not getattr(ours, name) for name in steps
        )

    def _of_areas(self, size: int) -> dict[str, float]:
        """Every rank computes from the areas of all images, in the order of the data set."""
        parts = all_gather_object(self.results)
        rows = [row for group in zip_longest(*parts) for row in group if row is not None][:size]
        self.results.clear()
        extras = {}
        if self.boundary or self.bootstrap:
            self._without_padding(size)
            extras = self._extras()
        self._reset()
        self.scores = None
        return {**self.compute_metrics(rows), **extras}

    def _without_padding(self, size: int) -> Tensor:
        """This rank's matrix without the image that mmengine's DefaultSampler appends to the last
        ranks' lists; what else is counted for each image is cut, too.

        It repeats images until every rank has as many; position i goes to rank i % ranks, so the
        repeated ones are the last image of the last (total - size) ranks.
        """
        k, ranks, total = len(self.classes), get_world_size(), sum_over_ranks(self._images)
        matrix = self._matrix if self._matrix is not None else torch.zeros(k, k, dtype=torch.int64)
        surplus = total - size
        if total == 0 or surplus < 0:
            print_log(f'{total} of {size} images were scored.', 'current', level=logging.WARNING)
        if not 0 < surplus < ranks or self._last is None or get_rank() < ranks - surplus:
            return matrix.clone()
        for rows in (self._rows, self._boundary_rows, self.pictures):
            del rows[-1:]
        return matrix - self._last

    def _extras(self) -> dict[str, float]:
        extra, k = {}, len(self.classes)
        if self.picture_file:
            mean = write_pictures(self.picture_file, self.pictures, self.classes)
            extra['mIoU_pictures'] = mean
        labelled = sum_over_ranks(self._labelled)
        if labelled:
            extra['unknown'] = 100 * sum_over_ranks(self._unknown) / labelled
        if self.boundary:
            none = torch.zeros(3, k, dtype=torch.int64)
            counts = torch.stack([none, *self._boundary_rows]).sum(0)
            all_reduce(counts)
            extra['mBIoU'] = 100 * nanmean(iou_of_counts(counts.numpy()))
        if self.bootstrap:
            images = gather_rows(self._rows, (3, k)).numpy()
            if len(images) < 2:
                note = f'{len(images)} image(s): an interval of mIoU over images needs at least 2.'
                print_log(note, 'current', level=logging.WARNING)
                return extra
            low, high = confidence_interval(images, resamples=self.bootstrap)
            extra.update(mIoU_low=100 * low, mIoU_high=100 * high)
        return extra

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Headline results: of ``results``, areas of each image, or if it is empty of the scores
        made by ``evaluate``."""
        if results:
            totals: Any = [
                torch.stack([torch.as_tensor(a) for a in area]).sum(0) for area in zip(*results)
            ]
            self.scores = area_scores(results, self.classes, self.beta, self.nan_to_num)
            options: Any = (self.iou_metrics, self.nan_to_num, self.beta)
            found = self.total_area_to_metrics(*totals, *options)
            percent = {name: 100 * nanmean(np.asarray(value)) for name, value in found.items()}
            named = {n if n == 'aAcc' else f'm{n}': value for n, value in percent.items()}
            return {**self.scores.summary(self.iou_metrics), **named}
        if self.scores is None:
            raise EvaluationError('IoUMetric: there are no scores yet; call evaluate(size) first.')
        return self.scores.summary(self.iou_metrics)


def _map_of(sample: object, field: str) -> Tensor | None:
    """The label map of a sample that is a dict or a SegDataSample; None where it has none."""
    value = sample.get(field) if hasattr(sample, 'get') else getattr(sample, field, None)
    if value is None:
        return None
    return value['data'] if isinstance(value, dict) else value.data


def _name_of(sample: Sample) -> str:
    return str(sample.get('img_path', None) or 'an image without img_path')
