"""Cross-entropy over classes (softmax) or per class (sigmoid), with the averages users rely on.

The mean divides by *all* pixels, ignored ones included: the published weights were trained so, and
``avg_non_ignore=True`` switches to the labelled ones. With class weights it divides by the sum of
the pixels' weights, as torch does; an ignored pixel then counts with weight 1 in the default mode,
so that weights of 1 change nothing.

Legend: pred (N, K, ...) logits, label (N, ...) class indices.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .banded import BandedLoss, at_least_float32, banded_cross_entropy
from .labels import labelled
from .utils import load_class_weight, weight_reduce_loss


def _average_factor(
    label: Tensor, class_weight: Tensor | None, ignore_index: int, avg_non_ignore: bool
) -> float | Tensor:
    """What the mean divides by; a tensor (no synchronisation) unless it is known beforehand.

    Added up in float32 at least.
    """
    if class_weight is None and not avg_non_ignore:
        return label.numel()
    valid = labelled(label, ignore_index)
    if class_weight is None:
        return valid.sum()
    weights = at_least_float32(class_weight)[(label * valid).long()]
    return torch.where(valid, weights, 0.0 if avg_non_ignore else 1.0).sum()


def cross_entropy(
    pred: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    class_weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
    ignore_index: int = -100,
    avg_non_ignore: bool = False,
) -> Tensor:
    """Softmax cross-entropy; ``weight`` (N, ...) is per pixel, ``class_weight`` (K,) per class."""
    pred, label = at_least_float32(pred), label.contiguous()  # sums in one order
    factors = None if class_weight is None else class_weight.to(pred)
    loss = F.cross_entropy(
        pred, label.long(), weight=factors, reduction='none', ignore_index=ignore_index
    )
    if avg_factor is None and reduction == 'mean':
        avg_factor = _average_factor(label, class_weight, ignore_index, avg_non_ignore)
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
    class_weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
    ignore_index: int = -100,
    avg_non_ignore: bool = False,
) -> Tensor:
    """Sigmoid cross-entropy, one binary problem per class; with K = 1 the label itself is binary.

    ``class_weight`` weighs the positive pixels of each class (``pos_weight``).
    """
    pred, label = at_least_float32(pred), label.contiguous()
    valid = (label >= 0) & labelled(label, ignore_index)
    if pred.shape[1] == 1:
        pred, target = pred.squeeze(1), label.masked_fill(~valid, 0)
    else:
        target = _one_hot(label, valid, pred.shape[1])
        valid = valid.unsqueeze(1).expand_as(target)
        weight = None if weight is None else weight.unsqueeze(1)
        if class_weight is not None:
            class_weight = class_weight.reshape(-1, *[1] * (pred.dim() - 2))
    pos_weight = None if class_weight is None else class_weight.to(pred)
    loss = F.binary_cross_entropy_with_logits(
        pred, target.to(pred), pos_weight=pos_weight, reduction='none'
    )
    if avg_factor is None and avg_non_ignore and reduction == 'mean':
        avg_factor = valid.sum()
    weight = valid.to(loss) if weight is None else weight * valid
    return weight_reduce_loss(loss, weight, reduction, avg_factor)


class CrossEntropyLoss(nn.Module):
    """Cross-entropy of a decode head.

    Args:
        use_sigmoid: One binary problem per class instead of a softmax over them.
        use_mask: False; detectors' configs that share this loss's name have the key.
        class_weight: One factor per class, or the path of a .npy, .json or .pkl file with them.
        loss_name: Key in the loss dict; only names that contain 'loss' enter the total. Losses of
            one head under the same name are summed.
        avg_non_ignore: Average over labelled pixels only.
    """

    _weights: Tensor | None

    def __init__(
        self,
        use_sigmoid: bool = False,
        use_mask: bool = False,
        reduction: str = 'mean',
        class_weight: Sequence[float] | str | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_ce',
        avg_non_ignore: bool = False,
    ) -> None:
        super().__init__()
        if use_mask:
            raise ValueError(
                'CrossEntropyLoss: use_mask=True compares one mask an object, and heads for '
                'semantic segmentation predict none. use_sigmoid=True compares one mask a class.'
            )
        self.use_sigmoid, self.reduction = use_sigmoid, reduction
        self.loss_weight, self.avg_non_ignore = loss_weight, avg_non_ignore
        self._loss_name = loss_name
        self.class_weight = weights = load_class_weight(class_weight)
        held = None if weights is None else torch.tensor(weights, dtype=torch.float32)
        # A buffer, since a copy from a list makes the host wait for a GPU at every step; and not
        # in the state, where the published files have no such key.
        self.register_buffer('_weights', held, persistent=False)

    @property
    def loss_name(self) -> str:
        return self._loss_name

    def extra_repr(self) -> str:
        return f'loss_weight={self.loss_weight}, avg_non_ignore={self.avg_non_ignore}'

    def _class_weight(self, pred: Tensor) -> Tensor | None:
        """The class weights beside ``pred``, checked against its classes."""
        if self._weights is None:
            return None
        if len(self._weights) != pred.shape[1]:
            raise ValueError(
                f'CrossEntropyLoss: class_weight has {len(self._weights)} values, the head '
                f'predicts {pred.shape[1]} classes. Give one value per class.'
            )
        return self._weights.to(pred.device)

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
            class_weight=self._class_weight(cls_score),
            reduction=reduction_override or self.reduction,
            avg_factor=avg_factor,
            ignore_index=ignore_index,
            avg_non_ignore=self.avg_non_ignore,
        )

    @property
    def takes_small_logits(self) -> bool:
        """Whether ``forward_small`` can replace upsampling and ``forward``."""
        return not self.use_sigmoid and self.reduction in ('mean', 'sum')

    def forward_small(
        self,
        logits: Tensor,
        label: Tensor,
        ignore_index: int = -100,
        align_corners: bool = False,
        accurate: bool = False,
    ) -> BandedLoss:
        """``forward`` of the logits (N, K, h, w) resized to the label (N, H, W), by bands."""
        weight = self._class_weight(logits)
        loss, correct = banded_cross_entropy(
            logits, label, weight, ignore_index, align_corners, accurate
        )
        if self.reduction == 'mean':
            factor = _average_factor(label, weight, ignore_index, self.avg_non_ignore)
            loss = loss / (factor + torch.finfo(torch.float32).eps)
        return BandedLoss(self.loss_weight * loss, correct)
