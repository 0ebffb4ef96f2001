"""Boundary IoU: IoU of thin bands along the inner edge of each class.

Cheng et al., Boundary IoU, CVPR 2021, section 4: the band of a mask holds its pixels within ``d``
of the outside, ``d`` being 2 % of the picture's diagonal, and the picture's frame is outside.

All classes at once: a pixel is in the band of its own class exactly if a square window of side
``2 d + 1`` around it holds another value, that is, if the largest or the smallest value in the
window is not its own. Two separable morphological filters do for K classes what would otherwise
take K erosions. Labels (H, W) uint8, 255 = ignored; ignored pixels are outside of everything.
"""

from __future__ import annotations

import numpy as np

from segkit.errors import EvaluationError

_OUTSIDE = 255


def band(label: np.ndarray, distance: int) -> np.ndarray:
    """(H, W) uint8 map with every pixel farther than ``distance`` from an edge set to 255."""
    import cv2

    side = 2 * distance + 1
    kernel = np.ones((side, side), np.uint8)
    framed = cv2.copyMakeBorder(
        label, distance, distance, distance, distance, cv2.BORDER_CONSTANT, value=_OUTSIDE
    )
    inside = slice(distance, -distance)
    high = cv2.dilate(framed, kernel)[inside, inside]
    low = cv2.erode(framed, kernel)[inside, inside]
    return np.where((high != label) | (low != label), label, np.uint8(_OUTSIDE))


def boundary_counts(
    label: np.ndarray, pred: np.ndarray, num_classes: int, ignore_index: int = 255
) -> np.ndarray:
    """(3, K) int64 counts (intersection, label, prediction) of the bands of one image.

    ``label`` and ``pred`` are (H, W) maps; at most 255 classes.
    """
    if num_classes > _OUTSIDE:
        raise EvaluationError(
            f'boundary IoU counts at most {_OUTSIDE} classes, not {num_classes}; '
            'set boundary=False in IoUMetric.'
        )
    ignored = label == ignore_index
    label = np.where(ignored, _OUTSIDE, label).astype(np.uint8)
    pred = np.where(ignored, _OUTSIDE, pred).astype(np.uint8)
    distance = max(1, round(0.02 * float(np.hypot(*label.shape))))
    label, pred = band(label, distance), band(pred, distance)
    same = np.where(label == pred, label, np.uint8(_OUTSIDE))
    return np.stack(
        [np.bincount(x.ravel(), minlength=256)[:num_classes] for x in (same, label, pred)]
    )
