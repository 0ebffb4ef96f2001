"""The losses of a decode head from its small logits: by bands where a loss can, written out else.

Legend: logits (N, K, h, w), label (N, 1, H, W).
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from segkit.models.losses import accuracy
from segkit.models.losses.accuracy import percent
from segkit.models.losses.utils import loss_list

if TYPE_CHECKING:
    from .decode_head import BaseDecodeHead

Maker = Callable[[], Tensor]


def head_losses(
    head: 'BaseDecodeHead', logits: Tensor, label: Tensor, with_accuracy: bool = True
) -> dict[str, Tensor]:
    """Every loss of ``head.loss_decode`` under its name (same names add up), and 'acc_seg'.

    The logits are upsampled as a whole only if a sampler, or a loss that knows no bands, asks.
    """

    size = label.shape[2:]

    @cache
    def full() -> Tensor:
        return head._resize(logits, size)

    weight = head.sampler.sample(full(), label) if head.sampler is not None else None
    label = label.squeeze(1)
    losses: dict[str, Tensor] = {}
    correct = None
    for loss in loss_list(head.loss_decode):
        if weight is None and getattr(loss, 'takes_small_logits', False):
            wanted = with_accuracy and correct is None
            value, hits = loss.forward_small(
                logits, label, head.ignore_index, head.align_corners, wanted
            )
            correct = hits if wanted else correct
        else:
            value = loss(full(), label.long(), weight=weight, ignore_index=head.ignore_index)
        name = loss.loss_name
        losses[name] = losses[name] + value if name in losses else value
    if with_accuracy:
        losses['acc_seg'] = _accuracy(head, full, label, correct)
    return losses


def _accuracy(head: 'BaseDecodeHead', full: Maker, label: Tensor, correct: Tensor | None) -> Tensor:
    """Percent of labelled pixels that are right, (1,); from the bands' count if they made one."""
    if correct is not None:
        return percent(correct, (label != head.ignore_index).sum())
    with torch.no_grad():
        scores = full().detach()
        if head.out_channels == 1:  # one score: two classes by threshold, not an argmax over one
            positive = scores.sigmoid() > head.threshold
            scores = torch.cat([~positive, positive], dim=1).float()
        return accuracy(scores, label, ignore_index=head.ignore_index)
