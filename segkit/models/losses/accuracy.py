"""Pixel accuracy in percent, as logged beside the loss (``acc_seg``).

Legend: pred (N, K, ...) scores, target (N, ...) class indices. Ignored pixels are left out of both
the hits and the total, unlike in the loss, whose mean counts them.
"""

from collections.abc import Sequence
from typing import overload

import torch
from torch import Tensor, nn

from .utils import labelled

EPS = torch.finfo(torch.float32).eps


def percent(correct: Tensor, total: Tensor) -> Tensor:
    """Hits over total in percent, shape (1,); with nothing labelled it reads 100, as published."""
    return ((correct.float() + EPS) * 100.0 / (total.float() + EPS)).reshape(1)


@overload
def accuracy(
    pred: Tensor,
    target: Tensor,
    topk: int = 1,
    thresh: float | None = None,
    ignore_index: int | None = None,
) -> Tensor: ...


@overload
def accuracy(
    pred: Tensor,
    target: Tensor,
    topk: Sequence[int],
    thresh: float | None = None,
    ignore_index: int | None = None,
) -> list[Tensor]: ...


def accuracy(
    pred: Tensor,
    target: Tensor,
    topk: int | Sequence[int] = 1,
    thresh: float | None = None,
    ignore_index: int | None = None,
) -> Tensor | list[Tensor]:
    """Share of labelled pixels whose class is among the ``topk`` highest scores, in percent.

    Args:
        thresh: A hit counts only where its score is above this.
        ignore_index: Label of the pixels to leave out.

    Returns:
        One tensor of shape (1,) for an int ``topk``, else a list of them.
    """
    ks = (topk,) if isinstance(topk, int) else tuple(topk)
    if max(ks) > pred.shape[1]:
        raise ValueError(f'accuracy: topk={max(ks)} exceeds the {pred.shape[1]} classes of pred.')
    score, index = pred.topk(max(ks), dim=1)
    hit = index == target.long().unsqueeze(1)
    if thresh is not None:
        hit &= score > thresh
    counted = torch.ones_like(target, dtype=torch.bool)
    if ignore_index is not None:
        counted = labelled(target, ignore_index)
        hit &= counted.unsqueeze(1)
    values = [percent(hit[:, :k].sum(), counted.sum()) for k in ks]
    return values[0] if isinstance(topk, int) else values


class Accuracy(nn.Module):
    """``accuracy`` with its arguments fixed."""

    def __init__(
        self,
        topk: int | Sequence[int] = (1,),
        thresh: float | None = None,
        ignore_index: int | None = None,
    ) -> None:
        super().__init__()
        self.topk, self.thresh, self.ignore_index = topk, thresh, ignore_index

    def forward(self, pred: Tensor, target: Tensor) -> Tensor | list[Tensor]:
        """Accuracy of ``pred`` (N, K, ...) against ``target`` (N, ...)."""
        return accuracy(pred, target, self.topk, self.thresh, self.ignore_index)
