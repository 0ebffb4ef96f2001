"""Where the windows of a sliding test lie, and how often each pixel is covered.

The arithmetic is that of every published sliding figure: windows start at multiples of the stride,
and the last of a row or column is pushed back inside the image, so all have one size.

Legend: a box is (y1, y2, x1, x2), ends exclusive.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from segkit.errors import UserError

Box = tuple[int, int, int, int]
Size = tuple[int, int]


def window_boxes(size: Size, crop_size: Size, stride: Size) -> list[Box]:
    """Boxes of an image of ``size`` (H, W), row by row.

    Example: (1025, 2049) with crops of 769 and strides of 513 gives 2 x 4 windows.
    """
    rows = _starts(size[0], crop_size[0], stride[0])
    columns = _starts(size[1], crop_size[1], stride[1])
    return [(y1, y2, x1, x2) for y1, y2 in rows for x1, x2 in columns]


def _starts(length: int, crop: int, stride: int) -> list[tuple[int, int]]:
    count = max(length - crop + stride - 1, 0) // stride + 1
    ends = [min(i * stride + crop, length) for i in range(count)]
    return [(max(end - crop, 0), end) for end in ends]


@lru_cache(maxsize=16)
def window_counts(boxes: tuple[Box, ...], size: Size, device: torch.device) -> Tensor:
    """How many windows cover each pixel, (H, W) float32. It depends on sizes alone: cached."""
    with torch.inference_mode(False):  # else the cached tensor would be refused by autograd
        counts = torch.zeros(size, device=device)
        for y1, y2, x1, x2 in boxes:
            counts[y1:y2, x1:x2] += 1
    return counts


def slide_settings(test_cfg: Mapping[str, Any]) -> tuple[Size, Size]:
    """(crop_size, stride) of ``test_cfg``, checked: strides beyond the crop would leave gaps."""
    sizes = []
    for key in ('crop_size', 'stride'):
        value = test_cfg.get(key)
        if value is None:
            raise UserError(f"model.test_cfg: mode='slide' needs {key}=(height, width).")
        pair = (value, value) if isinstance(value, int) else tuple(value)
        if len(pair) != 2 or min(pair) <= 0:
            raise UserError(f'model.test_cfg.{key}: {value!r} must be two positive numbers.')
        sizes.append(pair)
    crop, stride = sizes
    if stride[0] > crop[0] or stride[1] > crop[1]:
        raise UserError(
            f'model.test_cfg: stride {stride} exceeds crop_size {crop}, which would leave pixels '
            'that no window covers; make the stride at most the crop.'
        )
    return crop, stride
