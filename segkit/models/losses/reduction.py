"""Reducing the loss of each pixel to one, with weights."""

import torch
from torch import Tensor

from segkit.errors import UserError


def check_reduction(reduction: str) -> None:
    """Refuse any but 'none', 'sum' and 'mean'."""
    if reduction not in ('none', 'sum', 'mean'):
        raise UserError(f"reduction must be 'none', 'sum' or 'mean', not {reduction!r}.")


def weight_reduce_loss(
    loss: Tensor,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    """Weigh a per-pixel loss and reduce it with 'none', 'sum' or 'mean'.

    Args:
        avg_factor: What 'mean' divides the sum by; the number of elements when None.
    """
    check_reduction(reduction)
    if weight is not None:
        weighted = loss * weight if weight.dim() in (0, loss.dim()) else weight
        if weighted.shape != loss.shape:  # it would be weighed against other pixels
            raise UserError(
                f'A weight of shape {tuple(weight.shape)} does not fit a loss of shape '
                f'{tuple(loss.shape)}: give one number for each pixel.'
            )
        loss = weighted
    if reduction == 'none':
        return loss
    if reduction == 'sum':
        if avg_factor is not None:
            raise UserError("avg_factor divides a mean: it can't go with reduction='sum'.")
        return loss.sum()
    if avg_factor is None:
        return loss.mean()
    return loss.sum() / (avg_factor + torch.finfo(torch.float32).eps)
