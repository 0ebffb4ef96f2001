"""Transforms of a picture and its maps together: crop, flip, rotation, padding.

Every map named in ``seg_fields`` moves with the picture. Outside of the picture lies the label that
its dataset ignores (``ignore_index`` of the results, 255 where it says nothing), unless a config
gives another value here.

Legend: img (H, W, C), gt_seg_map (H, W) class indices. A crop box is (y1, y2, x1, x2), upper
bounds exclusive.
"""

from collections.abc import Callable, Sequence

import cv2
import mmcv.transforms
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import DefaultScope

from segkit.errors import UserError
from segkit.registry import TRANSFORMS

from .loading import Transform, ignored_label, moving_maps

CropBox = tuple[int, int, int, int]
Windows = Callable[[CropBox], np.ndarray]  # a box -> that part of the label
_MAX_RETRIES = 10
_FLIP_CODES = {'horizontal': 1, 'vertical': 0, 'diagonal': -1}
_FLIP_AXES = {'horizontal': (1,), 'vertical': (0,), 'diagonal': (0, 1)}


def class_counts(label: np.ndarray) -> np.ndarray:
    """Pixels of each class that occurs, by value; a histogram is 15 times np.unique on bytes.

    A negative label is no class: where one occurs, it is the ignored one.
    """
    if label.dtype != np.uint8:
        return np.bincount(label[label >= 0], minlength=256)
    counts = cv2.calcHist([label], [0], None, [256], [0, 256])
    return counts.ravel().astype(np.int64)


@TRANSFORMS.register_module()
class RandomCrop(Transform):
    """A random window of at most ``crop_size``; smaller images are kept and padded later.

    With ``cat_max_ratio`` < 1 a window is drawn again, up to ten times, until it holds at least
    two labelled classes and none covers that share of its labelled pixels or more; the eleventh
    is taken as it is.

    Args:
        crop_size: (height, width) or one number for both.
        cat_max_ratio: largest share of one class, exclusive; 1 switches the check off.
        ignore_index: the label value that counts for nothing in the check; None is the one that
            the dataset ignores.
    """

    def __init__(
        self,
        crop_size: int | tuple[int, int],
        cat_max_ratio: float = 1.0,
        ignore_index: int | None = None,
    ) -> None:
        size = (crop_size, crop_size) if isinstance(crop_size, int) else tuple(crop_size)
        if len(size) != 2 or min(size) <= 0:
            raise UserError(f'crop_size of RandomCrop must be positive, not {crop_size}.')
        self.crop_size = size
        self.cat_max_ratio = cat_max_ratio
        self.ignore_index = ignore_index

    def draw(self, height: int, width: int) -> CropBox:
        """A box inside an image of this size."""
        crop_h, crop_w = self.crop_size
        y1 = np.random.randint(0, max(height - crop_h, 0) + 1)
        x1 = np.random.randint(0, max(width - crop_w, 0) + 1)
        return y1, min(y1 + crop_h, height), x1, min(x1 + crop_w, width)

    def is_balanced(self, window: np.ndarray, ignored: int = 255) -> bool:
        """Whether a label window passes the check of ``cat_max_ratio``."""
        counts = class_counts(window)
        if 0 <= ignored < len(counts):
            counts[ignored] = 0
        counts = counts[counts > 0]
        return len(counts) > 1 and counts.max() / counts.sum() < self.cat_max_ratio

    def choose(self, height: int, width: int, get_window: Windows, results: dict) -> CropBox:
        """Draw boxes until ``get_window(box)`` of labels is balanced or the tries are used up."""
        box = self.draw(height, width)
        if self.cat_max_ratio < 1.0:
            ignored = ignored_label(results, self.ignore_index)
            for _ in range(_MAX_RETRIES):
                if self.is_balanced(get_window(box), ignored):
                    break
                box = self.draw(height, width)
        return box

    def crop_bbox(self, results: dict) -> CropBox:
        """The box of a sample that is loaded."""
        label = results.get('gt_seg_map')
        height, width = results['img'].shape[:2]
        if label is None:
            return self.draw(height, width)
        return self.choose(height, width, lambda box: self.crop(label, box), results)

    def crop(self, img: np.ndarray, crop_bbox: CropBox) -> np.ndarray:
        """A picture or map, cut to a box."""
        y1, y2, x1, x2 = crop_bbox
        return img[y1:y2, x1:x2]

    def transform(self, results: dict) -> dict:
        maps = moving_maps(results, results['img'].shape[:2])
        box = self.crop_bbox(results)
        for key in ('img', *maps):
            results[key] = self.crop(results[key], box)
        results['img_shape'] = results['img'].shape[:2]
        return results


