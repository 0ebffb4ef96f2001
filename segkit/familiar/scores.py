"""Scores as functions of predictions and labels, as before 1.0.

Maps are (H, W) integers: arrays, tensors, or the path of a ``.npy`` (a prediction) or a picture (a
label). Results are shares of 1: 'aAcc', and (K,) arrays 'IoU', 'Acc', ....
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segkit.datasets.label_maps import label_table
from segkit.evaluation.intersect_and_union import Areas, areas_of, total_area_to_metrics

__all__ = [
    'eval_metrics', 'f_score', 'intersect_and_union', 'mean_dice', 'mean_fscore', 'mean_iou',
    'pre_eval_to_metrics', 'total_area_to_metrics', 'total_intersect_and_union',
]  # fmt: skip

Found = dict[str, object]  # name of a score -> a number, or one a class


def _map_of(given: object) -> Tensor:
    if isinstance(given, str):
        if given.endswith('.npy'):
            given = np.load(given, allow_pickle=False)
        else:
            import mmcv

            given = mmcv.imread(given, flag='unchanged', backend='pillow')
    found = torch.as_tensor(np.ascontiguousarray(given) if isinstance(given, np.ndarray) else given)
    return found.long() if found.is_floating_point() else found


def intersect_and_union(
    pred_label: object,
    label: object,
    num_classes: int,
    ignore_index: int = 255,
    label_map: Mapping[int, int] | None = None,
    reduce_zero_label: bool = False,
) -> Areas:
    """(K,) pixels of each class that are right, in the union, predicted, labelled.

    Args:
        label_map, reduce_zero_label: what a data set does to its labels (first the zero).
    """
    label = _map_of(label)
    table = label_table(reduce_zero_label, label_map, 65536)
    if table is not None:
        label = torch.from_numpy(table.astype(np.int64))[label.long()]
    return areas_of(_map_of(pred_label), label, num_classes, ignore_index)


def total_intersect_and_union(
    results: Iterable,
    gt_seg_maps: Iterable,
    num_classes: int,
    ignore_index: int = 255,
    label_map: Mapping[int, int] | None = None,
    reduce_zero_label: bool = False,
) -> Areas:
    """The areas of all pairs, summed."""
    options = (num_classes, ignore_index, label_map, reduce_zero_label)
    pairs = zip(results, gt_seg_maps, strict=True)
    return _summed(intersect_and_union(p, t, *options) for p, t in pairs)


def _summed(rows: Iterable[Sequence]) -> Areas:
    columns = zip(*rows)
    right, union, pred, label = (
        torch.stack([torch.as_tensor(area).double() for area in column]).sum(0)
        for column in columns
    )
    return right, union, pred, label


def eval_metrics(
    results: Iterable,
    gt_seg_maps: Iterable,
    num_classes: int,
    ignore_index: int = 255,
    metrics: str | Sequence[str] = ('mIoU',),
    nan_to_num: float | None = None,
    label_map: Mapping[int, int] | None = None,
    reduce_zero_label: bool = False,
    beta: float = 1,
) -> Found:
    """Scores of predictions against labels."""
    options = (num_classes, ignore_index, label_map, reduce_zero_label)
    total = total_intersect_and_union(results, gt_seg_maps, *options)
    return total_area_to_metrics(*total, metrics, nan_to_num, beta)


def pre_eval_to_metrics(
    pre_eval_results: Iterable[Sequence],
    metrics: str | Sequence[str] = ('mIoU',),
    nan_to_num: float | None = None,
    beta: float = 1,
) -> Found:
    """Scores of what ``pre_eval`` gave for each image."""
    return total_area_to_metrics(*_summed(pre_eval_results), metrics, nan_to_num, beta)


def _means_of(metric: str) -> Callable[..., Found]:
    def mean(
        results: Iterable,
        gt_seg_maps: Iterable,
        num_classes: int,
        ignore_index: int,
        *options: Any,
        **named: Any,
    ) -> Found:
        """'aAcc' and the scores of the group per class; options from ``nan_to_num`` on are those
        of ``eval_metrics``."""
        args = results, gt_seg_maps, num_classes, ignore_index, [metric]
        return eval_metrics(*args, *options, **named)

    return mean


mean_iou, mean_dice, mean_fscore = map(_means_of, ('mIoU', 'mDice', 'mFscore'))


def f_score(precision: Any, recall: object, beta: float = 1) -> Any:
    """The weighted harmonic mean of both."""
    weight = beta**2
    return (1 + weight) * precision * recall / (weight * precision + recall)
