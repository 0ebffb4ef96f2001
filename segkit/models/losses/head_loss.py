"""What the losses of decode heads share: a factor, a name, class weights."""

import warnings
from collections.abc import Sequence
from numbers import Real

import torch
from torch import Tensor, nn

from segkit.errors import UserError

from .class_weight import load_class_weight
from .reduction import check_reduction
from .stray_labels import BINARY_CURE


class HeadLoss(nn.Module):
    """Base of the losses; one is called with logits (N, K, ...), labels (N, ...) and, by keyword,
    ``weight`` of each pixel, ``avg_factor``, ``reduction_override`` and ``ignore_index``.

    Args:
        loss_name: Key in the loss dict; only names that contain 'loss' enter the total. Losses of
            one head under the same name are summed.
        class_weight: One factor per class, or the path of a .npy, .json or .pkl file with them.
        nested: Whether class weights may be of any shape that spreads over the logits.
    """

    per_pixel = True  # with reduction 'none' each pixel has a value of its own
    one_channel = False  # compares one channel with labels of 0 and 1, and no more than one
    binary_cure = BINARY_CURE  # how one channel is trained, where a softmax cannot
    use_sigmoid = False
    _weights: Tensor | None

    def __init__(
        self,
        loss_weight: float,
        loss_name: str,
        class_weight: Sequence[float] | Tensor | str | None = None,
        reduction: str = 'mean',
        nested: bool = False,
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        self.number('loss_weight', loss_weight)
        if not isinstance(loss_name, str):
            raise UserError(
                f"{type(self).__name__}: loss_name={loss_name!r} is no text, like 'loss_own'."
            )
        if 'loss' not in loss_name:
            warnings.warn(
                f'{type(self).__name__}: loss_name={loss_name!r} holds no "loss", so the loss is '
                f"logged and not trained by. To train by it: loss_name='loss_{loss_name}'.",
                stacklevel=3,
            )
        self.loss_weight, self.reduction, self._loss_name = loss_weight, reduction, loss_name
        self.class_weight = weights = load_class_weight(class_weight, nested)
        held = None if weights is None else torch.tensor(weights, dtype=torch.float32)
        # A buffer, since a copy from a list makes the host wait for a GPU at every step; and not
        # in the state, where the published files have no such key.
        self.register_buffer('_weights', held, persistent=False)

    @property
    def loss_name(self) -> str:
        return self._loss_name

    def extra_repr(self) -> str:
        return f'loss_weight={self.loss_weight}'

    def number(self, name: str, value: object) -> None:
        """Refuse an argument that is no number."""
        if isinstance(value, bool) or not isinstance(value, Real):
            raise UserError(f'{type(self).__name__}: {name}={value!r} is no number.')

    def weights_beside(self, pred: Tensor) -> Tensor | None:
        """The class weights (K,) on the device of ``pred`` (N, K, ...), checked against it."""
        if self._weights is None:
            return None
        if self._weights.dim() > 1:
            return self._spread(self._weights, pred.shape).to(pred.device)
        if len(self._weights) != pred.shape[1]:
            raise UserError(
                f'{type(self).__name__}: class_weight has {len(self._weights)} values, the head '
                f'predicts {pred.shape[1]} classes. Give one value per class.'
            )
        return self._weights.to(pred.device)

    def _spread(self, weights: Tensor, shape: torch.Size) -> Tensor:
        """Class weights of several dimensions in the shape of the logits."""
        try:
            return weights.expand(shape)
        except RuntimeError:
            raise UserError(
                f'{type(self).__name__}: class_weight of shape {tuple(weights.shape)} does not '
                f'spread over logits of {tuple(shape)}. Give one value per class.'
            ) from None

    def check_shapes(self, pred: Tensor, label: Tensor, weight: Tensor | None) -> None:
        """Refuse labels or weights that are not one for each pixel of ``pred``."""
        name, want = type(self).__name__, pred.shape[:1] + pred.shape[2:]
        if self.one_channel and pred.shape[1] != 1:
            raise UserError(
                f'{name} compares one channel with labels of 0 and 1, and is given '
                f'{pred.shape[1]}. Set num_classes=2 and out_channels=1 in the head.'
            )
        if label.shape != want:
            raise UserError(
                f'{name}: the labels are {tuple(label.shape)}, but logits of {tuple(pred.shape)} '
                f'need {tuple(want)}: one class for each pixel.'
            )
        if weight is not None and weight.shape not in (want, want[:1]):
            raise UserError(
                f'A weight of shape {tuple(weight.shape)} does not fit a loss of shape '
                f'{tuple(want)}: give one number for each pixel.'
            )


def of_pixels(weight: Tensor, label: Tensor) -> Tensor:
    """Weights in the shape of the label (N, ...); a weight (N,) is that of the images."""
    ones = [1] * (label.dim() - weight.dim())
    return weight.view(len(weight), *ones, *weight.shape[1:]).expand(label.shape)
