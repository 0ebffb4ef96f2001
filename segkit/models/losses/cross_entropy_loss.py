"""The cross-entropy loss of a decode head, and its way without logits of label size.

Written out, a training step keeps the logits at label size, their log-softmax and the gradients of
both: for 150 classes at 512x512 over a gigabyte. The loss is a scalar, so its gradient with respect
to the small logits is known, up to one factor, as soon as the loss is: a band of label rows at a
time is upsampled, turned into its share of the loss and of the gradient, brought back, and
forgotten. The values are those of ``F.cross_entropy(F.interpolate(logits, size), label)`` to
rounding; so is the gradient.

Legend: logits (N, K, h, w), label (N, H, W), a band (N, K, R, W) with R rows of the label.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from segkit.errors import UserError
from segkit.models.layers import at_least_float32, is_untouched
from segkit.old_names import serve
from segkit.ops.autograd_context import Context

from .bands import BandedLoss, BandedResize
from .cross_entropy import binary_cross_entropy, cross_entropy
from .head_loss import HeadLoss
from .stray_labels import average_factor, comparable


class CrossEntropyLoss(HeadLoss):
    """Cross-entropy of a decode head.

    Args:
        use_sigmoid: One binary problem per class instead of a softmax over them.
        use_mask: False; detectors' configs that share this loss's name have the key.
        class_weight: One factor per class, or the path of a .npy, .json or .pkl file with them.
            With ``use_sigmoid`` also one for each number, in any shape that spreads over the
            logits.
        loss_name: Key in the loss dict; only names that contain 'loss' enter the total. Losses of
            one head under the same name are summed.
        avg_non_ignore: Average over labelled pixels only.
    """

    def __init__(
        self,
        use_sigmoid: bool = False,
        use_mask: bool = False,
        reduction: str = 'mean',
        class_weight: Sequence[float] | Tensor | str | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_ce',
        avg_non_ignore: bool = False,
    ) -> None:
        super().__init__(loss_weight, loss_name, class_weight, reduction, nested=use_sigmoid)
        if use_mask:
            raise UserError(
                'CrossEntropyLoss: use_mask=True compares one mask an object, and heads for '
                'semantic segmentation predict none. use_sigmoid=True compares one mask a class.'
            )
        self.use_sigmoid, self.avg_non_ignore = use_sigmoid, avg_non_ignore

    def extra_repr(self) -> str:
        return f'avg_non_ignore={self.avg_non_ignore}'

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int = -100,
    ) -> Tensor:
        """Loss of logits (N, K, ...) at label size; per pixel with reduction 'none'."""
        function = binary_cross_entropy if self.use_sigmoid else cross_entropy
        return self.loss_weight * function(
            cls_score,
            label,
            weight,
            class_weight=self.weights_beside(cls_score),
            reduction=reduction_override or self.reduction,
            avg_factor=avg_factor,
            ignore_index=ignore_index,
            avg_non_ignore=self.avg_non_ignore,
        )

    @property
    def takes_small_logits(self) -> bool:
        """Whether ``forward_small`` can replace upsampling and ``forward``."""
        known = is_untouched(self, CrossEntropyLoss)  # else its forward is not what is below
        return known and not self.use_sigmoid and self.reduction in ('mean', 'sum')

    def forward_small(
        self,
        logits: Tensor,
        label: Tensor,
        ignore_index: int = -100,
        align_corners: bool = False,
        accurate: bool = False,
    ) -> BandedLoss:
        """``forward`` of the logits (N, K, h, w) resized to the label (N, H, W), by bands."""
        weight, label = self.weights_beside(logits), comparable(label)
        loss, correct = banded_cross_entropy(
            logits, label, weight, ignore_index, align_corners, accurate
        )
        if self.reduction == 'mean':
            factor = average_factor(label, weight, ignore_index, self.avg_non_ignore)
            loss = loss / (factor + torch.finfo(torch.float32).eps)
        return BandedLoss(self.loss_weight * loss, correct)


def _band_loss(band: Tensor, label: Tensor, weight: Tensor, backward: bool) -> Tensor:
    """Weighted loss sum of a band, which becomes its gradient if ``backward``.

    label (N, 1, R, W) int64 with every ignored pixel at 0 and ``weight`` (N, 1, R, W) 0 there.
    """
    own = band.gather(1, label)
    top = band.amax(1, keepdim=True)
    total = band.sub_(top).exp_().sum(1, keepdim=True)
    loss = ((total.log() + top - own) * weight).sum()
    if backward:
        band.mul_(weight / total).scatter_add_(1, label, -weight)
    return loss


class _Kept(Context, Protocol):
    dtype: torch.dtype


class _BandedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _Kept,
        logits: Tensor,
        label: Tensor,
        weights: Tensor | None,
        ignore_index: int,
        align: bool,
        accurate: bool,
    ) -> tuple[Tensor, Tensor | None]:
        small = at_least_float32(logits.detach())
        grad = torch.zeros_like(small) if logits.requires_grad else None
        resize = BandedResize(small, label, ignore_index, align)
        matrices = [] if grad is None else [resize.matrix(0), resize.matrix(1)]
        losses, hits = [], []
        for band in resize.bands():
            weight = band.weights(None)
            if weights is not None:
                weight = weight * weights.to(small)[band.target]
            if accurate:
                hits.append(band.hits(resize.argmax))
            losses.append(_band_loss(band.logits, band.target, weight, grad is not None))
            if grad is not None:
                resize.add_back(grad, band.logits, band, matrices)
        ctx.save_for_backward(grad)
        ctx.set_materialize_grads(False)
        ctx.dtype = logits.dtype
        correct = torch.stack(hits).sum() if accurate else None
        if correct is not None:
            ctx.mark_non_differentiable(correct)
        return torch.stack(losses).sum(), correct

    @staticmethod
    @once_differentiable
    def backward(ctx: _Kept, grad_loss: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
        (grad,) = ctx.saved_tensors
        return (grad * grad_loss).to(ctx.dtype), None, None, None, None, None


def banded_cross_entropy(
    logits: Tensor,
    label: Tensor,
    class_weight: Tensor | None = None,
    ignore_index: int = 255,
    align_corners: bool = False,
    accurate: bool = False,
) -> BandedLoss:
    """Sum over pixels of the cross-entropy of ``logits`` resized bilinearly to the label.

    Args:
        logits: (N, K, h, w), any float dtype; the arithmetic is float32 at least.
        label: (N, H, W), integers in [0, K) or ``ignore_index``; uint8 as it comes.
        class_weight: (K,), factor of each class.
        accurate: Also count the pixels whose own class scores highest, the first of equals.

    The gradient is computed with the loss, so it holds for first derivatives only.
    """
    with torch.autocast(logits.device.type, enabled=False):
        out = _BandedCrossEntropy.apply(
            logits, label, class_weight, ignore_index, align_corners, accurate
        )
    return BandedLoss(*out)


serve(__name__)
