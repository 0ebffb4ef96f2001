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

import torch
from torch import Tensor

from segkit.errors import UserError
from segkit.models.layers import is_untouched
from segkit.old_names import serve

from .bands import BandedLoss, banded_sums
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
    trained = logits.requires_grad

    def of_band(band: Tensor, label: Tensor, weight: Tensor) -> Tensor:
        """Weighted loss sum of a band, which becomes its gradient if there will be one."""
        if class_weight is not None:
            weight = weight * class_weight.to(band)[label]
        own = band.gather(1, label)
        top = band.amax(1, keepdim=True)
        total = band.sub_(top).exp_().sum(1, keepdim=True)
        loss = ((total.log() + top - own) * weight).sum()
        if trained:
            band.mul_(weight / total).scatter_add_(1, label, -weight)
        return loss

    how = ignore_index, align_corners, accurate, trained
    return BandedLoss(*banded_sums(of_band, logits, label, None, *how))


serve(__name__)
