"""Many pictures on one sheet, and a legend of class colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segkit.errors import UserError

from .overlays import fit, titled


def contact_sheet(
    images: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    columns: int = 4,
    width: int = 320,
    gap: int = 8,
) -> np.ndarray:
    """(H, W, 3) uint8 pictures of any sizes in rows of ``columns``, each ``width`` pixels wide."""
    if not images:
        raise UserError('contact_sheet needs at least one picture.')
    cells = [
        fit(image, (round(image.shape[0] * width / image.shape[1]), width)) for image in images
    ]
    if titles is not None:
        cells = [titled(cell, title) for cell, title in zip(cells, titles)]
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    heights = [max(cell.shape[0] for cell in row) for row in rows]
    total = gap + sum(height + gap for height in heights)
    sheet = np.full((total, gap + min(columns, len(cells)) * (width + gap), 3), 255, np.uint8)
    top = gap
    for row, height in zip(rows, heights):
        for i, cell in enumerate(row):
            left = gap + i * (width + gap)
            sheet[top : top + cell.shape[0], left : left + width] = cell
        top += height + gap
    return sheet


def legend(
    classes: Sequence[str], palette: Sequence[Sequence[int]], width: int, line: int = 24
) -> np.ndarray:
    """Swatches with names in as many columns as ``width`` holds; (h, width, 3) uint8."""
    import cv2

    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.42
    longest = max(cv2.getTextSize(name, font, scale, 1)[0][0] for name in classes)
    per_row = max(1, width // (longest + 44))
    rows = -(-len(classes) // per_row)
    picture = np.full((rows * line + 8, width, 3), 255, np.uint8)
    for i, (name, colour) in enumerate(zip(classes, palette)):
        left, top = i % per_row * (width // per_row) + 8, i // per_row * line + 8
        picture[top : top + 14, left : left + 14] = colour
        at = left + 20, top + 12
        cv2.putText(picture, name, at, font, scale, (32, 33, 36), 1, cv2.LINE_AA)
    return picture
