"""Objects smaller than the grid of a network at the scale of training.

A network with stride 8 says one thing for each 8 x 8 pixels of the picture it is given; its logits
are resized from there. What covers less than one cell of that grid is mostly lost.

Legend: an object is a connected area of one class; areas are in cells of the grid.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np

from segkit.datasets.parallel import Failure, parallel
from segkit.engine.before_training import WARNING, Finding
from segkit.registry import TRANSFORMS

from .config_datasets import Leaf
from .quoting import shell_word
from .summary import spread

_LOOKED_AT = 40
_LOST = 0.5  # share of a class's pixels in objects below a cell that is worth a word
_LARGER = 4.0  # more is no cure
_RESIZES = ('Resize', 'RandomResize')


class Objects:
    """Areas of the objects of a label, by class; travels to workers."""

    def __init__(
        self, load_label: Mapping, resize: Mapping | None, stride: int, classes: int
    ) -> None:
        self.load_label, self.resize = dict(load_label), resize
        self.stride, self.classes = stride, classes

    def __call__(self, info: dict) -> dict[int, list[float]]:
        """Class -> areas in cells, for the classes of one label."""
        label = TRANSFORMS.build(dict(self.load_label))(dict(info))['gt_seg_map']
        cell = self.stride / training_scale(self.resize, label)
        return {
            int(index): object_areas(label == index, cell)
            for index in np.unique(label[label < self.classes])
        }


def object_areas(mask: np.ndarray, cell: float) -> list[float]:
    """(H, W) bool -> area of each connected part, in cells of ``cell`` x ``cell`` pixels."""
    stats = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)[2]
    return (stats[1:, cv2.CC_STAT_AREA] / cell**2).tolist()


def lost_share(areas: Sequence[float], larger: float = 1.0) -> float:
    """Share of the pixels that lie in objects below a cell, at ``larger`` times the scale."""
    total = sum(areas)
    return sum(a for a in areas if a * larger**2 < 1) / total if total else 0.0


def scale_that_keeps(areas: Sequence[float]) -> float:
    """By what the scale grows until less than ``_LOST`` of the pixels are lost."""
    below = sorted(areas)
    passed, total = 0.0, sum(areas)
    for area in below:
        passed += area
        if passed >= _LOST * total:
            return max(1.0, 1.01 / math.sqrt(area))
    return 1.0


def training_scale(resize: Mapping | None, image: np.ndarray) -> float:
    """By what a resize transform changes a picture of this size, in the middle of its range."""
    if not resize or not isinstance(resize.get('scale'), Sequence):
        return float((resize or {}).get('scale_factor') or 1.0)
    scale = resize['scale']
    scale = scale[0] if isinstance(scale[0], Sequence) else scale
    long, short = max(image.shape[:2]), min(image.shape[:2])
    return min(max(scale) / long, min(scale) / short)


def stride_of(model: Mapping | None) -> int:
    """The stride of the last map of a config's backbone; 8 where nothing says."""
    strides = ((model or {}).get('backbone') or {}).get('strides')
    return int(4 * np.prod(strides)) if strides else 8


def small_object_findings(
    cfg: Mapping, leaf: Leaf, classes: Sequence[str], workers: int | None
) -> Iterable[Finding]:
    """Classes that the grid loses at the scale the training pipeline resizes to."""
    resize = next((t for t in leaf.pipeline if t.get('type') in _RESIZES), None)
    stride = stride_of(cfg.get('model'))
    infos = [info for info in spread(leaf.infos, _LOOKED_AT) if 'seg_map_path' in info]
    objects = Objects(leaf.loaders[1], resize, stride, len(classes))
    found: dict[int, list[float]] = {}
    shown: dict[int, str] = {}
    for info, areas in zip(infos, parallel(objects, infos, '', workers)):
        for index, some in () if isinstance(areas, Failure) else areas.items():
            found.setdefault(index, []).extend(some)
            shown.setdefault(index, info['img_path'])
    lost = {i: lost_share(areas) for i, areas in sorted(found.items()) if lost_share(areas) > _LOST}
    if not lost:
        return
    named = ', '.join(f'{classes[i]} ({100 * share:.0f} %)' for i, share in lost.items())
    larger = max(scale_that_keeps(found[i]) for i in lost)
    yield Finding(
        WARNING,
        f'objects too small for the grid of the network: at the scale of training it says one '
        f'thing for {stride} x {stride} pixels, and smaller objects hold most of the pixels of '
        f'{named}. Train and test at a larger scale, about {larger:.1f} times.',
        [f'{shown[i]}: holds {classes[i]}' for i in lost],
        _options(leaf, resize, min(larger, _LARGER)),
        [shown[i] for i in lost][:4],
    )


def _options(leaf: Leaf, resize: Mapping | None, larger: float) -> list[str]:
    """The larger scale as an option, where the pipeline has one and there is one data set."""
    if not resize or not isinstance(resize.get('scale'), Sequence) or leaf.name != 'train':
        return []
    place = next(i for i, t in enumerate(leaf.pipeline) if t is resize)
    width, height = (8 * math.ceil(larger * int(side) / 8) for side in resize['scale'])
    return [shell_word(f'train_dataloader.dataset.pipeline.{place}.scale=({width},{height})')]
