"""The cross-entropy loss of a decode head, and its way without logits of label size.

Written out, a training step keeps the logits at label size, their log-softmax and the gradients of
both: for 150 classes at 512x512 over a gigabyte. The loss is a scalar, so its gradient with respect
to the small logits is known, up to one factor, as soon as the loss is: a band of label rows at a
time is upsampled, turned into its share of the loss and of the gradient, brought back, and
forgotten. The values are those of ``F.cross_entropy(F.interpolate(logits, size), label)`` to
rounding; so is the gradient.

Legend: logits (N, K, h, w), label (N, H, W), a band (N, K, R, W) with R rows of the label.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from segkit.errors import UserError
from segkit.models.layers import at_least_float32
from segkit.old_names import serve

from .cross_entropy import binary_cross_entropy, cross_entropy
from .reduction import load_class_weight
from .stray_labels import average_factor, comparable, labelled


class BandedLoss(NamedTuple):
    """``loss``: the sum over pixels; ``correct``: how many have their label on top, or None."""

    loss: Tensor
    correct: Tensor | None


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
            raise UserError(
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
            raise UserError(
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
        weight, label = self._class_weight(logits), comparable(label)
        loss, correct = banded_cross_entropy(
            logits, label, weight, ignore_index, align_corners, accurate
        )
        if self.reduction == 'mean':
            factor = average_factor(label, weight, ignore_index, self.avg_non_ignore)
            loss = loss / (factor + torch.finfo(torch.float32).eps)
        return BandedLoss(self.loss_weight * loss, correct)


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


def at_once(device: torch.device) -> AtOnce:
    """What fits the device."""
    return CPU if device.type == 'cpu' else DEVICE


class _Resize:
    """The resize of logits (N, K, h, w) to (H, W) and its adjoint, a band of rows at a time.

    The adjoint is a product with the interpolation matrices, (H, h) and (W, w): faster on a CPU
    than scattering, and on a GPU the same in every run.
    """

    def __init__(self, logits: Tensor, size: tuple[int, int], align: bool) -> None:
        self.logits, self.size, self.align = logits, size, align
        self.bytes, self.columns, self.argmax = at_once(logits.device)

    def bands(self) -> Iterator[tuple[int, int]]:
        """First row and the one after the last of each band."""
        row = self.logits.shape[:2].numel() * self.size[1] * self.logits.element_size()
        rows = max(self.bytes // max(row, 1), LEAST_ROWS)
        for first in range(0, self.size[0], rows):
            yield first, min(first + rows, self.size[0])

    def _source(self, i: Any, axis: int) -> Any:
        """Where output ``i``, a number or a tensor of them, reads, in units of the input."""
        small, large = self.logits.shape[2 + axis], self.size[axis]
        if self.align:
            return i * ((small - 1) / (large - 1) if large > 1 else 0.0)
        return (i + 0.5) * (small / large) - 0.5

    def band(self, first: int, last: int) -> Tensor:
        """Rows [first, last) at label size (N, K, R, W), in memory of their own."""
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

    def matrix(self, axis: int) -> Tensor:
        """The resize of an axis as a matrix (small, large): torch's own resize of the identity."""
        small = self.logits.shape[2 + axis]
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
        self, grad: Tensor, band_grad: Tensor, first: int, last: int, matrices: list[Tensor]
    ) -> None:
        """Add the adjoint of ``band`` into ``grad`` (N, K, h, w)."""
        rows, columns = matrices
        small, large = columns.shape
        narrow = band_grad
        if large > self.columns:
            narrow = band_grad.new_zeros((*band_grad.shape[:3], small))
            for start in range(0, large, self.columns):
                stop = min(start + self.columns, large)
                span = self._span(start, stop, 1)
                narrow[..., span] += band_grad[..., start:stop] @ columns[span, start:stop].t()
        elif small != large:
            narrow = band_grad @ columns.t()
        span = self._span(first, last, 0)
        grad[:, :, span].add_(rows[span, first:last] @ narrow)


def _count_hits(band: Tensor, label: Tensor, argmax: bool) -> Tensor:
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
        small = at_least_float32(logits.detach())
        grad = torch.zeros_like(small) if logits.requires_grad else None
        resize = _Resize(small, (label.shape[1], label.shape[2]), align)
        matrices = [] if grad is None else [resize.matrix(0), resize.matrix(1)]
        losses, hits = [], []
        for first, last in resize.bands():
            rows = label[:, None, first:last]
            valid = labelled(rows, ignore_index)
            target = (rows * valid).long()
            weight = valid.to(small) if weights is None else weights.to(small)[target] * valid
            band = resize.band(first, last)
            if accurate:
                hits.append((_count_hits(band, target, resize.argmax) & valid).sum())
            losses.append(_band_loss(band, target, weight, grad is not None))
            if grad is not None:
                resize.add_back(grad, band, first, last, matrices)
        ctx.save_for_backward(grad)
        ctx.set_materialize_grads(False)
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
        accurate: Also count the pixels whose own class scores highest, the first of equals.

    The gradient is computed with the loss, so it holds for first derivatives only.
    """
    with torch.autocast(logits.device.type, enabled=False):
        out = _BandedCrossEntropy.apply(
            logits, label, class_weight, ignore_index, align_corners, accurate
        )
    return BandedLoss(*out)


serve(__name__)
