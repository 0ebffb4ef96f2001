"""Logits that are resized only when and as far as someone asks, and the classes made of them.

The steps of a prediction are public methods that people override: of the segmentor
(``encode_decode``, ...) and of the head (``predict``, ...). Called from outside a step returns
tensors at the size of the input. Called by the step before it, through `next_step`, it hands on
what is `Deferred`. A step that a subclass or an instance replaced is given tensors alone, and what
it returns goes on as it is.

A network answers on a grid of one eighth of its input. The published path resizes all K maps to
the input, then all K maps to the original image, and keeps both: 150 classes at 2000 x 3000 pixels
are 3.6 GB. Here the small logits are kept, and the same two resizes are run on a class (or a few)
at a time. Interpolation treats channels apart, so the values are the same. A running maximum over
the classes equals argmax pixel by pixel: a later class replaces an earlier one only where it is
strictly greater, and argmax takes the first of equals too.

Legend: N images, K classes; (h, w) the network's grid; (PH, PW) the network's input, padding
included; (H, W) the original image; classes are (1, H, W), uint8 up to 255 classes (the 255th value
is the ignore index), else int64.
"""

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from types import MethodType
from typing import Any, ParamSpec, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from .sliding_window import Box, Size, window_counts

Meta = Mapping[str, Any]  # of an image
P = ParamSpec('P')
T = TypeVar('T')
_BODIES: dict[Callable, Callable] = {}  # a step -> its method before `step` made it public
FLIP_AXES = {'horizontal': (-1,), 'vertical': (-2,), 'diagonal': (-2, -1)}
# What is gone over at once: a CPU's core keeps it in its second-level cache, while any other device
# wants few large launches.
CPU_BYTES, DEVICE_BYTES = 1 << 20, 1 << 27


class Deferred(ABC):
    """What stands for a tensor between two steps that nobody replaced."""

    @abstractmethod
    def written_out(self) -> Tensor:
        """The tensor (N, K, H, W) it stands for."""


def step(method: Callable[P, T]) -> Callable[P, T]:
    """Mark a method that takes or returns what is `Deferred` between steps."""

    @functools.wraps(method)
    def public(*args: P.args, **kwargs: P.kwargs) -> Any:
        return written_out(method(*args, **kwargs))

    _BODIES[public] = method
    return public


