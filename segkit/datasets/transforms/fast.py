"""Load, resize and crop as one step: a crop needs only its label, then little of the image.

A config lists the transforms users know. Where they begin with loading image and label, resizing
and cropping, the planner replaces these by one step that draws the same random numbers in the
same order and gives the same bytes: the label is read first and only index-gathered, its crop is
chosen, and of the image only what the crop can see is decoded (caches) and resized. Any
other list runs as it is written.
"""

from collections.abc import Callable, Sequence
from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import RandomResize, Resize

from .geometric import CropBox, RandomCrop, Windows
from .loading import LoadAnnotations, LoadImageFromFile, check_same_size
from .resize_window import bilinear_window, near_bilinear_window, nearest_window, source_stop

Size = tuple[int, int]


class LoadResizeCrop:
    """LoadImageFromFile, LoadAnnotations, [Resize | RandomResize,] RandomCrop in one step.

    Args:
        crop_first: resize only the neighbourhood of the crop. Near-exact (mean difference 0.04
            grey levels, labels equal), and faster when pictures are enlarged.
    """

    def __init__(
        self,
        load_image: LoadImageFromFile,
        load_label: LoadAnnotations,
        resize: Resize | RandomResize | None,
        crop: RandomCrop,
        crop_first: bool = False,
    ) -> None:
        self.load_image, self.load_label = load_image, load_label
        self.resize, self.crop, self.crop_first = resize, crop, crop_first

    def __call__(self, results: dict) -> dict:
        stored = self.load_label.read(results)
        size = self._resized_size(results, stored.shape)
        get_window = self._label_windows(results, stored, size)
        box = self.crop.choose(*size, get_window)
        results['gt_seg_map'] = get_window(box)
        results.setdefault('seg_fields', []).append('gt_seg_map')
        results['img'] = self._image_window(results, stored.shape, size, box)
        results['img_shape'] = results['img'].shape[:2]
        return results

    def _resized_size(self, results: dict, shape: Size) -> Size:
        """(height, width) after the resize: draws the scale, records what Resize records."""
        if self.resize is None:
            return shape
        height, width = shape
        resize = self.resize
        if isinstance(resize, RandomResize):
            scale, resize = resize._random_scale(), resize.resize
        else:
            scale = resize.scale or _scaled((width, height), resize.scale_factor)
        new = mmcv.rescale_size((width, height), scale) if resize.keep_ratio else scale
        results['scale'] = scale
        results['scale_factor'] = (new[0] / width, new[1] / height)
        results['keep_ratio'] = resize.keep_ratio
        return new[1], new[0]

    def _label_windows(self, results: dict, stored: np.ndarray, size: Size) -> Windows:
        """box -> class indices of that window; the last one is kept, as it is asked for again."""
        last: list = [None, None]

        def get_window(box: CropBox) -> np.ndarray:
            if last[0] != box:
                window = nearest_window(stored, size, box)
                last[:] = box, self.load_label.map(window, results)
            return last[1]

        return get_window

    def _image_window(self, results: dict, shape: Size, size: Size, box: CropBox) -> np.ndarray:
        rows = source_stop(shape[0], size[0], box[1])
        img, results['ori_shape'] = self.load_image.read_top(results, rows)
        check_same_size(results, shape)
        if self.crop_first:
            return near_bilinear_window(img, size, box, shape[0])
        return bilinear_window(img, size, box, shape[0])

    def __repr__(self) -> str:
        steps = (self.load_image, self.load_label, self.resize, self.crop)
        return f'{type(self).__name__}({", ".join(repr(s) for s in steps if s is not None)})'


def _scaled(size: Size, factor: tuple[float, float]) -> Size:
    """(width, height) times a factor each, rounded as mmcv's Resize rounds."""
    return int(size[0] * float(factor[0]) + 0.5), int(size[1] * float(factor[1]) + 0.5)


def _is_plain_resize(transform: Any) -> bool:
    """Whether a transform resizes as this module does: bilinear by OpenCV, boxless."""
    if type(transform) is RandomResize:
        return _is_plain_resize(transform.resize)
    return (
        type(transform) is Resize
        and transform.backend == 'cv2'
        and transform.interpolation == 'bilinear'
    )


def fuse(transforms: Sequence[Callable], crop_first: bool = False) -> list[Callable]:
    """The list with its leading load-resize-crop fused, or unchanged where that is not its form.

    Types are compared exactly: a subclass may do anything.
    """
    found: list[Any] = list(transforms)
    if len(found) < 3 or {type(t) for t in found[:2]} != {LoadImageFromFile, LoadAnnotations}:
        return found
    first, second = found[:2]
    image, label = (first, second) if type(first) is LoadImageFromFile else (second, first)
    resize = found[2] if _is_plain_resize(found[2]) else None
    rest = found[3:] if resize is not None else found[2:]
    if not rest or type(rest[0]) is not RandomCrop or image.to_float32 or image.ignore_empty:
        return found
    return [LoadResizeCrop(image, label, resize, rest[0], crop_first), *rest[1:]]