class _InOurScope(BaseTransform):
    """mmcv builds what these need while they run, by bare names in whatever scope is then set."""

    def transform(self, results: dict) -> dict:
        with DefaultScope.overwrite_default_scope('segkit'):
            return super().transform(results)


@TRANSFORMS.register_module()
class CenterCrop(_InOurScope, mmcv.transforms.CenterCrop):
    """mmcv's, for every map."""

    def _crop_seg_map(self, results: dict, bboxes: np.ndarray) -> None:
        x1, y1, x2, y2 = bboxes
        for key in moving_maps(results):
            results[key] = results[key][y1 : y2 + 1, x1 : x2 + 1]


@TRANSFORMS.register_module()
class MultiScaleFlipAug(_InOurScope, mmcv.transforms.MultiScaleFlipAug):
    """mmcv's, with our Resize and RandomFlip."""


@TRANSFORMS.register_module()
class RandomFlip(mmcv.transforms.RandomFlip):
    """mmcv's, for every map, with a contiguous image: who reads a mirrored view copies it, slowly.

    ``swap_seg_labels`` exchanges labels of ``gt_seg_map`` alone: other maps hold other numbers.
    """

    def _flip(self, results: dict) -> None:
        img, direction = results['img'], results['flip_direction']
        for key in moving_maps(results):
            results[key] = np.flip(results[key], _FLIP_AXES[direction])
        label = results.pop('gt_seg_map', None)  # boxes, points and the picture are mmcv's
        super()._flip(results)
        if label is not None:
            results['gt_seg_map'] = self._swapped(label)
            results['swap_seg_labels'] = self.swap_seg_labels
        if img.dtype in (np.uint8, np.float32) and img.ndim == 3 and img.shape[2] <= 4:
            results['img'] = cv2.flip(img, _FLIP_CODES[direction])

    def _swapped(self, label: np.ndarray) -> np.ndarray:
        if not self.swap_seg_labels:
            return label
        swapped = label.copy()
        for left, right in self.swap_seg_labels:
            swapped[label == left] = right
            swapped[label == right] = left
        return swapped


@TRANSFORMS.register_module()
class Pad(mmcv.transforms.Pad):
    """mmcv's, for every map. ``pad_val`` as there; without ``seg`` in it maps are padded with the
    label that the dataset ignores."""

    def __init__(
        self,
        size: tuple[int, int] | None = None,
        size_divisor: int | None = None,
        pad_to_square: bool = False,
        pad_val: float | dict | None = None,
        padding_mode: str = 'constant',
    ) -> None:
        values = pad_val if isinstance(pad_val, dict) else {'img': pad_val or 0}
        super().__init__(size, size_divisor, pad_to_square, values, padding_mode)

    def _pad_seg(self, results: dict) -> None:
        value = ignored_label(results, self.pad_val.get('seg'))
        height, width = results['pad_shape'][:2]
        for key in moving_maps(results):
            stored = results[key]
            h, w = stored.shape[:2]
            room = (max(height - h, 0), max(width - w, 0))
            if self.padding_mode != 'constant':
                rest = ((0, 0),) * (stored.ndim - 2)
                results[key] = np.pad(
                    stored, ((0, room[0]), (0, room[1]), *rest), self.padding_mode
                )
            elif any(room):
                shape = (h + room[0], w + room[1], *stored.shape[2:])
                results[key] = np.full(shape, value, dtype_with(stored, value))
                results[key][:h, :w] = stored


def dtype_with(stored: np.ndarray, value: float) -> np.dtype:
    """The map's own dtype where it holds ``value`` too, else int64."""
    if not np.issubdtype(stored.dtype, np.integer):
        return stored.dtype
    bounds = np.iinfo(stored.dtype)
    return stored.dtype if bounds.min <= value <= bounds.max else np.dtype(np.int64)


def rotated_map(
    stored: np.ndarray, matrix: np.ndarray, size: tuple[int, int], value: float
) -> np.ndarray:
    """A map of any dtype through the affine ``matrix`` onto a canvas of (width, height) ``size``.

    OpenCV rounds positions in other ways for other types of values, or does not take them: what is
    not bytes is gathered from positions that are moved as bytes are.
    """

    def moved(values: np.ndarray, outside: float) -> np.ndarray:
        return cv2.warpAffine(values, matrix, size, flags=cv2.INTER_NEAREST, borderValue=outside)

    if stored.dtype == np.uint8 and stored.ndim == 2 and 0 <= value <= 255:
        return moved(np.ascontiguousarray(stored), value)
    row, column = (np.arange(n, dtype=np.float32) for n in stored.shape[:2])
    places = np.meshgrid(row, column, indexing='ij')
    rows, columns = (moved(place, -1).astype(np.intp) for place in places)
    out = stored[rows, columns].astype(dtype_with(stored, value))
    out[rows < 0] = value
    return out


