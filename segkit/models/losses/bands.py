"""Losses by bands of label rows: the resize of small logits and its adjoint, a band at a time.

A band is upsampled, used, and forgotten: logits of label size never exist as a whole.

Legend: logits (N, K, h, w), label (N, H, W), a band (N, K, R, W) with R rows of the label.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from segkit.models.layers import at_least_float32
from segkit.ops.autograd_context import Context

from .stray_labels import labelled

_Place = TypeVar('_Place', float, Tensor)


class BandedLoss(NamedTuple):
    """``loss``: the sum over pixels; ``correct``: how many have their label on top, or None."""

    loss: Tensor
    correct: Tensor | None


class AtOnce(NamedTuple):
    """How much is done at once: bytes of a band, label columns of one product back, and whether
    hits are counted by an argmax over classes."""

    bytes: int
    columns: int
    argmax: bool


# On a CPU a band stays in a core's caches, a block of columns meets few zeros of the matrix, and an
# argmax over classes takes longer than all the rest. What launches kernels wants few large ones.
CPU, DEVICE = AtOnce(4 << 20, 256, argmax=False), AtOnce(128 << 20, 1 << 30, argmax=True)
LEAST_ROWS = 8


class Band(NamedTuple):
    """Rows [first, last) of the label: logits (N, K, R, W) in memory of their own, target
    (N, 1, R, W) int64 with 0 where ignored, and where it is not."""

    first: int
    last: int
    logits: Tensor
    target: Tensor
    valid: Tensor

    def weights(self, weight: Tensor | None) -> Tensor:
        """Of its pixels, 0 where ignored; ``weight`` is of all rows."""
        weights = self.valid.to(self.logits)
        return weights if weight is None else weights * weight[:, :, self.first : self.last]

    def hits(self, argmax: bool) -> Tensor:
        """How many pixels have their label on top."""
        return (count_hits(self.logits, self.target, argmax) & self.valid).sum()


class BandedResize:
    """The resize of logits (N, K, h, w) to a label (N, H, W) and its adjoint, by bands of rows.

    The adjoint is a product with the interpolation matrices, (H, h) and (W, w): faster on a CPU
    than scattering, and on a GPU the same in every run.
    """

    def __init__(
        self, logits: Tensor, label: Tensor, ignore_index: int | None, align: bool
    ) -> None:
        self.logits, self.label, self.ignore_index = logits, label, ignore_index
        self.size, self.align = (label.shape[1], label.shape[2]), align
        self.bytes, self.columns, self.argmax = CPU if logits.device.type == 'cpu' else DEVICE

    def bands(self) -> Iterator[Band]:
        """The logits and labels, from the first row to the last."""
        row = self.logits.shape[:2].numel() * self.size[1] * self.logits.element_size()
        rows = max(self.bytes // max(row, 1), LEAST_ROWS)
        for first in range(0, self.size[0], rows):
            last = min(first + rows, self.size[0])
            label = self.label[:, None, first:last]
            valid = labelled(label, self.ignore_index)
            yield Band(first, last, self._rows(first, last), (label * valid).long(), valid)

    def _source(self, i: _Place, axis: int) -> _Place:
        """Where output ``i``, a number or a tensor of them, reads, in units of the input."""
        small, large = self.logits.shape[2 + axis], self.size[axis]
        if self.align:
            return i * ((small - 1) / (large - 1) if large > 1 else 0.0)
        return (i + 0.5) * (small / large) - 0.5

    def _rows(self, first: int, last: int) -> Tensor:
        """Logits of these rows at label size."""
        if (first, last) == (0, self.size[0]):
            return self._interpolate(self.logits, self.size)
        rows = torch.arange(first, last, device=self.logits.device, dtype=torch.float64)
        at, end = self._source(rows, 0).clamp_(min=0), self.logits.shape[2] - 1
        top = at.long().clamp_(max=end)
        part = (at - top).clamp_(0, 1).to(self.logits.dtype)[:, None]
        below = (top + 1).clamp_(max=end)
        tall = torch.lerp(self.logits[:, :, top], self.logits[:, :, below], part)
        return self._interpolate(tall, (last - first, self.size[1]))

    def _interpolate(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        if x.shape[2:] == size:
            return x.clone() if x is self.logits else x
        return F.interpolate(x, size, mode='bilinear', align_corners=self.align)

    def matrix(self, axis: int) -> Tensor | None:
        """The resize of an axis as a matrix (small, large): torch's own resize of the identity.

        None where the axis keeps its size.
        """
        small = self.logits.shape[2 + axis]
        if small == self.size[axis]:
            return None
        identity = torch.eye(small, device=self.logits.device, dtype=self.logits.dtype)[None]
        size = self.size[axis]
        return F.interpolate(identity, size, mode='linear', align_corners=self.align)[0]

    def _span(self, start: int, stop: int, axis: int) -> slice:
        """Sources of outputs [start, stop) of an axis; the matrix is 0 beyond.

        One more on each side than needed, for rounding.
        """
        low = max(int(self._source(start, axis)) - 1, 0)
        return slice(low, min(int(self._source(stop - 1, axis)) + 3, self.logits.shape[2 + axis]))

    def add_back(
        self, grad: Tensor, band_grad: Tensor, band: Band, matrices: list[Tensor | None]
    ) -> None:
        """Add the gradient of a band's logits to that of the small ones, ``grad`` (N, K, h, w)."""
        first, last = band[:2]
        rows, columns = matrices
        narrow = band_grad if columns is None else self._narrow(band_grad, columns)
        if rows is None:
            grad[:, :, first:last].add_(narrow)
            return
        span = self._span(first, last, 0)
        grad[:, :, span].add_(rows[span, first:last] @ narrow)

    def _narrow(self, band_grad: Tensor, columns: Tensor) -> Tensor:
        """The adjoint of the resize of columns, (N, K, R, w)."""
        small, large = columns.shape
        if large <= self.columns:
            return band_grad @ columns.t()
        narrow = band_grad.new_zeros((*band_grad.shape[:3], small))
        for start in range(0, large, self.columns):
            stop = min(start + self.columns, large)
            span = self._span(start, stop, 1)
            narrow[..., span] += band_grad[..., start:stop] @ columns[span, start:stop].t()
        return narrow


