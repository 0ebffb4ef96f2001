"""Colours of classes. All colours are (R, G, B) uint8; index 255 of a table means ignored."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np

_GOLDEN = 0.618033988749895


def distinct_palette(num_classes: int) -> list[list[int]]:
    """K colours for classes that come without any: golden-ratio hues, three strengths in turn."""
    colours = []
    for i in range(num_classes):
        saturation, value = ((0.65, 0.95), (0.85, 0.7), (0.45, 0.85))[i % 3]
        rgb = colorsys.hsv_to_rgb(i * _GOLDEN % 1, saturation, value)
        colours.append([round(255 * c) for c in rgb])
    return colours


def palette_of(meta: dict | None, num_classes: int | None = None) -> list[list[int]]:
    """The data set's palette where it has one, else distinct colours for its classes."""
    meta = meta or {}
    if meta.get('palette'):
        return [list(colour) for colour in meta['palette']]
    return distinct_palette(num_classes or len(meta.get('classes') or ()) or 256)


def colour_table(
    palette: Sequence[Sequence[int]], ignored: Sequence[int] = (0, 0, 0), size: int = 256
) -> np.ndarray:
    """(size, 3) uint8 lookup table; entries past the palette, 255 among them, get ``ignored``."""
    table = np.full((max(size, len(palette)), 3), ignored, np.uint8)
    table[: len(palette)] = palette
    return table