def outside(body: Callable[..., T]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Mark a step that does more when it is called from outside; between steps it is ``body``."""

    def mark(public: Callable[P, T]) -> Callable[P, T]:
        _BODIES[public] = body
        return public

    return mark


def next_step(method: Callable, *args: object) -> Any:
    """``method(*args)`` for a bound method; without the detour over tensors where it is a step."""
    if isinstance(method, MethodType) and method.__func__ in _BODIES:
        return _BODIES[method.__func__](method.__self__, *args)
    older = {'rescale': False} if asks_for('rescale', method) else {}  # as 0.x wrote them
    return method(*map(written_out, args), **older)


def asks_for(name: str, method: Callable) -> bool:
    """Whether a method, whatever decorates it, takes an argument of this name by keyword."""
    try:
        inner = inspect.signature(method).parameters
        outer = inspect.signature(method, follow_wrapped=False).parameters
    except (TypeError, ValueError):  # of what is written in C
        return False
    return name in inner and (name in outer or any(p.kind is p.VAR_KEYWORD for p in outer.values()))


def written_out(value: Any) -> Any:
    """The tensor that a value stands for; any other value as it is."""
    return value.written_out() if isinstance(value, Deferred) else value


@dataclass(frozen=True)
class Logits(Deferred):
    """Logits of a batch.

    Attributes:
        small: (N, K, h, w), or for windows (windows, N, K, h, w).
        size: (PH, PW), what they are to be resized to.
        boxes: where the windows lie; they are averaged where they overlap.
    """

    small: Tensor
    size: Size
    align_corners: bool
    boxes: tuple[Box, ...] = ()

    @classmethod
    def of(cls, small: Tensor, size: Sequence[int], align_corners: bool) -> Any:
        """In float32 at least, since resizing in bfloat16 changes classes and is slower."""
        dtype = torch.promote_types(small.dtype, torch.float32)
        return cls(small.to(dtype).contiguous(), (size[0], size[1]), align_corners)

    def placed(self, boxes: Sequence[Box], size: Size) -> 'Logits':
        """The same, of all windows of N images: (windows * N, K, h, w), window by window."""
        small = self.small.view(len(boxes), -1, *self.small.shape[1:])
        return replace(self, small=small, size=size, boxes=tuple(boxes))

    def __len__(self) -> int:
        return self.small.shape[-4]

    def written_out(self) -> Tensor:
        return self.at_input(0, self.small.shape[-3])

    def at_input(self, start: int, stop: int) -> Tensor:
        """Classes [start, stop) at the network's input size, (N, c, PH, PW).

        Each window is added into its place; padding it to the whole image with zeros first, as
        the published code did, adds nothing but time and memory.
        """
        small = self.small[..., start:stop, :, :]
        if not self.boxes:
            if small.shape[-2:] == self.size:
                return small
            return F.interpolate(small, self.size, None, 'bilinear', self.align_corners)
        total = small.new_zeros((*small.shape[1:3], *self.size))
        for (y1, y2, x1, x2), window in zip(self.boxes, small):
            total[..., y1:y2, x1:x2] += bilinear(window, (y2 - y1, x2 - x1), self.align_corners)
        return total.div_(window_counts(self.boxes, self.size, total.device))

    def images(self, metas: Sequence[Meta]) -> list['ImageLogits']:
        """Each image's, with the way back that its metainfo tells."""
        return [self.image(i, Geometry.of(meta, self.size)) for i, meta in enumerate(metas)]

    def image(self, index: int, geometry: 'Geometry') -> 'ImageLogits':
        one = self.small[..., index : index + 1, :, :, :]
        return ImageLogits(replace(self, small=one), geometry)


def as_deferred(logits: 'Tensor | Deferred', align_corners: bool) -> Any:
    """What a step handed on, a tensor (N, K, PH, PW) as `Logits` of that size."""
    if isinstance(logits, Tensor):
        return Logits.of(logits, logits.shape[-2:], align_corners)
    return logits


def joined(answers: Sequence[Logits | Tensor]) -> Any:
    """The answers to several parts of a batch as one; tensors where a step made tensors."""
    if len(answers) == 1:
        return answers[0]
    small = torch.cat([a if isinstance(a, Tensor) else a.small for a in answers])
    return small if isinstance(answers[0], Tensor) else replace(answers[0], small=small)


@dataclass(frozen=True)
class Geometry:
    """The way back from the network's input to the original image.

    Attributes:
        ori_shape: (H, W).
        padding: (left, right, top, bottom) pixels to cut off.
        flip: 'horizontal', 'vertical', 'diagonal' or None: how the input had been mirrored.
        flip_last: undo the flip after the resize, as multi-scale testing did when its figures were
            published; otherwise before it, as single-view testing does.
    """

    ori_shape: Size
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    flip: str | None = None
    flip_last: bool = False

    @classmethod
    def of(cls, meta: Meta, size: Size) -> 'Geometry':
        """From a sample's metainfo; ``size`` is the network's input, for samples without any."""
        padding = meta.get('img_padding_size') or meta.get('padding_size') or (0, 0, 0, 0)
        flip = (meta.get('flip_direction') or 'horizontal') if meta.get('flip') else None
        return cls(tuple(meta.get('ori_shape') or size)[:2], tuple(padding), flip)


@dataclass(frozen=True)
class ImageLogits:
    """Logits of one image and its way back to the original size."""

    logits: Logits
    geometry: Geometry

    @property
    def num_channels(self) -> int:
        return self.logits.small.shape[-3]

    @property
    def is_small(self) -> bool:
        """Whether they take a fraction of the memory that they would at the input's size."""
        height, width = self.logits.size
        return self.logits.small.numel() * 4 <= self.num_channels * height * width

    def channels(self, start: int, stop: int) -> Tensor:
        """Classes [start, stop) at the original size, (c, H, W)."""
        x, way = self.logits.at_input(start, stop), self.geometry
        left, right, top, bottom = way.padding
        x = x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]
        if way.flip and not way.flip_last:
            x = x.flip(FLIP_AXES[way.flip])
        if x.shape[-2:] != way.ori_shape:
            x = bilinear(x, way.ori_shape, self.logits.align_corners)
        return (x.flip(FLIP_AXES[way.flip]) if way.flip and way.flip_last else x)[0]

    def fill(self, out: Tensor, chunk: int) -> Tensor:
        """``out`` (K, H, W) with all classes, ``chunk`` of them at a time."""
        for start, stop in parts_of(len(out), chunk):
            out[start:stop] = self.channels(start, stop)
        return out

    def scores(self) -> Tensor:
        """All classes at the original size, (K, H, W); probabilities for a binary head's one."""
        shape = (self.num_channels, *self.geometry.ori_shape)
        small = self.logits.small
        full = self.fill(small.new_empty(shape), self.chunk(bytes_at_once(small)))
        return full.sigmoid() if len(full) == 1 else full

    def classes(self, threshold: float, budget: int) -> Tensor:
        """Classes (1, H, W); one channel is a binary head's, cut at ``threshold``.

        Args:
            budget: bytes that full-size maps may take.
        """
        if self.num_channels == 1:
            return (self.channels(0, 1).sigmoid() > threshold).to(torch.uint8)
        run = functools.partial(running_maximum, self.channels, self.num_channels)
        return run_shrinking(run, self.chunk(budget), 'classes')[None]

    def chunk(self, budget: int) -> int:
        """How many classes to resize at once within ``budget`` bytes.

        Three maps of a class live at a time: at the input's size, at the image's, a product. A CPU
        is fastest with one, which stays in its caches; a GPU wants enough to be kept busy.
        """
        if self.logits.small.device.type == 'cpu':
            return 1
        (height, width), (in_height, in_width) = self.geometry.ori_shape, self.logits.size
        pixels = max(height * width, in_height * in_width, 1)
        return max(1, min(self.num_channels, budget // (3 * 4 * pixels)))


def parts_of(count: int, chunk: int) -> list[tuple[int, int]]:
    """[0, count) as (start, stop) of at most ``chunk``."""
    return [(start, min(start + chunk, count)) for start in range(0, count, chunk)]


def running_maximum(channels: Callable[[int, int], Tensor], count: int, chunk: int) -> Tensor:
    """Classes (H, W) of ``count`` maps, ``chunk`` of them at a time.

    Args:
        channels: (start, stop) -> maps (stop - start, H, W).
    """
    classes = best = torch.empty(0)
    for start, stop in parts_of(count, chunk):
        top = channels(start, stop)
        top, index = top.max(dim=0) if len(top) > 1 else (top[0], None)
        if start == 0:
            best = top.clone()  # one channel can be a view of the small logits
            classes = torch.zeros(top.shape, dtype=class_dtype(count), device=top.device)
            if index is not None:
                classes.copy_(index)
            continue
        greater = top > best
        torch.maximum(best, top, out=best)
        if index is None:
            classes.masked_fill_(greater, start)
        else:
            torch.where(greater, (index + start).to(classes.dtype), classes, out=classes)
    return classes


def bilinear(x: Tensor, size: Size, align_corners: bool) -> Tensor:
    """Bilinear; an equal size is returned as it is, which is what interpolating would give."""
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size, mode='bilinear', align_corners=align_corners)


def class_dtype(num_classes: int) -> torch.dtype:
    return torch.uint8 if num_classes <= 255 else torch.int64


def argmax_classes(scores: Tensor, threshold: float) -> Tensor:
    """Classes (1, H, W) of full scores (K, H, W), row strip by row strip so that no int64 map and
    no second copy is made; one channel is cut at ``threshold``."""
    if len(scores) == 1:
        return (scores > threshold).to(torch.uint8)
    count, height, width = scores.shape
    classes = torch.empty((1, height, width), dtype=class_dtype(count), device=scores.device)
    for rows in row_strips(scores):
        classes[0, rows] = scores[:, rows].argmax(dim=0).to(classes.dtype)
    return classes


def bytes_at_once(x: Tensor) -> int:
    """How much the device of ``x`` goes over in one operation."""
    return CPU_BYTES if x.device.type == 'cpu' else DEVICE_BYTES


def row_strips(scores: Tensor) -> list[slice]:
    """Slices of rows of (K, H, W), as many as `bytes_at_once` holds of all K."""
    count, height, width = scores.shape
    rows = max(1, bytes_at_once(scores) // (count * width * scores.element_size()))
    return [slice(start, min(start + rows, height)) for start in range(0, height, rows)]


def run_shrinking(
    run: Callable[[int], T], size: int, what: str, fitted: MutableMapping[str, int] | None = None
) -> T:
    """``run(size)``, and again with half the size whenever the device is out of memory.

    Says once what it came down to, and keeps it in ``fitted`` for the calls that follow; what does
    not fit at size 1 is the caller's error to see.
    """
    fitted = {} if fitted is None else fitted
    first = size = max(1, min(size, fitted.get(what, size)))
    while True:
        try:
            result = run(size)
            break
        except torch.OutOfMemoryError:
            if size <= 1:
                raise
            size //= 2
        torch.cuda.empty_cache()  # outside the except block: its traceback holds the tensors
    if size < first:
        from mmengine.logging import print_log

        fitted[what] = size
        message = f'Out of device memory with {first} {what} at a time; going on with {size}.'
        print_log(message, logger='current', level=30)
    return result
