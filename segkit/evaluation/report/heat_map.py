"""The confusion matrix as a picture: rows are labels, each row sums to 100 %.

The cells are one tiny PNG, K x K pixels, whose transparency is the share: it lies over the page,
so it suits a light and a dark background, and 150 classes cost no more than 22,500 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from .pictures import png_uri

_ACCENT = (47, 111, 237)
_NUMBERS_UP_TO = 25


def row_shares(matrix: np.ndarray) -> np.ndarray:
    """(K, K) counts -> percent of each row; rows without labels are nan."""
    with np.errstate(invalid='ignore'):
        return 100 * matrix / matrix.sum(1, keepdims=True)


def heat_map(matrix: np.ndarray, classes: Sequence[str]) -> str:
    """SVG with class names on both axes, and numbers in the cells where there is room."""
    k = len(classes)
    if not k:
        return '<p class="muted">No image has labels.</p>'
    cell = 34 if k <= _NUMBERS_UP_TO else max(7, 850 // k)
    letters = max(5, min(12, cell - 2))
    margin = 14 + int(0.6 * letters * max(map(len, classes)))
    size = margin + k * cell + 6
    shares = row_shares(matrix)
    body = [
        f'<image x="{margin}" y="{margin}" width="{k * cell}" height="{k * cell}" '
        f'preserveAspectRatio="none" style="image-rendering:pixelated" href="{_cells(shares)}"/>',
        f'<rect class="frame" x="{margin}" y="{margin}" width="{k * cell}" height="{k * cell}"/>',
    ]
    for i, name in enumerate(classes):
        at = margin + (i + 0.5) * cell
        text = escape(name)
        style = f'style="font-size:{letters}px"'
        body.append(
            f'<text class="end" {style} x="{margin - 6}" y="{at + letters / 3:.1f}">{text}</text>'
            f'<text {style} transform="translate({at + letters / 3:.1f} {margin - 6}) '
            f'rotate(-90)">{text}</text>'
        )
    if k <= _NUMBERS_UP_TO:
        body += _numbers(shares, margin, cell)
    return (
        f'<svg class="matrix" style="max-width:{size}px" viewBox="0 0 {size} {size}" role="img" '
        f'aria-label="confusion matrix">{"".join(body)}</svg>'
    )


def _cells(shares: np.ndarray) -> str:
    picture = np.zeros((*shares.shape, 4), np.uint8)
    picture[..., :3] = _ACCENT
    # The square root keeps shares of a few per cent, the interesting ones, visible.
    picture[..., 3] = np.round(255 * np.sqrt(np.nan_to_num(shares) / 100))
    return png_uri(picture)


def _numbers(shares: np.ndarray, margin: int, cell: int) -> list[str]:
    texts = []
    for (row, column), share in np.ndenumerate(shares):
        if not share >= 0.5:
            continue
        style = 'mid on' if share > 25 else 'mid'
        x, y = margin + (column + 0.5) * cell, margin + (row + 0.5) * cell + 4
        texts.append(f'<text class="{style}" x="{x}" y="{y}">{share:.0f}</text>')
    return texts


def worst_confusions(matrix: np.ndarray, classes: Sequence[str], count: int = 10) -> list[tuple]:
    """(label, prediction, percent of the label's pixels, pixels), most pixels first."""
    off = matrix.copy()
    np.fill_diagonal(off, 0)
    shares = row_shares(matrix)
    order = np.argsort(off, axis=None, kind='stable')[::-1][:count]
    cells = [np.unravel_index(i, off.shape) for i in order]
    return [
        (classes[i], classes[j], float(shares[i, j]), int(off[i, j]))
        for i, j in cells
        if off[i, j] > 0
    ]
