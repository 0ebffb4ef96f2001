"""Samples as pictures: the image with its labels over it, titled by its file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segkit.registry import TRANSFORMS
from segkit.visualization.images import viewable
from segkit.visualization.overlays import overlay

from .leaves import Leaf


def sample_picture(leaf: Leaf, info: dict, palette: Sequence[Sequence[int]]) -> np.ndarray | None:
    """(H, W, 3) uint8 RGB of one sample, with its labels where they can be read; None if not."""
    image_cfg, label_cfg = leaf.loaders
    results = dict(info)
    try:
        results.update(TRANSFORMS.build(dict(image_cfg))(results))
        picture = viewable(results['img'])
    except (OSError, ValueError):
        return None
    try:
        label = TRANSFORMS.build(dict(label_cfg))(results)['gt_seg_map']
    except (OSError, ValueError, KeyError):
        return picture
    return overlay(picture, label, palette, 0.6)


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
