"""Losses of the overlap between a class and its pixels: Dice (arXiv:1606.04797) and Tversky
(arXiv:1706.05721).

Both are made of three sums over the pixels of an image, for each class: of its probability where it
is the label, of its probability (or the square) anywhere, and of its pixels. So they are taken from
the small logits by bands, and no one-hot labels or probabilities of label size exist.

Legend: pred (N, K, ...) logits, label (N, ...) class indices, of ``DiceLoss`` also a map of shares
(N, K, ...), sums (N, K, 3).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from segkit.models.layers import at_least_float32, is_untouched

from .bands import BandedLoss, banded_sums, own_channel
from .head_loss import HeadLoss, of_pixels
from .reduction import weight_reduce_loss
from .soft_labels import indices_of
from .stray_labels import comparable, labelled

USUAL = 255  # as ``ignore_index`` of a loss it has always meant no class at all


class RegionLoss(HeadLoss):
    """Base of losses of an image; ignored pixels are in none of its sums.

    A pixel's ``weight`` counts it so many times; a weight (N,) is that of the images. With
    reduction 'none' there is one value for each image. An image without labels adds 0.
    """

    per_pixel = False
    squared = False
    takes_maps = False

    def __init__(
        self,
        loss_weight: float,
        loss_name: str,
        class_weight: Sequence[float] | Tensor | str | None,
        reduction: str,
        ignore_index: int | None,
    ) -> None:
        super().__init__(loss_weight, loss_name, class_weight, reduction)
        self.ignore_index = ignore_index

    @property
    def takes_small_logits(self) -> bool:
        """Whether ``forward_small`` can replace upsampling and ``forward``."""
        return is_untouched(self, RegionLoss)

    def probabilities(self, logits: Tensor) -> Tensor:
        """What is summed of logits (N, K, ...)."""
        return logits.softmax(1)

    def of_sums(self, sums: Tensor, class_weight: Tensor | None) -> Tensor:
        """Loss of each image (N,) of its sums (N, K, 3)."""
        raise TypeError(f'{type(self).__name__} defines no of_sums(sums, class_weight).')

    def counted_classes(self, num_classes: int) -> list[int]:
        """All classes but the one that ``ignore_index`` of the loss names."""
        left_out = None if self.ignore_index == USUAL else self.ignore_index
        return [k for k in range(num_classes) if k != left_out]

    def _terms(self, band: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        p = self.probabilities(band)
        own = own_channel(target, p.shape[1]) * weight
        anywhere = p.square() if self.squared else p
        sums = [(p * own), (anywhere * weight), own]
        return torch.stack([term.sum((2, 3)) for term in sums], -1)

    def _sums_of_shares(
        self,
        logits: Tensor,
        label: Tensor,
        shares: Tensor,
        weight: Tensor | None,
        ignore_index: int | None,
    ) -> Tensor:
        """Sums (N, K, 3) beside shares (N, K, ...) instead of labels."""
        p = self.probabilities(at_least_float32(logits))
        counts = labelled(label, ignore_index).to(p)
        counts = (counts if weight is None else counts * of_pixels(weight, label)).unsqueeze(1)
        squares = (p * p, shares * shares) if self.squared else (p, shares)
        terms = [(term * counts).flatten(2).sum(2) for term in (p * shares, *squares)]
        return torch.stack(terms, -1)

    def _losses(
        self,
        logits: Tensor,
        label: Tensor,
        weight: Tensor | None,
        ignore_index: int | None,
        align_corners: bool = False,
        accurate: bool = False,
        shares: Tensor | None = None,
    ) -> BandedLoss:
        """The loss of each image (N,), and the hits."""
        label, correct = comparable(label), None
        if shares is None:
            sums, correct = banded_sums(
                self._terms, logits, label, weight, ignore_index, align_corners, accurate
            )
        else:
            sums = self._sums_of_shares(logits, label, shares, weight, ignore_index)
        seen = labelled(label, ignore_index)
        seen = seen if weight is None else seen & (weight != 0)
        losses = self.of_sums(sums, self.weights_beside(logits))
        return BandedLoss(losses * seen.flatten(1).any(1), correct)

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int | None = USUAL,
    ) -> Tensor:
        """Loss of logits (N, K, ...) at label size; per image with reduction 'none'."""
        label, shares = target, None
        if self.takes_maps:
            label, shares = indices_of(pred, label, type(self).__name__)
        self.check_shapes(pred, label, weight)
        if label.dim() == 1:  # an image of one pixel
            pred, label = pred.unsqueeze(-1), label.unsqueeze(-1)
            shares = None if shares is None else shares.unsqueeze(-1)
            weight = None if weight is None else weight.unsqueeze(-1)
        images = weight if weight is not None and weight.dim() == 1 else None
        pixels = weight if images is None else None
        losses = self._losses(pred, label, pixels, ignore_index, shares=shares).loss
        reduction = reduction_override or self.reduction
        return self.loss_weight * weight_reduce_loss(losses, images, reduction, avg_factor)

    def forward_small(
        self,
        logits: Tensor,
        label: Tensor,
        ignore_index: int | None = USUAL,
        align_corners: bool = False,
        accurate: bool = False,
    ) -> BandedLoss:
        """``forward`` of the logits (N, K, h, w) resized to the label (N, H, W), by bands."""
        losses, correct = self._losses(logits, label, None, ignore_index, align_corners, accurate)
        loss = weight_reduce_loss(losses, None, self.reduction)
        return BandedLoss(self.loss_weight * loss, correct)


class DiceLoss(RegionLoss):
    """1 - 2 |A B| / (|A|^2 + |B|^2) of all classes of an image together.

    Args:
        use_sigmoid: Probabilities are of each class by itself, not of all classes together.
        activate: False takes the logits for probabilities as they are.
        naive_dice: |A| + |B| in the denominator, and ``eps`` once above and once below.
        ignore_index: A class to leave out; 255, the usual one, is none. Which pixels to leave
            out the head says.
        eps: Keeps an image without the classes from dividing by 0.
    """

    takes_maps = True

    def __init__(
        self,
        use_sigmoid: bool = True,
        activate: bool = True,
        reduction: str = 'mean',
        naive_dice: bool = False,
        loss_weight: float = 1.0,
        ignore_index: int | None = USUAL,
        eps: float = 1e-3,
        loss_name: str = 'loss_dice',
    ) -> None:
        super().__init__(loss_weight, loss_name, None, reduction, ignore_index)
        self.use_sigmoid, self.activate = use_sigmoid, activate
        self.naive_dice, self.squared, self.eps = naive_dice, not naive_dice, eps

    def probabilities(self, logits: Tensor) -> Tensor:
        """What is summed of logits (N, K, ...)."""
        if not self.activate:
            return logits
        return logits.sigmoid() if self.use_sigmoid else logits.softmax(1)

    def of_sums(self, sums: Tensor, class_weight: Tensor | None) -> Tensor:
        """Loss of each image (N,) of its sums (N, K, 3)."""
        both, found, wanted = sums[:, self.counted_classes(sums.shape[1])].sum(1).unbind(-1)
        if self.naive_dice:
            return 1 - (2 * both + self.eps) / (found + wanted + self.eps)
        return 1 - 2 * both / (found + wanted + 2 * self.eps)


class TverskyLoss(RegionLoss):
    """1 - TP / (TP + alpha FP + beta FN) of each class of an image, averaged over the classes.

    Args:
        smooth: Added above and below.
        class_weight: One factor per class, or the path of a .npy, .json or .pkl file with them.
        ignore_index: A class to leave out, its pixels with it; 255, the usual one, is none. Which
            other pixels to leave out the head says.
        alpha: Weight of pixels that are taken for the class.
        beta: Weight of pixels of the class that are missed.
    """

    binary_cure = ''

    def __init__(
        self,
        smooth: float = 1,
        class_weight: Sequence[float] | Tensor | str | None = None,
        loss_weight: float = 1.0,
        ignore_index: int | None = USUAL,
        alpha: float = 0.3,
        beta: float = 0.7,
        loss_name: str = 'loss_tversky',
    ) -> None:
        super().__init__(loss_weight, loss_name, class_weight, 'mean', ignore_index)
        self.smooth, self.alpha, self.beta = smooth, alpha, beta

    def _terms(self, band: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        if self.ignore_index not in (None, USUAL):
            weight = weight * (target != self.ignore_index)
        return super()._terms(band, target, weight)

    def of_sums(self, sums: Tensor, class_weight: Tensor | None) -> Tensor:
        """Loss of each image (N,) of its sums (N, K, 3)."""
        hits, found, wanted = sums.unbind(-1)
        whole = hits + self.alpha * (found - hits) + self.beta * (wanted - hits) + self.smooth
        tiny = torch.finfo(whole.dtype).tiny  # without smooth, of a class that is nowhere
        losses = 1 - (hits + self.smooth) / whole.clamp(min=tiny)
        losses = losses if class_weight is None else losses * class_weight
        return losses[:, self.counted_classes(sums.shape[1])].sum(1) / sums.shape[1]
