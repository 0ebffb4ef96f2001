"""Labels given as maps in the shape of the logits: which share of a pixel is of which class.

A one-hot map is what its class indices are, and is turned into those; only shares that are none
(soft labels, classes that overlap, pixels of no class) are compared number by number.
"""

import torch
from torch import Tensor

from segkit.errors import UserError

from .stray_labels import comparable


def indices_of(pred: Tensor, label: Tensor, who: str) -> tuple[Tensor, Tensor | None]:
    """Class indices (N, ...) and, where they say less than the map, the shares (N, K, ...).

    Args:
        pred: (N, K, ...), the logits.
        label: (N, ...) class indices, which stay as they are, or a map (N, K, ...).
        who: The loss, for the message.

    Returns:
        The indices, of a map those of the largest shares (a pixel counts unless its index is the
        ignored one; the map of one channel is its own labels), and the shares or None.

    Raises:
        UserError: A share is not in [0, 1].
    """
    if label.shape != pred.shape:
        return label, None
    label = comparable(label)
    if label.shape[1] == 1:
        index = label.squeeze(1)
        whole = not label.is_floating_point() or bool((index == index.trunc()).all())
        index = index.long() if whole else index
        shares = None if whole else label.to(pred)
    else:
        index = label.long().argmax(1) if label.dtype == torch.bool else label.argmax(1)
        hot = torch.zeros_like(label).scatter_(1, index.unsqueeze(1), 1)
        shares = None if torch.equal(hot, label) else label.to(pred)
    if shares is not None and not bool(((shares >= 0) & (shares <= 1)).all()):
        raise UserError(
            f'{who}: the labels have the shape of the logits, {tuple(pred.shape)}, but values '
            'outside 0 to 1. Give the share of each class, or one class index for each pixel.'
        )
    return index, shares
