"""Cross-entropy of each class by itself, of which easy pixels count little (arXiv:1708.02002).

Legend: pred (N, K, ...) logits, label (N, ...) class indices or a map of shares (N, K, ...); z is
the logit of the right answer.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.errors import UserError
from segkit.models.layers import at_least_float32, is_untouched
from segkit.old_names import serve

from .bands import BandedLoss, banded_sums, own_channel
from .head_loss import HeadLoss, of_pixels
from .reduction import weight_reduce_loss
from .soft_labels import indices_of
from .stray_labels import comparable, labelled


class FocalLoss(HeadLoss):
    """alpha (1 - p)^gamma times the cross-entropy of each class's yes or no.

    Args:
        use_sigmoid: True; a loss over all classes together is not among the known ones.
        gamma: How little easy pixels count; with 0 they count as the others.
        alpha: Weight of the pixels of a class against 1 - alpha of all others; a list has one for
            each class.
        class_weight: One factor per class, or the path of a .npy, .json or .pkl file with them.
        avg_non_ignore: Average over labelled pixels only.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        gamma: float = 2.0,
        alpha: float | Sequence[float] = 0.5,
        reduction: str = 'mean',
        class_weight: Sequence[float] | Tensor | str | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_focal',
        avg_non_ignore: bool = False,
    ) -> None:
        super().__init__(loss_weight, loss_name, class_weight, reduction)
        self.use_sigmoid, self.gamma, self.avg_non_ignore = use_sigmoid, gamma, avg_non_ignore
        self.alpha = alpha
        several = [alpha] if isinstance(alpha, str) or not isinstance(alpha, Sequence) else alpha
        for name, value in [('gamma', gamma), *(('alpha', one) for one in several)]:
            self.number(name, value)
        self._check_sigmoid()
        self.register_buffer('_alpha', torch.tensor(list(several)), persistent=False)

    _alpha: Tensor

    def _check_sigmoid(self) -> None:
        if not self.use_sigmoid:
            raise UserError(
                'FocalLoss: use_sigmoid=False is not there: each class is a yes or no of its own. '
                'Leave use_sigmoid out.'
            )

    def _elements(self, pred: Tensor, own: Tensor, weight: Tensor) -> Tensor:
        """Loss (N, K, ...) of what is of each class, bool or shares, and weights."""
        count, shape = pred.shape[1], (-1, *[1] * (pred.dim() - 2))
        if len(self._alpha) not in (1, count):
            raise UserError(
                f'FocalLoss: alpha has {len(self._alpha)} values, the head predicts {count} '
                'classes. Give one value per class, or one for all.'
            )
        alpha = self._alpha.to(pred).reshape(shape)
        if own.dtype == torch.bool:
            z = torch.where(own, pred, -pred)
            hard = (self.gamma * F.logsigmoid(-z)).exp()
            loss = -F.logsigmoid(z) * hard * torch.where(own, alpha, 1 - alpha) * weight
        else:
            p = pred.sigmoid()
            missed = (own * (1 - p) + (1 - own) * p).clamp(min=torch.finfo(p.dtype).tiny)
            loss = F.binary_cross_entropy_with_logits(pred, own, reduction='none')
            loss = loss * missed**self.gamma * (own * alpha + (1 - own) * (1 - alpha)) * weight
        factors = self.weights_beside(pred)
        return loss if factors is None else loss * factors.to(pred).reshape(shape)

    def _sum(self, band: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        return self._elements(band, own_channel(target, band.shape[1]), weight).sum()

    def _mean(self, total: Tensor, pred: Tensor, label: Tensor, ignore_index: int | None) -> Tensor:
        """Over all pixels and classes, as published, or over labelled pixels."""
        count = labelled(label, ignore_index).sum() if self.avg_non_ignore else label.numel()
        return total / (count * pred.shape[1] + torch.finfo(torch.float32).eps)

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int | None = 255,
    ) -> Tensor:
        """Loss of logits (N, K, ...) at label size; (N, K, ...) with reduction 'none'.

        ``weight`` is of each pixel (N, ...), image (N,) or number (N, K, ...), or of
        all pixels in a row: (P,), (P, 1) or (P, K).
        """
        self._check_sigmoid()
        label, shares = indices_of(pred, target, 'FocalLoss')
        weight = _in_place(weight, pred, label)
        self.check_shapes(pred, label, None if _of_numbers(weight, pred) else weight)
        label, reduction = comparable(label), reduction_override or self.reduction
        if weight is not None and not _of_numbers(weight, pred):
            weight = of_pixels(weight, label)
        if reduction == 'none' or shares is not None:
            total = self._written_out(pred, label, shares, weight, ignore_index)
            total = total if reduction == 'none' else total.sum()
        else:
            total, _ = banded_sums(self._sum, pred, label, weight, ignore_index)
        if reduction == 'mean' and avg_factor is None:
            return self.loss_weight * self._mean(total, pred, label, ignore_index)
        return self.loss_weight * weight_reduce_loss(total, None, reduction, avg_factor)

    def _written_out(
        self,
        pred: Tensor,
        label: Tensor,
        shares: Tensor | None,
        weight: Tensor | None,
        ignore_index: int | None,
    ) -> Tensor:
        """Loss (N, K, ...), 0 where ignored; no bands."""
        pred, valid = at_least_float32(pred), labelled(label, ignore_index).unsqueeze(1)
        if shares is None:
            own = own_channel((label.unsqueeze(1) * valid).long(), pred.shape[1])
        else:
            own = shares.to(pred)
        if weight is None:
            return self._elements(pred, own, valid.to(pred))
        weight = weight if weight.dim() == pred.dim() else weight.unsqueeze(1)
        return self._elements(pred, own, (weight * valid).to(pred))

    @property
    def takes_small_logits(self) -> bool:
        """Whether ``forward_small`` can replace upsampling and ``forward``."""
        return is_untouched(self, FocalLoss) and self.reduction in ('mean', 'sum')

    def forward_small(
        self,
        logits: Tensor,
        label: Tensor,
        ignore_index: int | None = 255,
        align_corners: bool = False,
        accurate: bool = False,
    ) -> BandedLoss:
        """``forward`` of the logits (N, K, h, w) resized to the label (N, H, W), by bands."""
        label = comparable(label)
        loss, correct = banded_sums(
            self._sum, logits, label, None, ignore_index, align_corners, accurate
        )
        if self.reduction == 'mean':
            loss = self._mean(loss, logits, label, ignore_index)
        return BandedLoss(self.loss_weight * loss, correct)


def _of_numbers(weight: Tensor | None, pred: Tensor) -> bool:
    return weight is not None and weight.shape == pred.shape


def _in_place(weight: Tensor | None, pred: Tensor, label: Tensor) -> Tensor | None:
    """Weights of all pixels in a row, (P,), (P, 1) or (P, K), in the place of the pixels."""
    if weight is None or weight.shape in (label.shape, label.shape[:1], pred.shape):
        return weight
    row = weight.squeeze(1) if weight.dim() == 2 and weight.shape[1] == 1 else weight
    if row.shape == (label.numel(),):
        return row.reshape(label.shape)
    if row.shape == (label.numel(), pred.shape[1]):
        return row.reshape(*label.shape, pred.shape[1]).movedim(-1, 1)
    return weight


serve(__name__)
