"""Large pictures cut into tiles, pictures and labels alike, and colours read as classes.

A tile that would reach beyond the picture is moved back to its end, so that all are of one size and
the last two overlap; a picture smaller than a tile is padded at its end.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from conversion import painted
from PIL import Image

Box = tuple[int, int, int, int]  # y1, y2, x1, x2


@dataclass(frozen=True)
class Tile:
    """A part of a file. With ``colours`` the file is a label painted in them: the value of a pixel
    is the position of its colour, or ``unknown``. ``outside`` is beyond the end of the file."""

    path: Path
    box: Box
    colours: tuple[tuple[int, int, int], ...] = ()
    unknown: int = 0
    outside: int = 0


def starts(length: int, tile: int, step: int) -> list[int]:
    """Where tiles begin along one side."""
    return sorted({max(min(start, length - tile), 0) for start in range(0, length, step)})


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Whatever its size, which Pillow else refuses: these are large, and the user's own."""
    usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as picture:
            yield picture
    finally:
        Image.MAX_IMAGE_PIXELS = usual


def boxes(path: Path, tile: int, step: int) -> Iterator[Box]:
    """The boxes of the tiles of a picture."""
    with _opened(path) as picture:
        width, height = picture.size
    for y in starts(height, tile, step):
        for x in starts(width, tile, step):
            yield y, y + tile, x, x + tile


@lru_cache(maxsize=1)
def _whole(path: Path, colours: Sequence, unknown: int) -> np.ndarray:
    """The file, kept for its next tile: (H, W, 3) RGB, or (H, W) uint8 of classes."""
    with _opened(path) as picture:
        whole = np.asarray(picture.convert('RGB'))
    if not colours:
        return whole
    return painted(whole, {colour: value for value, colour in enumerate(colours)}, unknown)


def cut(tile: Tile) -> np.ndarray:
    """The tile as it is written: (h, w, 3) RGB, or (h, w) uint8."""
    y1, y2, x1, x2 = tile.box
    part = _whole(tile.path, tile.colours, tile.unknown)[y1:y2, x1:x2]
    missing = [(0, y2 - y1 - part.shape[0]), (0, x2 - x1 - part.shape[1])]
    if not any(end for _, end in missing):
        return part
    return np.pad(part, missing + [(0, 0)] * (part.ndim - 2), constant_values=tile.outside)
