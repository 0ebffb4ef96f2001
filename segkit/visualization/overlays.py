"""Colours of classes, and label maps as pictures in them: flat, over the image, side by side.

Colours are (R, G, B) uint8; index 255 of a table of them means ignored.
Shapes: image (H, W, 3) uint8 RGB; label (H, W) integer, 255 = ignored. NumPy and OpenCV alone:
a figure of matplotlib takes 60 times as long for the same picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segkit.datasets.metainfo import make_palette

# Black is a class of Pascal VOC, and near to dark classes elsewhere; no palette here holds white.
IGNORED = (255, 255, 255)
_INK = (32, 33, 36)
_PAPER = (255, 255, 255)


def palette_of(meta: dict | None, num_classes: int | None = None) -> list[list[int]]:
    """The dataset's palette where it has one, else the colours a dataset makes up for its classes.

    A class looks alike in a browsed dataset, in a training report and on a bare checkpoint.
    """
    meta = meta or {}
    if meta.get('palette'):
        return [list(colour) for colour in meta['palette']]
    return make_palette(num_classes or len(meta.get('classes') or ()) or 256)


def colourise(
    label: np.ndarray, palette: Sequence[Sequence[int]], ignored: Sequence[int] = IGNORED
) -> np.ndarray:
    """(H, W) labels -> (H, W, 3) uint8 RGB; everything that is no class gets ``ignored``."""
    table = np.full((max(256, len(palette)), 3), ignored, np.uint8)
    table[: len(palette)] = palette
    known = (label >= 0) & (label < len(palette))
    return table[np.where(known, label, len(table) - 1)] if not known.all() else table[label]


def overlay(
    image: np.ndarray, label: np.ndarray, palette: Sequence[Sequence[int]], opacity: float = 0.5
) -> np.ndarray:
    """Class colours over the image, ``opacity`` of them and the rest image; ignored stays bare.

    The label map decides the size; an image of another size is resized to it.
    """
    image = fit(image, label.shape)
    colours = colourise(label, palette)
    mixed = image * np.float32(1 - opacity) + colours * np.float32(opacity)
    known = ((label >= 0) & (label < len(palette)))[..., None]
    return np.where(known, (mixed + 0.5).astype(np.uint8), image)


def error_map(
    image: np.ndarray, label: np.ndarray, pred: np.ndarray, ignore_index: int = 255
) -> np.ndarray:
    """The image in grey with wrong pixels in red; ignored pixels are dimmed."""
    import cv2

    grey = cv2.cvtColor(fit(image, label.shape), cv2.COLOR_RGB2GRAY)
    grey = np.repeat((grey * np.float32(0.6) + 80).astype(np.uint8)[..., None], 3, axis=2)
    ignored = label == ignore_index
    grey[ignored] //= 2
    grey[(label != pred) & ~ignored] = (230, 57, 70)
    return grey


def fit(image: np.ndarray, shape: Sequence[int], nearest: bool = False) -> np.ndarray:
    """Resize an image or a label map to (H, W) ``shape`` where it is not that size already."""
    import cv2

    if image.shape[:2] == tuple(shape):
        return image
    shrinks = shape[0] * shape[1] < image.shape[0] * image.shape[1]
    smooth = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    size = int(shape[1]), int(shape[0])
    return cv2.resize(image, size, interpolation=cv2.INTER_NEAREST if nearest else smooth)


def titled(image: np.ndarray, title: str) -> np.ndarray:
    """The image with a caption bar above it, its letters shrunk until the caption fits."""
    import cv2

    height, width = image.shape[:2]
    scale = max(0.4, min(1.2, height / 600))
    room = width - round(16 * scale)
    measured = cv2.getTextSize(title, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0]
    letters = scale * min(1.0, max(room, 1) / max(measured, 1))
    bar = np.full((round(34 * scale), width, 3), _PAPER, np.uint8)
    at = round(8 * scale), round(24 * scale)
    cv2.putText(bar, title, at, cv2.FONT_HERSHEY_SIMPLEX, letters, _INK, 1, cv2.LINE_AA)
    return np.concatenate([bar, image])


def side_by_side(
    panels: Sequence[np.ndarray], titles: Sequence[str] | None = None, gap: int = 8
) -> np.ndarray:
    """Panels of one height in a row with a white gap between them."""
    if titles is not None:
        panels = [titled(panel, title) for panel, title in zip(panels, titles)]
    height = max(panel.shape[0] for panel in panels)
    space = np.full((height, gap, 3), _PAPER, np.uint8)
    row = []
    for panel in panels:
        below = np.full((height - panel.shape[0], panel.shape[1], 3), _PAPER, np.uint8)
        row += [np.concatenate([panel, below]), space]
    return np.concatenate(row[:-1], axis=1)


def with_names(picture: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """The picture (H, W, 3) with each class's name in the middle of its largest area."""
    import cv2

    picture = np.ascontiguousarray(picture)
    scale = max(min(picture.shape[:2]) / 600, 0.3)
    for index in np.unique(labels):
        if not 0 <= index < len(classes):
            continue
        # The pixel farthest from any other class, with a frame so that edges count as other.
        mask = np.pad((labels == index).astype(np.uint8), 1)
        depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)[1:-1, 1:-1]
        y, x = divmod(int(depth.argmax()), depth.shape[1])
        name = str(classes[index])
        (width, height), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        left = min(max(x - width // 2, 0), max(picture.shape[1] - width, 0))
        place = (left, min(y + height // 2, picture.shape[0] - 1))
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(
                picture, name, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness,
                cv2.LINE_AA,
            )  # fmt: skip
    return picture
