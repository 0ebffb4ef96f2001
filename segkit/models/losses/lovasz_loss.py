"""The Lovasz extension of the Jaccard loss (arXiv:1705.08790): a convex stand-in for 1 - IoU.

The pixels are sorted by their error; each error is weighed by how much the Jaccard loss grows when
its pixel joins those that are wrong. The sort is over all pixels, so the logits are needed at label
size; what is kept for the gradient is one number for each of them, whatever the sorts took.

Legend: x (N, K, P) probabilities or logits, label (N, P), measure (N, P) float64: how many times
a pixel counts, 0 where it is ignored; C classes that are looked at.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from segkit.errors import UserError
from segkit.models.layers import at_least_float32
from segkit.old_names import serve
from segkit.ops.autograd_context import Context

from .head_loss import HeadLoss, of_pixels
from .reduction import weight_reduce_loss
from .stray_labels import comparable, labelled

Errors = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def jaccard_steps(errors: Tensor, own: Tensor, measure: Tensor) -> Tensor:
    """Growth of the Jaccard loss with each pixel (P,), in the order of falling errors.

    ``own`` tells the pixels of the class. Each step is written as what it is, not as a difference
    of two values near one another: a pixel of the class leaves the intersection, another one joins
    the union. The sums are of whole numbers unless the weights are none, so any order of adding
    gives the same.
    """
    order = errors.argsort(descending=True, stable=True)
    counted = measure[order]
    hits = counted * own[order]
    total = hits.sum()
    left, union = total - hits.cumsum(0), total + (counted - hits).cumsum(0)
    before = union - (counted - hits)
    steps = torch.where(
        own[order],
        counted / union.clamp(min=_TINY),
        left * counted / (union * before).clamp(min=_TINY),
    )
    first = (before <= 0) & (counted > 0)  # of a class that is nowhere the first error is all
    steps = torch.where(first, 1.0, steps)
    return torch.zeros_like(steps).scatter_(0, order, steps)


_TINY = torch.finfo(torch.float64).tiny


def of_probability(own: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """How far the probability is from 1 or 0, and the slope of that."""
    return torch.where(own, 1 - x, x), torch.where(own, -1.0, 1.0)


def of_margin(own: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """How far the logit is from 1 or -1 on the right side of 0, and the slope of that."""
    error = torch.where(own, 1 - x, 1 + x)
    return error.relu(), torch.where(own, -1.0, 1.0) * (error > 0)


class _Kept(Context, Protocol):
    channels: list[int]


class _Lovasz(torch.autograd.Function):
    """Losses (C,) of (channel, class) pairs of a group of images; keeps the gradient alone."""

    @staticmethod
    def forward(
        ctx: _Kept,
        x: Tensor,
        label: Tensor,
        measure: Tensor,
        pairs: Sequence[tuple[int, int]],
        errors_of: Errors,
    ) -> Tensor:
        grad = torch.zeros_like(x) if x.requires_grad else None
        losses = x.new_zeros(len(pairs))
        for i, (channel, number) in enumerate(pairs):
            own = label == number
            errors, slopes = errors_of(own, x[:, channel])
            steps = jaccard_steps(errors.flatten(), own.flatten(), measure.flatten())
            losses[i] = (errors.flatten() * steps).sum()
            if grad is not None:
                grad[:, channel] = slopes * steps.view_as(slopes)
        ctx.save_for_backward(grad)
        ctx.channels = [channel for channel, _ in pairs]
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: _Kept, grad_losses: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = ctx.saved_tensors
        factors = grad.new_zeros(grad.shape[1])
        factors[ctx.channels] = grad_losses
        return grad * factors[:, None], None, None, None, None


class LovaszLoss(HeadLoss):
    """Lovasz-softmax of several classes, or the hinge of one channel.

    Args:
        loss_type: 'multi_class', or 'binary' for a head with one channel.
        classes: Averaged over 'all' classes, those 'present' in the labels, or a list of them.
        per_image: Of each image by itself, then reduced; else of the batch as one image, which
            leaves nothing to reduce.
        class_weight: One factor per class, or the path of a .npy, .json or .pkl file with them.
    """

    per_pixel = False
    binary_cure = "num_classes=2, out_channels=1 and loss_decode.loss_type='binary'"

    def __init__(
        self,
        loss_type: str = 'multi_class',
        classes: str | Sequence[int] = 'present',
        per_image: bool = False,
        reduction: str = 'mean',
        class_weight: Sequence[float] | Tensor | str | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_lovasz',
    ) -> None:
        super().__init__(loss_weight, loss_name, class_weight, reduction)
        if loss_type not in ('multi_class', 'binary'):
            raise UserError(
                f"LovaszLoss: loss_type={loss_type!r} is neither 'multi_class' nor 'binary'."
            )
        if isinstance(classes, str) and classes not in ('all', 'present'):
            raise UserError(
                f"LovaszLoss: classes={classes!r} is neither 'all' nor 'present', nor a list of "
                'class numbers.'
            )
        self.loss_type, self.classes, self.per_image = loss_type, classes, per_image
        self.use_sigmoid = self.one_channel = loss_type == 'binary'

    def _pairs(self, label: Tensor, measure: Tensor, count: int) -> list[tuple[int, int]]:
        """(channel, class) of the classes to look at; reads the labels for 'present'."""
        if self.one_channel:
            return [(0, 1)]
        if self.classes == 'present':
            chosen = label[measure > 0].unique().tolist()
        elif self.classes == 'all':
            chosen = list(range(count))
        else:
            chosen = [int(k) for k in self.classes]
            if not all(0 <= k < count for k in chosen):
                raise UserError(
                    f'LovaszLoss: classes={chosen} has numbers that are none of the {count} '
                    f'classes, 0 to {count - 1}.'
                )
        return [(k, k) for k in chosen]

    def activated(self, logits: Tensor) -> Tensor:
        """What the errors are of, of logits (N, K, P)."""
        return logits if self.one_channel else logits.softmax(1)

    def _group(self, x: Tensor, label: Tensor, measure: Tensor) -> Tensor:
        """Loss of images that are taken together."""
        pairs = self._pairs(label, measure, x.shape[1])
        losses = _Lovasz.apply(
            x, label, measure, pairs, of_margin if self.one_channel else of_probability
        )
        weights = None if self.one_channel else self.weights_beside(x)
        if weights is not None:
            losses = losses * weights[[k for _, k in pairs]]
        return losses.sum() / max(len(pairs), 1)

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int | None = 255,
    ) -> Tensor:
        """Loss of logits (N, K, ...) at label size; per image, if they are apart, with 'none'.

        One channel may also come as (N, ...).
        """
        pred = cls_score
        if self.one_channel and pred.shape == label.shape:
            pred = pred.unsqueeze(1)
        self.check_shapes(pred, label, weight)
        label, reduction = comparable(label), reduction_override or self.reduction
        valid = labelled(label, ignore_index)
        measure = valid.double()
        if weight is not None:
            measure = measure * of_pixels(weight, label)
        x = at_least_float32(pred).reshape(*pred.shape[:2], -1)
        label = (label * valid).long().reshape(len(x), -1)
        measure = measure.reshape(len(x), -1)
        x = self.activated(x)
        if not self.per_image:
            return self.loss_weight * self._group(x, label, measure)
        losses = [self._group(*one) for one in zip(x.split(1), label.split(1), measure.split(1))]
        return self.loss_weight * weight_reduce_loss(
            torch.stack(losses), None, reduction, avg_factor
        )


serve(__name__)
