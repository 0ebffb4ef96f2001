"""Attention maps over pictures, as in figure 6 of the PSANet paper (ECCV 2018).

Shapes: image (H, W, 3) uint8 RGB; attention (h, w) float, any range; point (row, column) of the
image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .overlays import fit


def heat_colours(attention: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """(h, w) weights -> (H, W, 3) RGB; the top half per cent saturates, else one peak rules."""
    import cv2

    attention = attention.astype(np.float32)
    low, high = float(attention.min()), float(np.quantile(attention, 0.995))
    if high <= low:
        high = max(float(attention.max()), low + 1e-12)
    scaled = np.clip((attention - low) / (high - low), 0, 1)
    smooth = cv2.resize(scaled, (int(shape[1]), int(shape[0])), interpolation=cv2.INTER_LINEAR)
    bytes_ = (255 * np.clip(smooth, 0, 1)).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(bytes_, cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)


def attention_overlay(
    image: np.ndarray,
    attention: np.ndarray,
    point: Sequence[int] | None = None,
    opacity: float = 0.55,
) -> np.ndarray:
    """The heat of one point's attention over the image, with a cross where the point is."""
    heat = heat_colours(attention, image.shape[:2]).astype(np.float32)
    mixed = (image * (1 - opacity) + heat * opacity + 0.5).astype(np.uint8)
    return mixed if point is None else mark(mixed, point)


def mark(image: np.ndarray, point: Sequence[int]) -> np.ndarray:
    """A white cross with a dark outline at (row, column)."""
    import cv2

    image = np.ascontiguousarray(fit(image, image.shape[:2]).copy())
    row, column = (int(v) for v in point)
    arm = max(6, min(image.shape[:2]) // 40)
    for colour, thickness in (((0, 0, 0), 5), ((255, 255, 255), 2)):
        cv2.line(image, (column - arm, row), (column + arm, row), colour, thickness, cv2.LINE_AA)
        cv2.line(image, (column, row - arm), (column, row + arm), colour, thickness, cv2.LINE_AA)
    return image
