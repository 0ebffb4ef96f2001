"""Colours of classes. All colours are (R, G, B) uint8; index 255 of a table means ignored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segkit.datasets.metainfo import make_palette

# Black is a class of Pascal VOC, and near to dark classes elsewhere; no palette here holds white.
IGNORED = (255, 255, 255)


def palette_of(meta: dict | None, num_classes: int | None = None) -> list[list[int]]:
    """The dataset's palette where it has one, else the colours a dataset makes up for its classes.

    A class looks alike in a browsed dataset, in a training report and on a bare checkpoint.
    """
    meta = meta or {}
    if meta.get('palette'):
        return [list(colour) for colour in meta['palette']]
    return make_palette(num_classes or len(meta.get('classes') or ()) or 256)


def colour_table(
    palette: Sequence[Sequence[int]], ignored: Sequence[int] = IGNORED, size: int = 256
) -> np.ndarray:
    """(size, 3) uint8 lookup table; entries past the palette, 255 among them, get ``ignored``."""
    table = np.full((max(size, len(palette)), 3), ignored, np.uint8)
    table[: len(palette)] = palette
    return table