@TRANSFORMS.register_module()
class RandomRotate(Transform):
    """Rotation about the centre by a random angle (PSANet's recipe: 10 degrees, probability 0.5).

    Args:
        prob: probability in [0, 1].
        degree: the angle is uniform in [-degree, degree], or in the given (low, high).
        pad_val: grey level outside the image; seg_pad_val: value of the maps there, by default
            the label that the dataset ignores.
        center: (x, y) in pixels, the image's centre by default.
        auto_bound: enlarge the canvas so that nothing is cut off.
    """

    def __init__(
        self,
        prob: float = 0.5,
        degree: float | Sequence[float] = 10.0,
        pad_val: float = 0,
        seg_pad_val: int | None = None,
        center: tuple[float, float] | None = None,
        auto_bound: bool = False,
    ) -> None:
        bounds = (-degree, degree) if isinstance(degree, (int, float)) else tuple(degree)
        if len(bounds) != 2 or bounds[0] > bounds[1]:
            raise UserError(
                f'degree of RandomRotate must be positive or (low, high), not {degree}.'
            )
        if center is not None and auto_bound:
            raise UserError('RandomRotate takes either center or auto_bound, not both.')
        self.prob, self.degree = self._probability(prob), bounds
        self.pad_val, self.seg_pad_val = pad_val, seg_pad_val
        self.center, self.auto_bound = center, auto_bound

    def _matrix(self, angle: float, height: int, width: int) -> tuple[np.ndarray, tuple[int, int]]:
        """The 2x3 map and the (width, height) of the canvas; angle > 0 turns clockwise."""
        center = self.center or ((width - 1) / 2, (height - 1) / 2)
        matrix = cv2.getRotationMatrix2D(center, -angle, 1.0)
        if not self.auto_bound:
            return matrix, (width, height)
        cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
        new_w, new_h = height * sin + width * cos, height * cos + width * sin
        matrix[:, 2] += (new_w - width) / 2, (new_h - height) / 2
        return matrix, (round(new_w), round(new_h))

    def generate_degree(self) -> tuple[bool, float]:
        """Whether to rotate, and by how much."""
        # Both numbers are always drawn, so the generator advances by the same amount either way.
        return np.random.rand() < self.prob, np.random.uniform(*self.degree)

    def transform(self, results: dict) -> dict:
        rotate, angle = self.generate_degree()
        return self.rotated(results, angle) if rotate else results

    def rotated(self, results: dict, angle: float) -> dict:
        """Picture and maps turned by so many degrees, clockwise."""
        img = results['img']
        matrix, size = self._matrix(angle, *img.shape[:2])
        results['img'] = cv2.warpAffine(img, matrix, size, borderValue=(self.pad_val,) * 4)
        results['img_shape'] = results['img'].shape[:2]
        outside = ignored_label(results, self.seg_pad_val)
        for key in moving_maps(results, img.shape[:2]):
            results[key] = rotated_map(results[key], matrix, size, outside)
        return results


@TRANSFORMS.register_module()
class RandomRotFlip(Transform):
    """Either a rotation by an angle, or a turn by quarters and a mirroring, or nothing.

    Labels are turned as labels are, outside of the picture lies the ignored one; mmsegmentation
    interpolates them and has 0 there, so that classes arise that are not in the picture.

    Args:
        rotate_prob: of the rotation by an angle; the canvas stays.
        flip_prob: of quarter turns and a mirroring, where it was not rotated.
        degree: the angle is uniform in [-degree, degree], or in the given (low, high).
    """

    def __init__(
        self,
        rotate_prob: float = 0.5,
        flip_prob: float = 0.5,
        degree: float | Sequence[float] = (-20, 20),
    ) -> None:
        self.rotate_prob = self._probability(rotate_prob, 'rotate_prob')
        self.flip_prob = self._probability(flip_prob, 'flip_prob')
        self.rotate = RandomRotate(prob=1.0, degree=degree)

    def transform(self, results: dict) -> dict:
        rotate = np.random.rand() < self.rotate_prob
        if rotate:
            self.rotate.rotated(results, np.random.uniform(*self.rotate.degree))
        # Drawn in any case, as in mmsegmentation, so that a seed gives the same pictures.
        if np.random.rand() < self.flip_prob and not rotate:
            turns, axis = np.random.randint(0, 4), np.random.randint(0, 2)
            for key in ('img', *moving_maps(results, results['img'].shape[:2])):
                turned = np.flip(np.rot90(results[key], turns), axis)
                results[key] = np.ascontiguousarray(turned)
            results['img_shape'] = results['img'].shape[:2]
        return results
