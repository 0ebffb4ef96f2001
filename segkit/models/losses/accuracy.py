"""Pixel accuracy in percent, as logged beside the loss (``acc_seg``).

Legend: pred (N, K, ...) scores, target (N, ...) class indices. Ignored pixels are left out of both
the hits and the total, unlike in the loss, whose mean counts them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segkit.errors import UserError

from .stray_labels import labelled, percent


def accuracy(
    pred: Tensor,
    target: Tensor,
    topk: int | Sequence[int] = 1,
    thresh: float | None = None,
    ignore_index: int | None = None,
) -> Tensor | list[Tensor]:
    """Share of labelled pixels whose class is among the ``topk`` highest scores, in percent.

    Of equal scores the first class counts as the higher, as in an argmax.

    Args:
        thresh: A hit counts only where its score is above this.
        ignore_index: Label of the pixels to leave out.

    Returns:
        One tensor of shape (1,) for an int ``topk``, else a list of them.
    """
    ks = (topk,) if isinstance(topk, int) else tuple(topk)
    if max(ks) > pred.shape[1]:
        raise UserError(f'accuracy: topk={max(ks)} exceeds the {pred.shape[1]} classes of pred.')
    if target.shape != pred.shape[:1] + pred.shape[2:]:
        raise UserError(
            f'accuracy: target is {tuple(target.shape)}, but scores of {tuple(pred.shape)} need '
            f'{tuple(pred.shape[:1] + pred.shape[2:])}: one class for each pixel.'
        )
    if max(ks) == 1:
        index = pred.argmax(dim=1, keepdim=True)
    else:
        index = pred.argsort(dim=1, descending=True, stable=True)[:, : max(ks)]
    hit = index == target.long().unsqueeze(1)
    if thresh is not None:
        hit &= pred.gather(1, index) > thresh
    counted = torch.ones_like(target, dtype=torch.bool)
    if ignore_index is not None:
        counted = labelled(target, ignore_index)
        hit &= counted.unsqueeze(1)
    values = [percent(hit[:, :k].sum(), counted.sum()) for k in ks]
    if not target.numel():  # no picture, where percent() says 100 of pictures without a label
        values = [torch.zeros_like(value) for value in values]
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
