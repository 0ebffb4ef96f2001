"""The mean of softmax scores over views of one image (multi-scale and flip testing).

Source: the protocol of the published "ms+flip" columns. Every view's logits are resized to the
original image, turned to probabilities, mirrored back; the mean over views decides.

Two ways to the same classes:

    streaming   keeps the sum (K, H, W) and one view's logits beside it. Memory does not depend on
                how many views there are.
    by class    above the memory budget: keeps each view's *small* logits and two (H, W) maps, a
                value near its largest logit and the softmax denominator relative to that, then sums
                the views' probabilities one class at a time. K full-size maps are never held.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .classes import argmax_classes, class_dtype, row_strips
from .logits import Logits
from .memory import channel_chunk, run_shrinking

# The reference of a softmax cancels out, so bfloat16 serves as long as exp(its rounding error)
# is finite: half an ulp of 2^13 is 16.
LARGEST_BF16_REFERENCE = 2**13


@dataclass
class ViewSum:
    """Streaming: the sum of the views' probabilities."""

    total: Tensor | None = None
    buffer: Tensor | None = None
    count: int = 0

    def add(self, logits: Logits, chunk: int) -> None:
        if self.total is None:
            shape = (logits.num_channels, *logits.geometry.ori_shape)
            self.total = logits.small.new_zeros(shape)
            self.buffer = torch.empty_like(self.total)
        run_shrinking(lambda classes: self._fill(logits, classes), chunk, 'classes')
        for rows in row_strips(self.total):
            self.total[:, rows] += _probabilities(self.buffer[:, rows])
        self.count += 1

    def _fill(self, logits: Logits, chunk: int) -> None:
        """The buffer with one view's logits, ``chunk`` classes at a time."""
        for start in range(0, logits.num_channels, chunk):
            stop = min(start + chunk, logits.num_channels)
            self.buffer[start:stop] = logits.channels(start, stop)

    def scores(self) -> Tensor:
        """Mean probabilities (K, H, W); no further view can be added."""
        self.buffer = None
        return self.total.div_(self.count)

    def classes(self, threshold: float) -> Tensor:
        return argmax_classes(self.scores(), threshold)


@dataclass
class ViewStack:
    """By class: small logits, reference and denominator of every view."""

    views: list[tuple[Logits, Tensor, Tensor]] = field(default_factory=list)

    def add(self, logits: Logits, chunk: int) -> None:
        self.views.append((logits, *_denominator(logits)))

    def _score(self, channel: int) -> Tensor:
        """Mean probability of one class, (H, W)."""
        total = 0
        for logits, reference, denominator in self.views:
            value = logits.channels(channel, channel + 1)[0]
            if logits.num_channels == 1:
                total = total + value.sigmoid()
            else:
                total = total + (value - reference).exp_().div_(denominator)
        return total / len(self.views)

    def scores(self) -> Tensor:
        """Mean probabilities (K, H, W)."""
        return torch.stack([self._score(c) for c in range(self.views[0][0].num_channels)])

    def classes(self, threshold: float) -> Tensor:
        best = self._score(0)
        count = self.views[0][0].num_channels
        if count == 1:
            return (best > threshold).to(torch.uint8)[None]
        classes = torch.zeros(best.shape, dtype=class_dtype(count), device=best.device)
        for channel in range(1, count):
            score = self._score(channel)
            classes.masked_fill_(score > best, channel)
            torch.maximum(best, score, out=best)
        return classes[None]


def merge_views(views: Iterable[Logits], budget: int) -> ViewSum | ViewStack:
    """Add the views one by one as they come; the first decides which way fits ``budget`` bytes."""
    merged, chunk = None, 1
    for logits in views:
        if merged is None:
            height, width = logits.geometry.ori_shape
            full = 2 * 4 * logits.num_channels * height * width
            merged = ViewSum() if full <= budget else ViewStack()
            pixels = max(height * width, logits.size[0] * logits.size[1])
            chunk = channel_chunk(logits.num_channels, pixels, budget, logits.small.device)
        merged.add(logits, chunk)
    return merged


def _probabilities(logits: Tensor) -> Tensor:
    """Softmax over the classes; the sigmoid of a binary head's one channel."""
    return logits.sigmoid() if len(logits) == 1 else torch.softmax(logits, dim=0)


def _denominator(logits: Logits) -> tuple[Tensor, Tensor]:
    """(reference, sum over the classes of exp(logit - reference)), (H, W) each.

    One pass with a running maximum; what was summed so far is scaled when the maximum grows.
    """
    top = logits.channels(0, 1)[0].clone()
    total = torch.ones_like(top)
    for channel in range(1, logits.num_channels):
        value = logits.channels(channel, channel + 1)[0]
        new_top = torch.maximum(top, value)
        total.mul_(top.sub_(new_top).exp_()).add_((value - new_top).exp_())
        top = new_top
    if top.abs().max() < LARGEST_BF16_REFERENCE:
        reference = top.bfloat16()
        return reference, total.mul_(top.sub_(reference).exp_())
    return top, total
