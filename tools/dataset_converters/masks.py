"""Masks as COCO's tools store them, and outlines as labelling tools do."""

import numpy as np

from segkit.errors import UserError


def decode_mask(segmentation: dict | list, height: int, width: int) -> np.ndarray:
    """(H, W) bool of polygons, or of run lengths, whose decoder believes any size.

    Raises ValueError when the runs are not of the picture, or pycocotools is not there.
    """
    try:
        from pycocotools import mask as coco
    except ImportError:
        raise UserError(
            'masks are stored as run lengths; reading them takes `pip install pycocotools`'
        ) from None
    if isinstance(segmentation, list):
        return coco.decode(coco.merge(coco.frPyObjects(segmentation, height, width))).astype(bool)
    size, counts = list(segmentation.get('size', [height, width])), segmentation['counts']
    if size != [height, width]:
        raise UserError(f'a mask is of {size}, not {height} x {width}')
    if isinstance(counts, list):
        runs = np.asarray(counts)
        pixels = runs.sum() if runs.dtype.kind == 'i' else 0
        if pixels != height * width or runs.min() < 0:
            raise UserError(f'the runs of a mask cover {pixels} pixels, not {height} x {width}')
        segmentation = coco.frPyObjects(segmentation, height, width)
    return coco.decode(segmentation).astype(bool)


def box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """(4, 2) corners, x and y."""
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def ellipse(x: float, y: float, rx: float, ry: float) -> np.ndarray:
    """(64, 2) points of an ellipse, x and y."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return np.array([x, y]) + np.stack([rx * np.cos(angles), ry * np.sin(angles)], 1)
