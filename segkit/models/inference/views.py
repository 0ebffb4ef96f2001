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


@dataclass
class ViewSum:
    """Streaming: the sum of the views' probabilities."""

    total: Tensor
    buffer: Tensor
    count: int = 0

    @classmethod
    def like(cls, logits: Logits) -> 'ViewSum':
        """For views of the image that ``logits`` are of."""
        total = logits.small.new_zeros((logits.num_channels, *logits.geometry.ori_shape))
        return cls(total, torch.empty_like(total))

    def add(self, logits: Logits, chunk: int) -> None:
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
        self.buffer = self.buffer.new_empty(0)
        return self.total.div_(self.count)

    def classes(self, threshold: float) -> Tensor:
        return argmax_classes(self.scores(), threshold)


@dataclass
class ViewStack:
    """By class: small logits, reference and denominator of every view."""

    views: list['_View'] = field(default_factory=list)

    def add(self, logits: Logits, chunk: int) -> None:
        self.views.append(_View(logits))

    @property
    def num_channels(self) -> int:
        return self.views[0].logits.num_channels

    def _score(self, channel: int) -> Tensor:
        """Mean probability of one class, (H, W)."""
        total = self.views[0].probability(channel)
        for view in self.views[1:]:
            total += view.probability(channel)
        return total.div_(len(self.views))

    def scores(self) -> Tensor:
        """Mean probabilities (K, H, W)."""
        return torch.stack([self._score(channel) for channel in range(self.num_channels)])

    def classes(self, threshold: float) -> Tensor:
        best, count = self._score(0), self.num_channels
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
    rest = iter(views)
    logits = next(rest)
    height, width = logits.geometry.ori_shape
    full = 2 * 4 * logits.num_channels * height * width
    merged = ViewSum.like(logits) if full <= budget else ViewStack()
    pixels = max(height * width, logits.size[0] * logits.size[1])
    chunk = channel_chunk(logits.num_channels, pixels, budget, logits.small.device)
    merged.add(logits, chunk)
    for logits in rest:
        merged.add(logits, chunk)
    return merged


def _probabilities(logits: Tensor) -> Tensor:
    """Softmax over the classes; the sigmoid of a binary head's one channel."""
    return logits.sigmoid() if len(logits) == 1 else torch.softmax(logits, dim=0)


class _View:
    """One view's small logits, and its softmax as a reference and a denominator, (H, W) each."""

    def __init__(self, logits: Logits) -> None:
        self.logits = logits
        if logits.num_channels == 1:
            return
        top = logits.channels(0, 1)[0].clone()
        total = torch.ones_like(top)
        for channel in range(1, logits.num_channels):
            top = self._add_class(channel, top, total)
        # The reference cancels out. The integer next to the maximum keeps the differences of the
        # likely classes small, hence exact, in a byte.
        self.reference = top.round().to(torch.int8) if top.abs().max() < 127 else top
        self.denominator = total.mul_((top - self.reference).exp_())

    def _add_class(self, channel: int, top: Tensor, total: Tensor) -> Tensor:
        """The maximum with one more class; ``total``, relative to it, is brought up in place."""
        value = self.logits.channels(channel, channel + 1)[0]
        new_top = torch.maximum(top, value)
        total.mul_(top.sub_(new_top).exp_()).add_((value - new_top).exp_())
        return new_top

    def probability(self, channel: int) -> Tensor:
        """Of one class, (H, W)."""
        value = self.logits.channels(channel, channel + 1)[0]
        if self.logits.num_channels == 1:
            return value.sigmoid()
        return (value - self.reference).exp_().div_(self.denominator)
