"""From logits to classes with a running maximum, one class (or a few) at a time.

Equal to argmax over all classes pixel by pixel: a later class replaces an earlier one only where
it is strictly greater, and argmax takes the first of equals too.

Legend: K classes; (H, W) the original image; classes are (1, H, W), uint8 up to 255 classes (the
255th value is the ignore index), else int64.
"""

import torch
from torch import Tensor

from .logits import Logits
from .memory import channel_chunk, run_shrinking

# Rows of a strip are chosen so that a strip of all classes fits a core's second-level cache.
STRIP_BYTES = {'cpu': 1 << 20, 'cuda': 1 << 27}


def class_dtype(num_classes: int) -> torch.dtype:
    return torch.uint8 if num_classes <= 255 else torch.int64


def to_classes(logits: Logits, threshold: float, budget: int) -> Tensor:
    """Classes (1, H, W) of one image; one channel is a binary head's, cut at ``threshold``."""
    if logits.num_channels == 1:
        return (logits.channels(0, 1).sigmoid() > threshold).to(torch.uint8)
    height, width = logits.geometry.ori_shape
    pixels = max(height * width, logits.size[0] * logits.size[1])
    chunk = channel_chunk(logits.num_channels, pixels, budget, logits.small.device)
    classes, _ = run_shrinking(lambda n: _running_maximum(logits, n), chunk, 'classes')
    return classes[None]


def _running_maximum(logits: Logits, chunk: int) -> Tensor:
    """(H, W) classes; chunks of ``chunk`` classes."""
    count = logits.num_channels
    top, index = _largest(logits, 0, min(chunk, count))
    best = top.clone()  # one channel can be a view of the small logits
    classes = torch.zeros(best.shape, dtype=class_dtype(count), device=best.device)
    if index is not None:
        classes.copy_(index)
    for start in range(chunk, count, chunk):
        top, index = _largest(logits, start, min(start + chunk, count))
        greater = top > best
        torch.maximum(best, top, out=best)
        if index is None:
            classes.masked_fill_(greater, start)
        else:
            torch.where(greater, (index + start).to(classes.dtype), classes, out=classes)
    return classes


def _largest(logits: Logits, start: int, stop: int) -> tuple[Tensor, Tensor | None]:
    """(H, W) largest logits among classes [start, stop), and of which; None for a single class."""
    values = logits.channels(start, stop)
    if len(values) == 1:
        return values[0], None
    largest = values.max(dim=0)
    return largest.values, largest.indices


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


def row_strips(scores: Tensor) -> list[slice]:
    """Slices of rows of (K, H, W) whose K-channel strip fits the cache (`STRIP_BYTES`)."""
    count, height, width = scores.shape
    budget = STRIP_BYTES.get(scores.device.type, STRIP_BYTES['cpu'])
    rows = max(1, budget // (count * width * scores.element_size()))
    return [slice(start, min(start + rows, height)) for start in range(0, height, rows)]
