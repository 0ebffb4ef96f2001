"""Losses as functions, in the signatures that code around mmsegmentation calls; the classes of
`segkit.models.losses` compute them.

Legend: N images (of focal losses: rows), K classes, P pixels.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from segkit.errors import UserError
from segkit.models.losses import DiceLoss, FocalLoss, LovaszLoss
from segkit.models.losses.lovasz_loss import jaccard_steps
from segkit.models.losses.reduction import weight_reduce_loss
from segkit.models.losses.stray_labels import labelled


def dice_loss(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    eps: float = 1e-3,
    reduction: str = 'mean',
    naive_dice: bool = False,
    avg_factor: float | None = None,
    ignore_index: int | None = 255,
) -> Tensor:
    """Of probabilities and one-hot labels (N, K, ...); ``ignore_index`` is a class left out."""
    loss = DiceLoss(activate=False, naive_dice=naive_dice, eps=eps, ignore_index=ignore_index)
    return loss(pred, target, weight, avg_factor, reduction, ignore_index=None)


def binary_tversky_loss(
    pred: Tensor,
    target: Tensor,
    valid_mask: Tensor,
    alpha: float = 0.3,
    beta: float = 0.7,
    smooth: float = 1,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: float | None = None,
) -> Tensor:
    """Of the probability of one class, its pixels and those that count, each (N, ...)."""
    p, own, valid = (x.reshape(len(x), -1).to(pred) for x in (pred, target, valid_mask))
    hits, found, wanted = ((x * valid).sum(1) for x in (p * own, p, own))
    whole = hits + alpha * (found - hits) + beta * (wanted - hits) + smooth
    return weight_reduce_loss(1 - (hits + smooth) / whole, weight, reduction, avg_factor)


def tversky_loss(
    pred: Tensor,
    target: Tensor,
    valid_mask: Tensor,
    alpha: float = 0.3,
    beta: float = 0.7,
    smooth: float = 1,
    class_weight: Sequence[float] | Tensor | None = None,
    ignore_index: int | None = 255,
) -> Tensor:
    """Of probabilities (N, K, ...), one-hot labels (N, ..., K) and pixels that count (N, ...)."""
    classes = [k for k in range(pred.shape[1]) if k != ignore_index]
    losses = [
        binary_tversky_loss(pred[:, k], target[..., k], valid_mask, alpha, beta, smooth)
        * (1 if class_weight is None else class_weight[k])
        for k in classes
    ]
    return torch.stack(losses).sum() / pred.shape[1]


def py_sigmoid_focal_loss(
    pred: Tensor,
    target: Tensor,
    one_hot_target: Tensor | None = None,
    weight: Tensor | None = None,
    gamma: float = 2.0,
    alpha: float | Sequence[float] = 0.5,
    class_weight: Sequence[float] | Tensor | None = None,
    valid_mask: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: float | None = None,
) -> Tensor:
    """Of logits and one-hot labels (N, K); ``weight`` and ``valid_mask`` are (N, 1) or (N, K)."""
    loss = FocalLoss(gamma=gamma, alpha=alpha, reduction='none', class_weight=class_weight)
    losses = loss(pred, target.to(pred), ignore_index=None)
    for factor in (weight, valid_mask):
        if factor is not None:
            losses = losses * (factor.unsqueeze(1) if factor.dim() == 1 else factor)
    return weight_reduce_loss(losses, None, reduction, avg_factor)


def sigmoid_focal_loss(
    pred: Tensor, target: Tensor, one_hot_target: Tensor | None = None, *args: Any, **kwargs: Any
) -> Tensor:
    """The same of class indices (N,), where K is none of the classes; on any device."""
    own = target.unsqueeze(1) == torch.arange(pred.shape[1], device=pred.device)
    return py_sigmoid_focal_loss(pred, own, None, *args, **kwargs)


def lovasz_grad(gt_sorted: Tensor) -> Tensor:
    """Growth of the Jaccard loss with each of the pixels (P,), which come by falling errors."""
    order = -torch.arange(len(gt_sorted), dtype=torch.float64, device=gt_sorted.device)
    steps = jaccard_steps(order, gt_sorted > 0, torch.ones_like(order))
    return steps.to(gt_sorted.dtype if gt_sorted.is_floating_point() else torch.float32)


def flatten_binary_logits(
    logits: Tensor, labels: Tensor, ignore_index: int | None = None
) -> tuple[Tensor, Tensor]:
    """Logits and labels (P,) of the pixels that count."""
    valid = labelled(labels, ignore_index).reshape(-1)
    return logits.reshape(-1)[valid], labels.reshape(-1)[valid]


def flatten_probs(
    probs: Tensor, labels: Tensor, ignore_index: int | None = None
) -> tuple[Tensor, Tensor]:
    """Probabilities (P, K) and labels (P,) of the pixels that count, of (N, K, H, W), or with one
    class of (N, H, W)."""
    probs = probs.unsqueeze(1) if probs.dim() == 3 else probs
    valid = labelled(labels, ignore_index).reshape(-1)
    return probs.movedim(1, -1).reshape(-1, probs.shape[1])[valid], labels.reshape(-1)[valid]


class _OfProbabilities(LovaszLoss):
    def activated(self, logits: Tensor) -> Tensor:
        """As they are."""
        return logits


def lovasz_softmax(
    probs: Tensor,
    labels: Tensor,
    classes: str | Sequence[int] = 'present',
    per_image: bool = False,
    class_weight: Sequence[float] | Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: float | None = None,
    ignore_index: int | None = 255,
) -> Tensor:
    """Of probabilities (N, K, H, W) and labels (N, H, W)."""
    if probs.dim() == labels.dim():
        raise UserError('lovasz_softmax: probs are (N, K, H, W); of one channel lovasz_hinge.')
    loss = _OfProbabilities('multi_class', classes, per_image, reduction, class_weight)
    return loss(probs, labels, None, avg_factor, ignore_index=ignore_index)


def lovasz_softmax_flat(
    probs: Tensor,
    labels: Tensor,
    classes: str | Sequence[int] = 'present',
    class_weight: Sequence[float] | Tensor | None = None,
) -> Tensor:
    """Of probabilities (P, K) and labels (P,), all of which count."""
    loss = _OfProbabilities('multi_class', classes, class_weight=class_weight)
    return loss(probs.T[None], labels[None], ignore_index=None)


def lovasz_hinge(
    logits: Tensor,
    labels: Tensor,
    classes: str | Sequence[int] | None = 'present',
    per_image: bool = False,
    class_weight: Sequence[float] | None = None,
    reduction: str = 'mean',
    avg_factor: float | None = None,
    ignore_index: int | None = 255,
) -> Tensor:
    """Of logits and labels of 0 and 1, each (N, H, W); ``classes`` and ``class_weight`` mean
    nothing."""
    loss = LovaszLoss('binary', per_image=per_image, reduction=reduction)
    return loss(logits, labels, None, avg_factor, ignore_index=ignore_index)


def lovasz_hinge_flat(logits: Tensor, labels: Tensor) -> Tensor:
    """Of logits and labels (P,), all of which count."""
    return LovaszLoss('binary')(logits[None], labels[None], ignore_index=None)
