"""How sure a network is: probabilities of all classes, and of the class it chose, for each pixel.

Of one view they are the softmax of its logits at the original size, of several the mean of their
probabilities; a binary head's one channel p stands for the two classes 1 - p and p. A probability
of the chosen class below a threshold can be read as "unknown".

Legend: K classes; (H, W) the original image. Nothing of K full-size maps is held for `confidence`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from segkit.errors import UserError

from .logits import ImageLogits, bytes_at_once, row_strips
from .views import MeanOfViews, ViewStack, peak_and_total

UNKNOWN = 255  # in a map of classes, where it also stands for ignored pixels


def probabilities(image: ImageLogits | MeanOfViews) -> Tensor:
    """(K, H, W) float32, summing to 1 over the classes; (2, H, W) of a binary head."""
    scores = image.scores()
    if len(scores) == 1:
        return torch.cat([1 - scores, scores])
    if isinstance(image, ImageLogits):
        for rows in row_strips(scores):
            scores[:, rows] = torch.softmax(scores[:, rows], dim=0)
    return scores


def confidence(image: ImageLogits | MeanOfViews, threshold: float) -> Tensor:
    """(1, H, W) float32: the probability of the class that was chosen.

    Args:
        threshold: at which a binary head's one channel becomes class 1.
    """
    if image.num_channels == 1:
        one = image.scores()
        return torch.where(one > threshold, one, 1 - one)
    if isinstance(image, ImageLogits):
        chunk = image.chunk(bytes_at_once(image.logits.small))
        return peak_and_total(image, chunk)[1].reciprocal_()[None]
    if isinstance(image, ViewStack):
        return image.confidence()[None]
    return image.scores().amax(dim=0, keepdim=True)


def unknown_below(test_cfg: Mapping[str, object], num_classes: int) -> float | None:
    """The least confidence of a class that is taken, None where all are.

    Raises:
        UserError: it is no share, or there are so many classes that 255 is one of them.
    """
    least = test_cfg.get('unknown_below')
    if least is None:
        return None
    if not isinstance(least, (int, float)) or isinstance(least, bool) or not 0 < least <= 1:
        raise UserError(f'model.test_cfg.unknown_below={least!r} must be in (0, 1].')
    if num_classes > UNKNOWN:
        raise UserError(
            f'model.test_cfg.unknown_below: an unknown pixel is written as {UNKNOWN}, which is one '
            f"of this network's {num_classes} classes. Use keep_confidence=True and compare."
        )
    return float(least)