def count_hits(band: Tensor, label: Tensor, argmax: bool) -> Tensor:
    """Where the label (N, 1, R, W) is the argmax of the band: the first of the highest scores.

    Comparing the own score with the highest of the others says so too, wherever the two differ.
    """
    if argmax:
        return band.argmax(1, keepdim=True) == label
    own = band.gather(1, label)
    others = band.scatter_(1, label, -torch.inf).amax(1, keepdim=True)
    band.scatter_(1, label, own)
    hits = own > others
    image, _, row, column = (own == others).nonzero(as_tuple=True)
    if len(image):
        first = band[image, :, row, column].argmax(1)
        hits[image, 0, row, column] = first == label[image, 0, row, column]
    return hits


# A band (N, K, R, W), its labels (N, 1, R, W) int64 with 0 where ignored, and the weight of each
# pixel (N, 1, R, W), or of each number, 0 where ignored -> sums over its pixels, of any shape.
Terms = Callable[[Tensor, Tensor, Tensor], Tensor]


class _Kept(Context, Protocol):
    ignore_index: int | None
    align: bool
    terms: Terms
    eager: bool
    dtype: torch.dtype


class _BandedSums(torch.autograd.Function):
    """Bands are made anew for the gradient, which hangs on what is made of the sums; that of one
    sum alone may be known with it, but for a factor (``eager``)."""

    @staticmethod
    def forward(
        ctx: _Kept,
        logits: Tensor,
        label: Tensor,
        weight: Tensor | None,
        ignore_index: int | None,
        align: bool,
        accurate: bool,
        terms: Terms,
        eager: bool,
    ) -> tuple[Tensor, Tensor | None]:
        ctx.set_materialize_grads(False)
        ctx.ignore_index, ctx.align, ctx.terms = ignore_index, align, terms
        ctx.eager, ctx.dtype = eager, logits.dtype
        small = at_least_float32(logits.detach())
        resize = BandedResize(small, label, ignore_index, align)
        grad = torch.zeros_like(small) if eager else None
        matrices = [resize.matrix(0), resize.matrix(1)] if eager else []
        sums, hits = [], []
        for band in resize.bands():
            if accurate:
                hits.append(band.hits(resize.argmax))
            sums.append(terms(band.logits, band.target, band.weights(weight)))
            if grad is not None:
                resize.add_back(grad, band.logits, band, matrices)
        ctx.save_for_backward(*((logits, label, weight) if grad is None else (grad,)))
        correct = torch.stack(hits).sum() if accurate else None
        if correct is not None:
            ctx.mark_non_differentiable(correct)
        return torch.stack(sums).sum(0), correct

    @staticmethod
    @once_differentiable
    def backward(
        ctx: _Kept, grad_sums: Tensor | None, _: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        if grad_sums is None:
            return (None,) * 8
        whole, *others = ctx.saved_tensors
        if ctx.eager:
            return (whole * grad_sums).to(ctx.dtype), *(None,) * 7
        label, weight = others
        small = at_least_float32(whole.detach())
        resize = BandedResize(small, label, ctx.ignore_index, ctx.align)
        grad, matrices = torch.zeros_like(small), [resize.matrix(0), resize.matrix(1)]
        with torch.autocast(whole.device.type, enabled=False):
            for band in resize.bands():
                logits = band.logits.requires_grad_()
                with torch.enable_grad():
                    part = ctx.terms(logits, band.target, band.weights(weight))
                (band_grad,) = torch.autograd.grad(part, logits, grad_sums)
                resize.add_back(grad, band_grad, band, matrices)
        return grad.to(ctx.dtype), *(None,) * 7


def banded_sums(
    terms: Terms,
    logits: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    ignore_index: int | None = 255,
    align_corners: bool = False,
    accurate: bool = False,
    eager: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """``terms`` of ``logits`` resized bilinearly to the label, added up over bands of its rows.

    Args:
        logits: (N, K, h, w), or (N, K, ...) of any dimensions that are those of the label.
        label: (N, H, W), or (N, ...); integers in [0, K) or ``ignore_index``.
        weight: of each pixel, in the shape of the label, or of each number, in that of logits
            of label size.
        accurate: also count the pixels whose own class scores highest.
        eager: ``terms`` is one number and leaves its gradient in the band.

    Returns:
        The sums, whose first derivatives with respect to ``logits`` are known, and the count, None
        if it is not asked for or there is one channel alone.
    """
    label = label.contiguous()  # sums in one order
    each = weight is not None and weight.dim() > label.dim()
    if logits.dim() != 4:
        logits = logits.reshape(*logits.shape[:2], 1, -1)
    if label.dim() != 3:
        label = label.reshape(len(label), 1, -1)
    if weight is not None:
        channels = logits.shape[1] if each else 1
        weight = weight.detach().reshape(len(label), channels, *label.shape[1:])
    counts = accurate and logits.shape[1] > 1
    with torch.autocast(logits.device.type, enabled=False):
        sums, correct = _BandedSums.apply(
            logits, label, weight, ignore_index, align_corners, counts, terms, eager
        )
    return sums, correct


def own_channel(target: Tensor, channels: int) -> Tensor:
    """Where each of the channels is that of the label (N, 1, ...): bool (N, channels, ...).

    One channel alone is that of label 1.
    """
    if channels == 1:
        return target == 1
    index = torch.arange(channels, device=target.device)
    return target == index.view(-1, *[1] * (target.dim() - 2))
