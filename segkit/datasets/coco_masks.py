"""Masks as the COCO tools write them, without needing the COCO tools.

uncompressed RLE   {'size': [H, W], 'counts': [n0, n1, ...]}: runs of 0 and 1 in turn, by column
compressed RLE     the counts as text: differences from the count before the last, in groups of
                   five bits, least significant first, bit 32 = more follows
polygons           [[x0, y0, x1, y1, ...], ...]
"""

from collections.abc import Sequence

import numpy as np


def decode_counts(text: str | bytes) -> list[int]:
    """The run lengths in a compressed RLE string."""
    text = text.encode('ascii') if isinstance(text, str) else text
    counts: list[int] = []
    value = shift = 0
    for byte in text:
        group = byte - 48
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:  # the sign of the last group is that of the number
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts


def decode_mask(segmentation: dict | Sequence, height: int, width: int) -> np.ndarray:
    """(H, W) bool of an RLE dict or a list of polygons.

    Raises ValueError when the runs do not fill the picture.
    """
    if not isinstance(segmentation, dict):
        return _draw(segmentation, height, width)
    counts = segmentation['counts']
    if isinstance(counts, str | bytes):
        counts = decode_counts(counts)
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    if flat.size != height * width:
        raise ValueError(f'the runs of a mask cover {flat.size} pixels, not {height} x {width}')
    return flat.reshape(width, height).T


def _draw(polygons: Sequence[Sequence[float]], height: int, width: int) -> np.ndarray:
    from PIL import Image, ImageDraw

    picture = Image.new('1', (width, height))
    for polygon in polygons:
        ImageDraw.Draw(picture).polygon([float(v) for v in polygon], fill=1)
    return np.array(picture)
