"""What losses written for mmsegmentation wrap themselves in."""

from collections.abc import Callable
from functools import wraps

from torch import Tensor

from segkit.models.losses.reduction import weight_reduce_loss


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
