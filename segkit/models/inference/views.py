"""The mean of softmax scores over views of one image (multi-scale and flip testing).

Source: the protocol of the published "ms+flip" columns. Every view's logits are resized to the
original image, turned to probabilities, mirrored back; the mean over views decides.

Two ways to the same classes:

    streaming   keeps the sum (K, H, W) and one view's logits beside it. Memory does not depend on
                how many views there are.
    by class    above the memory budget: keeps each view's *small* logits and one (H, W) map, the
                logarithm of its softmax denominator, then sums exp(logit - that map) over the views
                one class at a time. Nothing of K full-size maps is ever held.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .classes import argmax_classes, class_dtype, row_strips
from .logits import Logits

# A CPU gains from a few classes at a time here: one exponential of the running maximum for all.
CPU_CHUNK = 4


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
        for start in range(0, logits.num_channels, chunk):
            stop = min(start + chunk, logits.num_channels)
            self.buffer[start:stop] = logits.channels(start, stop)
        for rows in row_strips(self.total):
            self.total[:, rows] += _probabilities(self.buffer[:, rows])
        self.count += 1

    def scores(self) -> Tensor:
        """Mean probabilities (K, H, W); no further view can be added."""
        self.buffer = None
        return self.total.div_(self.count)

    def classes(self, threshold: float) -> Tensor:
        return argmax_classes(self.scores(), threshold)


@dataclass
class ViewStack:
    """By class: small logits and log-denominators of all views."""

    views: list[tuple[Logits, Tensor]] = field(default_factory=list)

    def add(self, logits: Logits, chunk: int) -> None:
        self.views.append((logits, _log_denominator(logits, chunk)))

    def _score(self, channel: int) -> Tensor:
        """Mean probability of one class, (H, W)."""
        total = 0
        for logits, denominator in self.views:
            value = logits.channels(channel, channel + 1)
            value = value.sigmoid() if denominator is None else (value - denominator).exp_()
            total = total + value
        return (total / len(self.views))[0]

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
            chunk = _chunk(logits, isinstance(merged, ViewStack))
        merged.add(logits, chunk)
    return merged


def _chunk(logits: Logits, stacked: bool) -> int:
    if logits.small.device.type == 'cpu':
        return min(CPU_CHUNK, logits.num_channels) if stacked else 1
    return min(16, logits.num_channels)


def _probabilities(logits: Tensor) -> Tensor:
    """Softmax over the classes; the sigmoid of a binary head's one channel."""
    return logits.sigmoid() if len(logits) == 1 else torch.softmax(logits, dim=0)


def _log_denominator(logits: Logits, chunk: int) -> Tensor | None:
    """log(sum(exp(logits))) over the classes, (1, H, W), with a running maximum; None if binary."""
    if logits.num_channels == 1:
        return None
    top, total = None, None
    for start in range(0, logits.num_channels, chunk):
        values = logits.channels(start, min(start + chunk, logits.num_channels))
        new_top = values.amax(dim=0, keepdim=True)
        if top is None:
            top, total = new_top, torch.zeros_like(new_top)
        else:
            torch.maximum(new_top, top, out=new_top)
            total.mul_(top.sub_(new_top).exp_())
            top = new_top
        total.add_((values - top).exp_().sum(dim=0, keepdim=True))
    return total.log_().add_(top)
