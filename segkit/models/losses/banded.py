"""Upsampling, cross-entropy and its gradient together, one band of label rows at a time.

Written out, a training step keeps the logits at label size, their log-softmax and the gradients of
both: for 150 classes at 512x512 over a gigabyte. The loss is a scalar, so its gradient with respect
to the small logits is known, up to one factor, as soon as the loss is: each band is upsampled,
turned into its share of the loss and of the gradient, scattered back, and forgotten. The values are
those of ``F.cross_entropy(F.interpolate(logits, size), label)`` to rounding; so is the gradient.

Legend: logits (N, K, h, w), label (N, H, W), a band (N, K, R, W) with R rows of the label.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

BAND_ROWS = 32


class BandedLoss(NamedTuple):
    """``loss``: the sum over pixels; ``correct``: how many have their label on top, or None."""

    loss: Tensor
    correct: Tensor | None


class _Rows(NamedTuple):
    """Rows of a vertical bilinear resize: out[i] = (1 - part) * in[top] + part * in[below]."""

    top: Tensor
    below: Tensor
    part: Tensor


def _rows(first: int, last: int, small: int, large: int, align: bool, like: Tensor) -> _Rows:
    """Source rows and weights of the output rows [first, last), by F.interpolate's formulas."""
    at = torch.arange(first, last, device=like.device, dtype=like.dtype)
    if align:
        at = at * ((small - 1) / (large - 1) if large > 1 else 0.0)
    else:
        at = ((at + 0.5) * (small / large) - 0.5).clamp_(min=0)
    top = at.long().clamp_(max=small - 1)
    part = (at - top).clamp_(0, 1)[:, None]
    return _Rows(top, (top + 1).clamp_(max=small - 1), part)


def _upsample_band(logits: Tensor, rows: _Rows, width: int, align: bool) -> Tensor:
    """The band at label size: rows blended first, then columns."""
    tall = torch.lerp(logits[:, :, rows.top], logits[:, :, rows.below], rows.part)
    if width == logits.shape[3]:
        return tall
    return F.interpolate(tall, (tall.shape[2], width), mode='bilinear', align_corners=align)


def _scatter_band(grad: Tensor, band_grad: Tensor, rows: _Rows, align: bool) -> None:
    """Adjoint of ``_upsample_band``, added into ``grad`` (N, K, h, w)."""
    n, k, _, w = grad.shape
    count = band_grad.shape[2]
    if band_grad.shape[3] != w:
        band_grad = torch.ops.aten.upsample_bilinear2d_backward(
            band_grad, band_grad.shape[2:], (n, k, count, w), align, None, None
        )
    below = band_grad * rows.part
    grad.index_add_(2, rows.below, below)
    grad.index_add_(2, rows.top, band_grad.sub_(below))


def _band_loss(
    band: Tensor, label: Tensor, weight: Tensor, accurate: bool, backward: bool
) -> tuple[Tensor, Tensor | None]:
    """Weighted loss sum and hits of one band; with ``backward`` the band becomes its gradient.

    label (N, 1, R, W) int64 with every ignored pixel at 0 and ``weight`` (N, 1, R, W) 0 there.
    """
    own = band.gather(1, label)
    top = band.amax(1, keepdim=True)
    hits = ((own >= top) & (weight != 0)).sum() if accurate else None
    total = band.sub_(top).exp_().sum(1, keepdim=True)
    loss = ((total.log() + top - own) * weight).sum()
    if backward:
        band.mul_(weight / total).scatter_add_(1, label, -weight)
    return loss, hits


class _BandedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, label, weights, ignore_index, align, accurate):
        small = logits.detach().to(torch.promote_types(logits.dtype, torch.float32))
        grad = torch.zeros_like(small) if logits.requires_grad else None
        height, width = label.shape[1:]
        losses, hits = [], []
        for first in range(0, height, BAND_ROWS):
            last = min(first + BAND_ROWS, height)
            target = label[:, None, first:last].long()
            valid = target != ignore_index
            target = target.masked_fill_(~valid, 0)
            weight = valid.to(small) if weights is None else weights.to(small)[target] * valid
            rows = _rows(first, last, small.shape[2], height, align, small)
            band = _upsample_band(small, rows, width, align)
            loss, hit = _band_loss(band, target, weight, accurate, grad is not None)
            if grad is not None:
                _scatter_band(grad, band, rows, align)
            losses.append(loss)
            hits.append(hit)
        ctx.save_for_backward(grad)
        ctx.dtype = logits.dtype
        correct = torch.stack(hits).sum() if accurate else None
        if accurate:
            ctx.mark_non_differentiable(correct)
        return torch.stack(losses).sum(), correct

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_loss, _):
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
