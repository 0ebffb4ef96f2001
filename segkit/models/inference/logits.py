"""Logits of one image that are resized to it only when and as far as someone asks.

A network answers on a grid of one eighth of its input. The published path resizes all K maps to
the input, then all K maps to the original image, and keeps both: 150 classes at 2000 x 3000 pixels
are 3.6 GB. Here the small logits are kept, and ``channels(start, stop)`` runs the same two resizes
on some of the classes. Interpolation treats channels apart, so the values are the same.

Legend: K classes; (h, w) the network's grid; (PH, PW) the network's input, padding included;
(H, W) the original image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .windows import Box, Size, window_counts

FLIP_AXES = {'horizontal': (-1,), 'vertical': (-2,), 'diagonal': (-2, -1)}


def bilinear(x: Tensor, size: Size, align_corners: bool) -> Tensor:
    """Bilinear; an equal size is returned as it is, which is what interpolating would give."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size, mode='bilinear', align_corners=align_corners)


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
    align_corners: bool = False
    flip_last: bool = False

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any], size: Size, align_corners: bool) -> 'Geometry':
        """From a sample's metainfo; ``size`` is the network's input, for samples without any."""
        padding = meta.get('img_padding_size') or meta.get('padding_size') or (0, 0, 0, 0)
        flip = (meta.get('flip_direction') or 'horizontal') if meta.get('flip') else None
        return cls(
            tuple(meta.get('ori_shape') or size)[:2], tuple(padding), flip, align_corners
        )  # fmt: skip

    def restore(self, x: Tensor) -> Tensor:
        """(1, c, PH, PW) -> (1, c, H, W)."""
        left, right, top, bottom = self.padding
        x = x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]
        if self.flip and not self.flip_last:
            x = x.flip(FLIP_AXES[self.flip])
        x = bilinear(x, self.ori_shape, self.align_corners)
        return x.flip(FLIP_AXES[self.flip]) if self.flip and self.flip_last else x


@dataclass
class WholeLogits:
    """Logits of a network that saw the whole image at once: small (K, h, w)."""

    small: Tensor
    size: Size
    geometry: Geometry

    @property
    def num_channels(self) -> int:
        return self.small.shape[0]

    def at_input(self, start: int, stop: int) -> Tensor:
        """Classes [start, stop) at the network's input size, (1, c, PH, PW)."""
        return bilinear(self.small[None, start:stop], self.size, self.geometry.align_corners)

    def channels(self, start: int, stop: int) -> Tensor:
        """Classes [start, stop) at the original size, (c, H, W)."""
        return self.geometry.restore(self.at_input(start, stop))[0]


@dataclass
class SlideLogits:
    """Logits of windows: small (number of windows, K, h, w), averaged where windows overlap."""

    small: Tensor
    boxes: Sequence[Box]
    size: Size
    geometry: Geometry

    @property
    def num_channels(self) -> int:
        return self.small.shape[1]

    def at_input(self, start: int, stop: int) -> Tensor:
        """Classes [start, stop) at the network's input size, (1, c, PH, PW).

        Each window is added into its place; padding it to the whole image with zeros first, as
        the published code did, adds nothing but time and memory.
        """
        total = self.small.new_zeros((1, stop - start, *self.size))
        for (y1, y2, x1, x2), window in zip(self.boxes, self.small):
            window = window[None, start:stop]
            total[..., y1:y2, x1:x2] += bilinear(
                window, (y2 - y1, x2 - x1), self.geometry.align_corners
            )
        return total.div_(window_counts(tuple(self.boxes), tuple(self.size), total.device))

    def channels(self, start: int, stop: int) -> Tensor:
        """Classes [start, stop) at the original size, (c, H, W)."""
        return self.geometry.restore(self.at_input(start, stop))[0]


Logits = WholeLogits | SlideLogits


def full_logits(logits: Logits, chunk: int) -> Tensor:
    """All classes at the original size, (K, H, W), assembled ``chunk`` classes at a time."""
    out = torch.empty(
        (logits.num_channels, *logits.geometry.ori_shape),
        dtype=logits.small.dtype,
        device=logits.small.device,
    )
    for start in range(0, len(out), chunk):
        stop = min(start + chunk, len(out))
        out[start:stop] = logits.channels(start, stop)
    return out
