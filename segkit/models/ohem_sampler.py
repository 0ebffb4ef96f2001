"""Choosing the pixels that enter a loss (online hard example mining, arXiv:1604.03540).

Legend: seg_logit (N, K, H, W) at label size, seg_label (N, 1, H, W); the result (N, H, W) is 1
where a pixel is kept and 0 elsewhere, and multiplies the per-pixel loss.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from segkit.errors import UserError
from segkit.models.layers import at_least_float32


def build_pixel_sampler(cfg: Mapping[str, object], **default_args: object) -> 'BasePixelSampler':
    """The sampler of ``cfg['type']``; ``context`` is the head it serves."""
    from segkit.registry import build_ours  # mmengine's registries stand there, too

    return build_ours(cfg, 'TASK_UTILS', **default_args)


class Context(Protocol):
    """What a sampler reads of the head it serves."""

    ignore_index: int
    loss_decode: nn.Module


class BasePixelSampler(ABC):
    """A sampler turns logits and labels into a weight per pixel."""

    @abstractmethod
    def sample(self, seg_logit: Tensor, seg_label: Tensor) -> Tensor:
        """Weights (N, H, W) of logits (N, K, H, W) and labels (N, 1, H, W)."""


class OHEMPixelSampler(BasePixelSampler):
    """Keeps the hard pixels: those of low confidence, or those of the highest loss.

    Args:
        context: The head, for its losses and its ignore_index.
        thresh: Keep pixels whose own class has a probability below this; None ranks by loss. The
            probability is the softmax's, for a binary head of one channel the sigmoid's.
        min_kept: At least this many pixels per image are kept (per batch: times its images).
    """

    def __init__(
        self, context: Context, thresh: float | None = None, min_kept: int = 100000
    ) -> None:
        if min_kept <= 1:
            raise UserError(f'OHEMPixelSampler: min_kept must be above 1, got {min_kept}.')
        self.context, self.thresh, self.min_kept = context, thresh, min_kept

    @torch.no_grad()
    def sample(self, seg_logit: Tensor, seg_label: Tensor) -> Tensor:
        """Weights of 0 and 1; ignored pixels get 0."""
        seg_logit = at_least_float32(seg_logit)
        label = seg_label.reshape(len(seg_logit), *seg_logit.shape[2:]).long()
        valid = label != self.context.ignore_index
        kept = self.min_kept * len(label)
        weight = seg_logit.new_zeros(label.shape)
        if not valid.any():
            return weight
        if self.thresh is None:
            weight[valid] = self._hardest(self._losses(seg_logit, label)[valid], kept)
        else:
            own = self._own_probability(seg_logit, label.masked_fill(~valid, 0))
            weight[valid] = self._unsure(own[valid], kept).to(weight)
        return weight

    def _own_probability(self, seg_logit: Tensor, label: Tensor) -> Tensor:
        """Probability of each pixel's own class, (N, H, W); of one channel by its sigmoid."""
        if seg_logit.shape[1] == 1:
            positive = seg_logit.squeeze(1)
            return torch.where(label == 1, positive, -positive).sigmoid()
        own = seg_logit.gather(1, label.unsqueeze(1)).squeeze(1)
        return (own - seg_logit.logsumexp(1)).exp()

    def _unsure(self, own: Tensor, kept: int) -> Tensor:
        """Below the threshold, which rises until ``kept`` pixels are below it."""
        rank = min(kept, own.numel() - 1)
        floor = own.kthvalue(rank + 1).values
        return own < floor.clamp(min=self.thresh)

    def _losses(self, seg_logit: Tensor, label: Tensor) -> Tensor:
        """Sum of the head's losses per pixel, (N, H, W); of a sigmoid loss over its classes too.

        Losses of whole images say nothing of a pixel.
        """
        ignore, losses = self.context.ignore_index, self.context.loss_decode
        several = list(losses) if isinstance(losses, nn.ModuleList) else [losses]
        ranking = [loss for loss in several if getattr(loss, 'per_pixel', True)]
        if not ranking:
            raise UserError(
                f'OHEMPixelSampler without thresh ranks pixels by their loss, and '
                f'{type(several[0]).__name__} is one of whole images: set thresh=0.7 in the '
                "sampler, or add dict(type='CrossEntropyLoss') to loss_decode."
            )
        each = [
            loss(seg_logit, label, weight=None, ignore_index=ignore, reduction_override='none')
            for loss in ranking
        ]
        return torch.as_tensor(sum(x.sum(1) if x.dim() > label.dim() else x for x in each))

    def _hardest(self, losses: Tensor, kept: int) -> Tensor:
        """1 for the ``kept`` highest losses."""
        chosen = torch.zeros_like(losses)
        chosen[losses.topk(min(kept, losses.numel())).indices] = 1
        return chosen
