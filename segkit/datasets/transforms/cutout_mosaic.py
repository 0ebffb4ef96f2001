"""Parts of a picture replaced: by a colour (cut-out), or by three other pictures (mosaic).

Legend: img (H, W, C) and maps (H, W). A patch is (y1, y2, x1, x2), upper bounds exclusive.
"""

from collections.abc import Sequence, Sized
from typing import Any

import mmcv
import numpy as np

from segkit.errors import UserError
from segkit.registry import TRANSFORMS

from .geometric import CropBox, dtype_with
from .loading import Transform, ignored_label, moving_maps
from .resize import nearest_window

Pair = tuple[float, float]


@TRANSFORMS.register_module()
class RandomCutOut(Transform):
    """Rectangles of one colour over the picture (DeVries and Taylor, arXiv:1708.04552).

    Args:
        prob: probability in [0, 1].
        n_holes: how many, or (fewest, most).
        cutout_shape: (width, height) in pixels, or a list of them to choose from; or
        cutout_ratio: the same as shares of the picture's.
        fill_in: the colour. seg_fill_in: what the maps hold there; None leaves them.
    """

    def __init__(
        self,
        prob: float,
        n_holes: int | tuple[int, int],
        cutout_shape: Pair | Sequence[Pair] | None = None,
        cutout_ratio: Pair | Sequence[Pair] | None = None,
        fill_in: Sequence[float] = (0, 0, 0),
        seg_fill_in: int | None = None,
    ) -> None:
        given = cutout_ratio if cutout_shape is None else cutout_shape
        if given is None or None not in (cutout_shape, cutout_ratio):
            raise UserError('RandomCutOut takes either cutout_shape or cutout_ratio.')
        counts = (n_holes, n_holes) if isinstance(n_holes, int) else tuple(n_holes)
        if len(counts) != 2 or not 0 <= counts[0] <= counts[1]:
            raise UserError(f'n_holes of RandomCutOut must be a count or two, not {n_holes}.')
        self.prob, self.n_holes = self._probability(prob), counts
        self.with_ratio = cutout_shape is None
        self.candidates: list[Any] = [given] if np.isscalar(given[0]) else list(given)
        self.fill_in, self.seg_fill_in = tuple(fill_in), seg_fill_in

    def draw(self, height: int, width: int) -> list[CropBox]:
        """Patches inside a picture of this size."""
        if np.random.rand() >= self.prob:
            return []
        patches = []
        for _ in range(np.random.randint(self.n_holes[0], self.n_holes[1] + 1)):
            x1, y1 = np.random.randint(0, width), np.random.randint(0, height)
            across, down = self.candidates[np.random.randint(0, len(self.candidates))]
            if self.with_ratio:
                across, down = int(across * width), int(down * height)
            patches.append((y1, min(y1 + int(down), height), x1, min(x1 + int(across), width)))
        return patches

    def transform(self, results: dict) -> dict:
        shape = results['img'].shape[:2]
        patches = self.draw(*shape)
        if not patches:
            return results
        fills: dict = {'img': self.fill_in}
        if self.seg_fill_in is not None:
            fills |= dict.fromkeys(moving_maps(results, shape), self.seg_fill_in)
        for key, value in fills.items():
            stored = results[key]
            dtype = stored.dtype if key == 'img' else dtype_with(stored, value)
            results[key] = filled = stored.astype(dtype)
            for y1, y2, x1, x2 in patches:
                filled[y1:y2, x1:x2] = value
        return results


def _beside(center: int, size: int, total: int, before: bool) -> tuple[slice, slice]:
    """Along one axis: where a picture of ``size`` that ends (or begins) at ``center`` lies on a
    canvas of ``total``, and which part of it that is."""
    if before:
        length = min(center, size)
        return slice(center - length, center), slice(size - length, size)
    length = min(total - center, size)
    return slice(center, center + length), slice(0, length)


@TRANSFORMS.register_module()
class RandomMosaic(Transform):
    """Four pictures around a point of a canvas of twice ``img_scale`` (YOLOv4, arXiv:2004.10934).

    Each is made as large as fits ``img_scale`` and touches the point with one of its corners: the
    own one above at the left, then above at the right, below at the left, below at the right. In
    the pipeline of a `MultiImageMixDataset`, which gives the three others.

    Args:
        prob: probability in [0, 1].
        img_scale: (height, width) of one picture.
        center_ratio_range: the point lies at img_scale times two shares out of this range.
        pad_val: grey level beside the pictures; seg_pad_val: value of the maps there, by default
            the label that the data set ignores.
    """

    def __init__(
        self,
        prob: float,
        img_scale: tuple[int, int] = (640, 640),
        center_ratio_range: tuple[float, float] = (0.5, 1.5),
        pad_val: float = 0,
        seg_pad_val: int | None = None,
    ) -> None:
        self.prob, self.img_scale = self._probability(prob), tuple(img_scale)
        if not 0 <= center_ratio_range[0] <= center_ratio_range[1] <= 2:
            raise UserError(
                'center_ratio_range of RandomMosaic must lie in [0, 2], not '
                f'{center_ratio_range}: the canvas is twice img_scale.'
            )
        self.center_ratio_range = center_ratio_range
        self.pad_val, self.seg_pad_val = pad_val, seg_pad_val

    def get_indices(self, dataset: Sized) -> list[int]:
        """Which three samples come along."""
        return [int(np.random.randint(0, len(dataset))) for _ in range(3)]

    def transform(self, results: dict) -> dict:
        if 'mix_results' not in results:
            raise UserError(
                'RandomMosaic takes four pictures: give it in the pipeline of a '
                "dict(type='MultiImageMixDataset', dataset=..., pipeline=[...])."
            )
        if np.random.rand() >= self.prob:
            return results
        height, width = self.img_scale
        low, high = self.center_ratio_range
        across, down = np.random.uniform(low, high), np.random.uniform(low, high)
        center = int(down * height), int(across * width)
        parts = [results, *results['mix_results']]
        maps = [moving_maps(part, part['img'].shape[:2]) for part in parts][0]
        outside = ignored_label(results, self.seg_pad_val)
        made = {key: self._canvas([p[key] for p in parts], center, outside) for key in maps}
        results['img'] = self._canvas([p['img'] for p in parts], center, None)
        results.update(made)
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results

    def _canvas(
        self, arrays: list[np.ndarray], center: tuple[int, int], outside: int | None
    ) -> np.ndarray:
        """Four pictures, or their maps where it is told what lies outside, put together."""
        value = self.pad_val if outside is None else outside
        dtype = np.result_type(*arrays)
        dtype = dtype if outside is None else dtype_with(np.empty(0, dtype), value)
        total = tuple(2 * side for side in self.img_scale)
        canvas = np.full((*total, *arrays[0].shape[2:]), value, dtype)
        for number, array in enumerate(arrays):
            height, width = array.shape[:2]
            ratio = min(self.img_scale[0] / height, self.img_scale[1] / width)
            size = int(height * ratio), int(width * ratio)
            if outside is None:
                array = mmcv.imresize(array, size[::-1])
            else:
                array = nearest_window(array, size, (0, size[0], 0, size[1]))
            rows, own_rows = _beside(center[0], size[0], total[0], number < 2)
            columns, own_columns = _beside(center[1], size[1], total[1], number % 2 == 0)
            canvas[rows, columns] = array[own_rows, own_columns]
        return canvas
