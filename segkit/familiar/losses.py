"""What losses written for mmsegmentation wrap themselves in."""

from collections.abc import Callable, Sequence
from functools import wraps

import torch
from torch import Tensor

from segkit.models.losses.reduction import weight_reduce_loss
from segkit.models.losses.stray_labels import labelled


def reduce_loss(loss: Tensor, reduction: str) -> Tensor:
    """Reduce a per-pixel loss with 'none', 'sum' or 'mean'."""
    return weight_reduce_loss(loss, None, reduction)


def weighted_loss(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Give ``function(pred, target, ...)``, a loss for each pixel, the arguments `weight`,
    `reduction` and `avg_factor` of ``weight_reduce_loss``."""

    @wraps(function)
    def weighted(
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        reduction: str = 'mean',
        avg_factor: float | Tensor | None = None,
        **kwargs: object,
    ) -> Tensor:
        loss = function(pred, target, **kwargs)
        return weight_reduce_loss(loss, weight, reduction, avg_factor)

    return weighted


def _expand_onehot_labels(
    labels: Tensor, label_weights: Tensor | None, target_shape: Sequence[int], ignore_index: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Of labels (N, ...): one-hot (N, K, ...), the weight of each of its numbers, and which pixels
    count. ``target_shape`` is that of the one-hot labels; ignored pixels are 0 throughout."""
    counts = (labels >= 0) & labelled(labels, ignore_index)
    classes = torch.arange(target_shape[1], device=labels.device)
    hot = labels.unsqueeze(1) == classes.reshape(-1, *[1] * (labels.dim() - 1))
    valid = counts.unsqueeze(1).expand(tuple(target_shape)).float()
    weights = valid if label_weights is None else valid * label_weights.unsqueeze(1)
    return (hot & counts.unsqueeze(1)).to(labels.dtype), weights, valid
