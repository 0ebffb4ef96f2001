"""Samples as pictures: the image with its labels over it, titled by its file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segkit.registry import TRANSFORMS
from segkit.visualization.overlays import overlay

from .leaves import Leaf


def viewable(image: np.ndarray) -> np.ndarray:
    """(H, W[, C]) BGR of any dtype -> (H, W, 3) uint8 RGB; further channels are left out."""
    if image.ndim == 2:
        image = image[..., None]
    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        image = ((image - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
    if image.shape[2] < 3:
        image = np.repeat(image[..., :1], 3, axis=2)
    return np.ascontiguousarray(image[..., 2::-1])


def sample_picture(leaf: Leaf, info: dict, palette: Sequence[Sequence[int]]) -> np.ndarray | None:
    """(H, W, 3) uint8 RGB of one sample, with its labels where they can be read; None if not."""
    image_cfg, label_cfg = leaf.loaders
    results = dict(info)
    try:
        results.update(TRANSFORMS.build(dict(image_cfg))(results))
        picture = viewable(results['img'])
        if 'seg_map_path' in results:
            label = TRANSFORMS.build(dict(label_cfg))(results)['gt_seg_map']
            picture = overlay(picture, label, palette, 0.6)
    except (OSError, ValueError):
        return None
    return picture


def spread(items: Sequence, count: int) -> list:
    """``count`` of the items, evenly spread."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def sample_pictures(
    leaf: Leaf, palette: Sequence[Sequence[int]], count: int
) -> list[tuple[str, np.ndarray]]:
    """(file name, picture) of some readable samples."""
    pairs = [
        (Path(info['img_path']).name, sample_picture(leaf, info, palette))
        for info in spread(leaf.infos, count)
    ]
    return [(name, picture) for name, picture in pairs if picture is not None]
