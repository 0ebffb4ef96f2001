"""Upsampling, cross-entropy and its gradient together, one band of label rows at a time.

Written out, a training step keeps the logits at label size, their log-softmax and the gradients of
both: for 150 classes at 512x512 over a gigabyte. The loss is a scalar, so its gradient with respect
to the small logits is known, up to one factor, as soon as the loss is: each band is upsampled,
turned into its share of the loss and of the gradient, scattered back, and forgotten. The values are
those of ``F.cross_entropy(F.interpolate(logits, size), label)`` to rounding; so is the gradient.

Legend: logits (N, K, h, w), label (N, H, W), a band (N, K, R, W) with R rows of the label.
"""

from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

At = TypeVar('At', Tensor, float)
BAND_ROWS = 32
BLOCK = 256  # label columns of one product in the adjoint


class BandedLoss(NamedTuple):
    """``loss``: the sum over pixels; ``correct``: how many have their label on top, or None."""

    loss: Tensor
    correct: Tensor | None


class _Taps(NamedTuple):
    """One axis of a bilinear resize: out = (1 - part) * in[top] + part * in[below]."""

    top: Tensor
    below: Tensor
    part: Tensor


def _source(i: At, small: int, large: int, align: bool) -> At:
    """Where output ``i`` of an axis reads, in units of the input."""
    if align:
        return i * ((small - 1) / (large - 1) if large > 1 else 0.0)
    return (i + 0.5) * (small / large) - 0.5


def _taps(small: int, large: int, align: bool, like: Tensor) -> _Taps:
    """Sources and weights of every output of an axis, by F.interpolate's formulas."""
    outputs = torch.arange(large, device=like.device, dtype=torch.float64)
    at = _source(outputs, small, large, align).clamp_(min=0)
    top = at.long().clamp_(max=small - 1)
    return _Taps(top, (top + 1).clamp_(max=small - 1), (at - top).clamp_(0, 1).to(like))


def _matrix(taps: _Taps, small: int) -> Tensor:
    """The resize of an axis as a matrix (large, small)."""
    matrix = taps.part.new_zeros(len(taps.part), small)
    matrix.scatter_add_(1, taps.top[:, None], 1 - taps.part[:, None])
    return matrix.scatter_add_(1, taps.below[:, None], taps.part[:, None])


class _Resize:
    """The resize of logits (N, K, h, w) to (H, W) and its adjoint, a band of rows at a time.

    The adjoint is a product with blocks of the interpolation matrices, (W, w) and (H, h): faster
    on a CPU than scattering, and on a GPU the same in every run.
    """

    def __init__(self, logits: Tensor, size: tuple[int, int], align: bool) -> None:
        (h, w), (height, self.width) = logits.shape[2:], size
        self.logits, self.align = logits, align
        self.rows = _taps(h, height, align, logits)
        self.row_matrix = _matrix(self.rows, h)
        self.matrix = _matrix(_taps(w, self.width, align, logits), w)

    def _row_taps(self, first: int, last: int) -> _Taps:
        top, below, part = (t[first:last] for t in self.rows)
        return _Taps(top, below, part[:, None])

    def band(self, first: int, last: int) -> Tensor:
        """Rows [first, last) at label size (N, K, R, W): rows blended first, then columns."""
        top, below, part = self._row_taps(first, last)
        tall = torch.lerp(self.logits[:, :, top], self.logits[:, :, below], part)
        if self.width == tall.shape[3]:
            return tall
        size = (last - first, self.width)
        return F.interpolate(tall, size, mode='bilinear', align_corners=self.align)

    def _span(self, start: int, stop: int, large: int, small: int) -> tuple[int, int]:
        """Sources [low, high) of outputs [start, stop) of an axis; the matrix is 0 beyond.

        One more on each side than needed, for rounding.
        """
        low = max(int(_source(start, small, large, self.align)) - 1, 0)
        return low, min(int(_source(stop - 1, small, large, self.align)) + 3, small)

    def _columns_back(self, band_grad: Tensor) -> Tensor:
        """(N, K, R, W) -> (N, K, R, w)."""
        w = self.matrix.shape[1]
        out = band_grad.new_zeros((*band_grad.shape[:3], w))
        for start in range(0, self.width, BLOCK):
            stop = min(start + BLOCK, self.width)
            low, high = self._span(start, stop, self.width, w)
            block = self.matrix[start:stop, low:high]
            out[..., low:high] += band_grad[..., start:stop] @ block
        return out

    def add_back(self, grad: Tensor, band_grad: Tensor, first: int, last: int) -> None:
        """Add the adjoint of ``band`` into ``grad`` (N, K, h, w)."""
        if self.width != grad.shape[3]:
            band_grad = self._columns_back(band_grad)
        low, high = self._span(first, last, len(self.row_matrix), grad.shape[2])
        grad[:, :, low:high] += self.row_matrix[first:last, low:high].T @ band_grad


def _band_loss(
    band: Tensor, label: Tensor, weight: Tensor, backward: bool
) -> tuple[Tensor, Tensor]:
    """Weighted loss sum and hits (N, 1, R, W) of a band.

    With ``backward`` the band becomes its gradient.
    label (N, 1, R, W) int64 with every ignored pixel at 0 and ``weight`` (N, 1, R, W) 0 there.
    """
    own = band.gather(1, label)
    top = band.amax(1, keepdim=True)
    hits = own >= top
    total = band.sub_(top).exp_().sum(1, keepdim=True)
    loss = ((total.log() + top - own) * weight).sum()
    if backward:
        band.mul_(weight / total).scatter_add_(1, label, -weight)
    return loss, hits


class _BandedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        label: Tensor,
        weights: Tensor | None,
        ignore_index: int,
        align: bool,
        accurate: bool,
    ) -> tuple[Tensor, Tensor | None]:
        small = logits.detach().to(torch.promote_types(logits.dtype, torch.float32))
        grad = torch.zeros_like(small) if logits.requires_grad else None
        height = label.shape[1]
        resize = _Resize(small, (height, label.shape[2]), align)
        losses, hits = [], []
        for first in range(0, height, BAND_ROWS):
            last = min(first + BAND_ROWS, height)
            target = label[:, None, first:last].long()
            valid = target != ignore_index
            target = target.masked_fill(~valid, 0)
            weight = valid.to(small) if weights is None else weights.to(small)[target] * valid
            band = resize.band(first, last)
            loss, hit = _band_loss(band, target, weight, grad is not None)
            if grad is not None:
                resize.add_back(grad, band, first, last)
            losses.append(loss)
            if accurate:
                hits.append((hit & valid).sum())
        ctx.save_for_backward(grad)
        ctx.dtype = logits.dtype
        correct = torch.stack(hits).sum() if accurate else None
        if accurate:
            ctx.mark_non_differentiable(correct)
        return torch.stack(losses).sum(), correct

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
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
        accurate: Also count the pixels whose own class scores highest (ties count as hits).

    The gradient is computed with the loss, so it holds for first derivatives only.
    """
    with torch.autocast(logits.device.type, enabled=False):
        out = _BandedCrossEntropy.apply(
            logits, label, class_weight, ignore_index, align_corners, accurate
        )
    return BandedLoss(*out)
