"""The mean of softmax scores over views of one image (multi-scale and flip testing).

Source: the protocol of the published "ms+flip" columns. Every view's logits are resized to the
original image, turned to probabilities, mirrored back; the mean over views decides.

Two ways to the same classes:

    streaming   keeps the sum (K, H, W) and one view's logits beside it. Memory does not depend on
                how many views there are.
    by class    above the memory budget: keeps each view's *small* logits and two (H, W) maps, a
                value near its largest logit and the softmax denominator relative to that, then sums
                the views' probabilities one class at a time, or as many as fit the budget of a
                device other than a CPU. K full-size maps are never held.
"""

import functools
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from segkit.errors import UserError

from .logits import (
    FLIP_AXES,
    Deferred,
    Geometry,
    ImageLogits,
    Logits,
    Meta,
    argmax_classes,
    as_deferred,
    parts_of,
    row_strips,
    run_shrinking,
    running_maximum,
)

if TYPE_CHECKING:
    from ..data_preprocessor import Views


def each_view(
    run: Callable[[Tensor, Sequence[Meta]], Logits | Tensor],
    views: 'Views',
    meta: Meta,
    align_corners: bool,
) -> Iterator[ImageLogits]:
    """Logits of every view, and of its mirror image if they ask for it, as they are asked for.

    Args:
        run: logits (N, K, PH, PW) of inputs (N, C, PH, PW) and their metainfo.
    """
    if 'ori_shape' not in meta:
        raise UserError(
            'Views of an image need ori_shape=(H, W) in the metainfo of its data sample: it is '
            'where they meet.'
        )
    ori_shape = tuple(meta['ori_shape'])[:2]
    for view, padding in views:
        left, right, top, bottom = padding
        size = (view.shape[-2], view.shape[-1])
        img_shape = (size[0] - top - bottom, size[1] - left - right)
        shapes = {'img_shape': img_shape, 'pad_shape': size, 'img_padding_size': padding}
        batch, metas = view[None], [{**meta, **shapes, 'flip': False, 'flip_direction': None}]
        if views.flip:
            batch = torch.stack([view, _mirrored(view, padding, views.flip)])
            metas.append({**metas[0], 'flip': True, 'flip_direction': views.flip})
        logits = as_deferred(run(batch, metas), align_corners)
        for i, one in enumerate(metas):
            # The published figures undo the flip after the resize.
            way_back = Geometry(ori_shape, padding, one['flip_direction'], flip_last=True)
            yield logits.image(i, way_back)


def _mirrored(view: Tensor, padding: tuple[int, int, int, int], flip: str) -> Tensor:
    """The picture flipped and its padding left where it is: pipelines flip first, then pad."""
    left, right, top, bottom = padding
    height, width = view.shape[-2:]
    picture = (..., slice(top, height - bottom), slice(left, width - right))
    mirrored = view.clone()
    mirrored[picture] = view[picture].flip(FLIP_AXES[flip])
    return mirrored


class MeanOfViews(Deferred):
    """Mean probabilities over the views of one image."""

    is_small = False

    num_channels: int

    @abstractmethod
    def add(self, logits: ImageLogits, chunk: int) -> None:
        """One more view, ``chunk`` classes at a time."""

    @abstractmethod
    def scores(self) -> Tensor:
        """Mean probabilities (K, H, W); no further view can be added."""

    @abstractmethod
    def classes(self, threshold: float, budget: int) -> Tensor:
        """Classes (1, H, W); one channel is a binary head's, cut at ``threshold``."""

    def images(self, metas: Sequence[Meta]) -> list['MeanOfViews']:
        """As `Logits.images`: it is of one image, and at its original size."""
        return [self]

    def __len__(self) -> int:
        return 1

    def written_out(self) -> Tensor:
        """Scores (1, K, H, W) with the same argmax, or sigmoid, as the mean."""
        scores = self.scores()[None]
        return scores.logit() if scores.shape[1] == 1 else scores


