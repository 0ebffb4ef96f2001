"""Scores from four areas a class, as metrics written for mmsegmentation keep them.

Of each image: pixels of every class that are right, in the union, predicted, labelled; (K,)
float64 tensors, which hold such counts exactly. They sum over images to what a confusion matrix
gives, without what lies off its diagonal.
"""

from collections.abc import Iterable, Sequence, Sized

import numpy as np
import torch
from torch import Tensor

from segkit.errors import EvaluationError

from .confusion import confusion_matrix
from .scores import METRIC_GROUPS, Scores

Areas = tuple[Tensor, Tensor, Tensor, Tensor]  # intersect, union, prediction, label


def areas_of(pred_label: Tensor, label: Tensor, num_classes: int, ignore_index: int) -> Areas:
    """The areas of one image from its maps (H, W); a stray label is an error."""
    matrix = confusion_matrix(label, pred_label, num_classes, ignore_index).double()
    right, labelled, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    return right, labelled + predicted - right, predicted, labelled


def area_scores(
    results: Iterable[Sequence], classes: Sequence[str], beta: float, nan_to_num: float | None
) -> Scores:
    """Scores of the areas of many images, each four of shape (K,)."""
    rows = [torch.stack([torch.as_tensor(a).double().cpu() for a in row]) for row in results]
    if not rows:
        raise EvaluationError('No image was scored: there are no areas to sum.')
    right, _, predicted, labelled = torch.stack(rows).sum(0).numpy()
    areas = right, labelled, predicted
    return Scores(np.zeros((0, 0)), classes, beta, nan_to_num, areas=areas)


def total_area_to_metrics(
    total_area_intersect: object,
    total_area_union: object,
    total_area_pred_label: object,
    total_area_label: Sized,
    metrics: str | Sequence[str] = ('mIoU',),
    nan_to_num: float | None = None,
    beta: float = 1,
) -> dict[str, object]:
    """'aAcc' and per class (K,) arrays 'IoU', 'Acc', 'Dice', ..., as shares of 1.

    An F-score is 0, not nan, where a labelled class was never predicted (`scores.py`).
    """
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    unknown = [name for name in names if name not in METRIC_GROUPS]
    if unknown:
        raise KeyError(f'metrics {unknown} are not among {", ".join(METRIC_GROUPS)}')
    total = (total_area_intersect, total_area_union, total_area_pred_label, total_area_label)
    scores = area_scores([total], [''] * len(total_area_label), beta, nan_to_num)
    found: dict[str, object] = {'aAcc': np.float64(scores.overall)}
    for name in names:
        found |= {heading: getattr(scores, heading.lower()) for heading in METRIC_GROUPS[name]}
    return found
