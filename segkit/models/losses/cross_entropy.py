"""Cross-entropy written out, as functions: over classes (softmax) or per class (sigmoid).

Legend: pred (N, K, ...) logits, label (N, ...) class indices.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.models.layers import at_least_float32

from .reduction import weight_reduce_loss
from .stray_labels import average_factor, comparable, labelled


def cross_entropy(
    pred: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    class_weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
    ignore_index: int | None = -100,
    avg_non_ignore: bool = False,
) -> Tensor:
    """Softmax cross-entropy; ``weight`` (N, ...) is per pixel, ``class_weight`` (K,) per class."""
    pred, label = at_least_float32(pred), comparable(label).contiguous()  # sums in one order
    factors = None if class_weight is None else class_weight.to(pred)
    loss = F.cross_entropy(
        pred,
        label.long(),
        weight=factors,
        reduction='none',
        ignore_index=-100 if ignore_index is None else ignore_index,
    )
    if avg_factor is None and reduction == 'mean':
        avg_factor = average_factor(label, class_weight, ignore_index, avg_non_ignore)
    return weight_reduce_loss(loss, weight, reduction, avg_factor)


def _one_hot(label: Tensor, valid: Tensor, num_classes: int) -> Tensor:
    """(N, ...) -> (N, K, ...) of 0 and 1; nothing is set where invalid."""
    index = label.long().masked_fill(~valid, 0).unsqueeze(1)
    shape = (label.shape[0], num_classes, *label.shape[1:])
    hot = torch.zeros(shape, device=label.device, dtype=torch.uint8)
    return hot.scatter_(1, index, valid.unsqueeze(1).to(torch.uint8))


def binary_cross_entropy(
    pred: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
    class_weight: Tensor | None = None,
    ignore_index: int | None = -100,
    avg_non_ignore: bool = False,
) -> Tensor:
    """Sigmoid cross-entropy, one binary problem per class; with K = 1 the label itself is binary.

    A label of the shape of ``pred`` is the target of each of its numbers, and so is ``weight``.
    ``class_weight`` weighs the positive pixels of each class (``pos_weight``): (K,), or each
    number of ``pred``, in its shape.
    """
    pred, label = at_least_float32(pred), comparable(label).contiguous()
    valid = (label >= 0) & labelled(label, ignore_index)
    each = pred.shape == label.shape
    if pred.shape[1] == 1 and not each:
        pred = pred.squeeze(1)
        if class_weight is not None and class_weight.dim() > 1:
            class_weight = class_weight.squeeze(1)
    elif class_weight is not None and class_weight.dim() == 1:
        class_weight = class_weight.reshape(-1, *[1] * (pred.dim() - 2))
    if each or pred.dim() == label.dim():
        target = label.masked_fill(~valid, 0)
    else:
        target = _one_hot(label, valid, pred.shape[1])
        valid = valid.unsqueeze(1).expand_as(target)
        weight = None if weight is None else weight.unsqueeze(1)
    pos_weight = None if class_weight is None else class_weight.to(pred)
    loss = F.binary_cross_entropy_with_logits(
        pred, target.to(pred), pos_weight=pos_weight, reduction='none'
    )
    if avg_factor is None and avg_non_ignore and reduction == 'mean':
        avg_factor = valid.sum()
    weight = valid.to(loss) if weight is None else weight * valid
    return weight_reduce_loss(loss, weight, reduction, avg_factor)