class ViewSum(MeanOfViews):
    """Streaming: the sum of the views' probabilities."""

    def __init__(self, logits: ImageLogits) -> None:
        """For views of the image that ``logits`` are of."""
        shape = (logits.num_channels, *logits.geometry.ori_shape)
        self.total = logits.logits.small.new_zeros(shape)
        self.num_channels = logits.num_channels
        self.buffer = torch.empty_like(self.total)
        self.count = 0

    def add(self, logits: ImageLogits, chunk: int) -> None:
        run_shrinking(lambda classes: logits.fill(self.buffer, classes), chunk, 'classes')
        for rows in row_strips(self.total):
            self.total[:, rows] += _probabilities(self.buffer[:, rows])
        self.count += 1

    def scores(self) -> Tensor:
        self.buffer, count, self.count = self.buffer.new_empty(0), self.count, 1
        return self.total.div_(count)

    def classes(self, threshold: float, budget: int) -> Tensor:
        return argmax_classes(self.scores(), threshold)


class ViewStack(MeanOfViews):
    """By class: small logits, reference and denominator of every view."""

    def __init__(self) -> None:
        self.views: list[_View] = []

    def add(self, logits: ImageLogits, chunk: int) -> None:
        self.num_channels, self.chunk = logits.num_channels, chunk
        self.views.append(run_shrinking(lambda size: _View(logits, size), chunk, 'classes'))

    def score(self, start: int, stop: int) -> Tensor:
        """Mean probabilities of classes [start, stop), (c, H, W)."""
        total = self.views[0].probability(start, stop)
        for view in self.views[1:]:
            total += view.probability(start, stop)
        return total.div_(len(self.views))

    def scores(self) -> Tensor:
        return torch.cat([self.score(*part) for part in parts_of(self.num_channels, self.chunk)])

    def classes(self, threshold: float, budget: int) -> Tensor:
        count = self.num_channels
        if count == 1:
            return argmax_classes(self.scores(), threshold)
        run = functools.partial(running_maximum, self.score, count)
        return run_shrinking(run, self.chunk, 'classes')[None]

    def confidence(self) -> Tensor:
        """The highest mean probability of each pixel, (H, W)."""
        first, *rest = parts_of(self.num_channels, self.chunk)
        best = highest(self.score(*first))
        for part in rest:
            torch.maximum(best, highest(self.score(*part)), out=best)
        return best


def merge_views(views: Iterable[ImageLogits], budget: int) -> MeanOfViews:
    """Add the views one by one as they come; the first decides which way fits ``budget`` bytes."""
    rest = iter(views)
    logits = next(rest)
    height, width = logits.geometry.ori_shape
    full = 2 * 4 * logits.num_channels * height * width
    merged = ViewSum(logits) if full <= budget else ViewStack()
    chunk = logits.chunk(budget)
    merged.add(logits, chunk)
    for logits in rest:
        merged.add(logits, chunk)
    return merged


def _probabilities(logits: Tensor) -> Tensor:
    """Softmax over the classes; the sigmoid of a binary head's one channel."""
    return logits.sigmoid() if len(logits) == 1 else torch.softmax(logits, dim=0)


def highest(x: Tensor) -> Tensor:
    """The largest of each pixel, (c, H, W) -> (H, W); a view where there is one class."""
    return x[0] if len(x) == 1 else x.amax(0)


def peak_and_total(logits: ImageLogits, chunk: int) -> tuple[Tensor, Tensor]:
    """The largest logit of each pixel and the sum of exp(logit - largest), (H, W) each, ``chunk``
    classes at a time."""
    top = total = torch.empty(0)
    for start, stop in parts_of(logits.num_channels, chunk):
        value = logits.channels(start, stop)
        peak = highest(value)
        larger = torch.maximum(top, peak) if start else peak.clone()  # a view of the small logits
        new = value - larger
        new = new[0].exp_() if len(new) == 1 else new.exp_().sum(0)
        total = total.mul_(top.sub_(larger).exp_()).add_(new) if start else new
        top = larger
        del value, peak, larger, new  # before the next classes take their room
    return top, total


class _View:
    """One view's small logits, and its softmax as a reference and a denominator, (H, W) each."""

    def __init__(self, logits: ImageLogits, chunk: int) -> None:
        self.logits = logits
        if logits.num_channels == 1:
            return
        top, total = peak_and_total(logits, chunk)
        # The reference cancels out. The integer next to the maximum keeps the differences of the
        # likely classes small, hence exact, in a byte.
        self.reference = top.round().to(torch.int8) if top.abs().max() < 127 else top
        self.denominator = total.mul_((top - self.reference).exp_())

    def probability(self, start: int, stop: int) -> Tensor:
        """Of classes [start, stop), (c, H, W)."""
        value = self.logits.channels(start, stop)
        if self.logits.num_channels == 1:
            return value.sigmoid()
        return (value - self.reference).exp_().div_(self.denominator)
