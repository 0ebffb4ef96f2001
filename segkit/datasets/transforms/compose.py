"""A pipeline: the transforms of a config one after the other, its beginning as one step.

A config lists the transforms users know. Where they begin with loading image and label, resizing
and cropping, these run as one step that draws the same random numbers in the same order and gives
the same bytes: a crop needs only its label, then little of the image. The label is read first and
only index-gathered, its crop is chosen, and of the image only what the crop can see is decoded
(caches) and resized. Any other list runs as it is written.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import RandomResize

from segkit.registry import TRANSFORMS

from .geometric import CropBox, RandomCrop, Windows
from .loading import LoadAnnotations, LoadImageFromFile, check_same_size, moving_maps
from .resize import Resize, bilinear_window, nearest_window, source_stop

Size = tuple[int, int]


class Compose:
    """Builds the transforms from this project's registry (mmengine's knows its own scope only).

    Args:
        transforms: configs or callables; ``self.transforms`` holds them as built.
        fast: run load, resize and crop as one step where the list begins with them.
    """

    def __init__(self, transforms: Sequence[dict | Callable] | None, fast: bool = False) -> None:
        self.transforms = [
            TRANSFORMS.build(t) if isinstance(t, dict) else t for t in transforms or ()
        ]
        for transform in self.transforms:
            if not callable(transform):
                raise TypeError(f'A transform must be a dict or callable, not {type(transform)}.')
        self.fast = fast

    def __call__(self, results: dict) -> dict | None:
        for transform in self._steps:
            results = transform(results)
            if results is None:
                return None
        return results

    @property
    def _steps(self) -> list[Callable]:
        """What runs; told anew for each sample, as who has the pipeline may change ``transforms``
        or a method of one of them."""
        return fuse(self.transforms) if self.fast else self.transforms

    def __repr__(self) -> str:
        return 'Compose(\n' + ''.join(f'    {t}\n' for t in self.transforms) + ')'


@dataclass
class LoadResizeCrop:
    """LoadImageFromFile, LoadAnnotations, [Resize | RandomResize,] RandomCrop in one step."""

    load_image: LoadImageFromFile
    load_label: LoadAnnotations
    resize: Resize | RandomResize | None
    crop: RandomCrop

    def __call__(self, results: dict) -> dict:
        stored = self.load_label.read(results)
        size = self._resized_size(results, stored.shape)
        get_window = self._label_windows(results, stored, size)
        box = self.crop.choose(*size, get_window, results)
        for key in moving_maps(results):
            results[key] = nearest_window(results[key], size, box)
        self.load_label.add(get_window(box), results)
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
        return bilinear_window(img, size, box, shape[0])


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


def fuse(transforms: Sequence[Callable]) -> list[Callable]:
    """The list with its leading load-resize-crop fused, or unchanged where that is not its form.

    Types are compared exactly: a subclass may do anything, and so may a method set on the object.
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
    if any(map(_has_own_method, (image, label, resize, getattr(resize, 'resize', None), rest[0]))):
        return found
    return [LoadResizeCrop(image, label, resize, rest[0]), *rest[1:]]


def _has_own_method(transform: object) -> bool:
    """Whether a method of its class was replaced on the object."""
    cls = type(transform)
    return transform is not None and any(hasattr(cls, name) for name in vars(transform))
