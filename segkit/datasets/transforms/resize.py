"""Resizing: mmcv's Resize for every map that moves with a picture, and windows of what it gives.

Nearest (maps): output pixel i reads source pixel floor(i / (new / old)), so resizing is two index
gathers, for any dtype; bit-equal to OpenCV's INTER_NEAREST. A window gathers its own rows alone.

Bilinear (images): output pixel i reads source position (i + 0.5) old / new - 0.5. For a window the
rectangle from the picture's corner to the window's end is resized with the scale of the whole
given explicitly, so positions and weights are those of the whole, bit for bit.

Legend: a box is (y1, y2, x1, x2), upper bounds exclusive; sizes are (height, width).
"""

import math

import cv2
import mmcv
import mmcv.transforms
import numpy as np
from PIL import Image

from segkit.errors import UserError
from segkit.registry import TRANSFORMS

from .loading import Transform, moving_maps

Box = tuple[int, int, int, int]
_MARGIN = 3  # source pixels beyond the last one needed: the weights there are those of a border


def nearest_indices(old: int, new: int, start: int, stop: int) -> np.ndarray:
    """Source positions of output pixels start..stop-1, in OpenCV's own double arithmetic."""
    step = 1.0 / (new / old)
    places = np.floor(np.arange(start, stop) * step).astype(np.intp)
    return np.minimum(places, old - 1)


def nearest_window(stored: np.ndarray, size: tuple[int, int], box: Box) -> np.ndarray:
    """``cv2.resize(stored, size, INTER_NEAREST)[y1:y2, x1:x2]`` by two gathers."""
    y1, y2, x1, x2 = box
    if stored.shape[:2] == size:
        return stored[y1:y2, x1:x2]
    rows = nearest_indices(stored.shape[0], size[0], y1, y2)
    columns = nearest_indices(stored.shape[1], size[1], x1, x2)
    return stored.take(rows, axis=0).take(columns, axis=1)


def source_stop(old: int, new: int, stop: int) -> int:
    """How many leading source pixels the output pixels before ``stop`` read, with a margin."""
    return min(old, math.ceil(stop * old / new) + _MARGIN)


def bilinear_window(img: np.ndarray, size: tuple[int, int], box: Box, old_h: int) -> np.ndarray:
    """``cv2.resize(whole, size)[y1:y2, x1:x2]``, bit for bit.

    ``img`` may hold only the leading ``source_stop`` rows of the whole picture, which has
    ``old_h`` of them.
    """
    y1, y2, x1, x2 = box
    new_h, new_w = size
    old_w = img.shape[1]
    if (old_h, old_w) == size:
        return img[y1:y2, x1:x2]
    rows, columns = source_stop(old_h, new_h, y2), source_stop(old_w, new_w, x2)
    if (rows, columns) == (old_h, old_w):
        return cv2.resize(img, (new_w, new_h))[y1:y2, x1:x2]
    part = cv2.resize(img[:rows, :columns], None, fx=new_w / old_w, fy=new_h / old_h)
    return part[y1:y2, x1:x2]


def _pillow_indices(old: int, new: int) -> np.ndarray:
    """Source positions as Pillow's own nearest resize has them: it samples pixel centres."""
    row = Image.fromarray(np.arange(old, dtype=np.int32)[None])
    return np.asarray(row.resize((new, 1), Image.Resampling.NEAREST))[0]


@TRANSFORMS.register_module()
class Resize(mmcv.transforms.Resize):
    """mmcv's, which knows ``gt_seg_map`` alone, for every map of ``seg_fields``, of any dtype."""

    def _resize_seg(self, results: dict) -> None:
        for key in moving_maps(results):
            stored = results[key]
            height, width = stored.shape[:2]
            scale = results['scale']
            new_w, new_h = mmcv.rescale_size((width, height), scale) if self.keep_ratio else scale
            if self.backend == 'pillow':
                rows, columns = _pillow_indices(height, new_h), _pillow_indices(width, new_w)
                results[key] = stored.take(rows, axis=0).take(columns, axis=1)
            else:
                results[key] = nearest_window(stored, (new_h, new_w), (0, new_h, 0, new_w))

    def _resize_keypoints(self, results: dict) -> None:
        if results.get('gt_keypoints') is not None:  # mmcv writes into the array it was given
            results['gt_keypoints'] = results['gt_keypoints'].copy()
        super()._resize_keypoints(results)


class _ResizeToItsOwn(Resize):
    """A resize whose size follows from that of the picture."""

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(width, height) for a picture of this size."""
        raise NotImplementedError

    def transform(self, results: dict) -> dict:
        results['scale'] = self.size(*results['img'].shape[:2])
        self._resize_img(results)
        self._resize_bboxes(results)
        self._resize_seg(results)
        self._resize_keypoints(results)
        return results


@TRANSFORMS.register_module()
class ResizeShortestEdge(_ResizeToItsOwn):
    """The shorter side to ``scale``, or less where the longer one would exceed ``max_size``.

    Args:
        scale: length in pixels; of two the smaller one. max_size: largest length of the other side.
    """

    def __init__(self, scale: int | tuple[int, int], max_size: int) -> None:
        super().__init__(scale=scale, keep_ratio=True)
        self.edge = scale if isinstance(scale, int) else min(scale)
        self.max_size = max_size

    def size(self, height: int, width: int) -> tuple[int, int]:
        shorter = min(height, width)
        sides = [
            float(self.edge) if side == shorter else self.edge / shorter * side
            for side in (height, width)
        ]
        if max(sides) > self.max_size:
            shrink = self.max_size / max(sides)
            sides = [side * shrink for side in sides]
        return int(sides[1] + 0.5), int(sides[0] + 0.5)


@TRANSFORMS.register_module()
class ResizeToMultiple(_ResizeToItsOwn):
    """Both sides up to the next multiple of ``size_divisor``, a number or (of width, of height)."""

    def __init__(
        self, size_divisor: int | tuple[int, int] = 32, interpolation: str | None = None
    ) -> None:
        super().__init__(scale=1, interpolation=interpolation or 'bilinear')
        self.divisors = np.broadcast_to(size_divisor, 2).tolist()
        if min(self.divisors) < 1:
            raise UserError(f'size_divisor of ResizeToMultiple is {size_divisor}: below 1.')

    def size(self, height: int, width: int) -> tuple[int, int]:
        across, down = self.divisors
        return -(-width // across) * across, -(-height // down) * down

    def transform(self, results: dict) -> dict:
        results = super().transform(results)
        results['pad_shape'] = results['img_shape']
        return results


@TRANSFORMS.register_module()
class SegRescale(Transform):
    """Every map by ``scale_factor``, nearest; the picture stays: labels at a network's stride.

    Args:
        scale_factor: of both sides; or (long, short) lengths that none may exceed.
    """

    def __init__(self, scale_factor: float | tuple[int, int] = 1) -> None:
        self.scale_factor = scale_factor

    def transform(self, results: dict) -> dict:
        for key in moving_maps(results):
            height, width = results[key].shape[:2]
            new_w, new_h = mmcv.rescale_size((width, height), self.scale_factor)
            results[key] = nearest_window(results[key], (new_h, new_w), (0, new_h, 0, new_w))
        return results
