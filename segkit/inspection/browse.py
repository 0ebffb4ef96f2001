"""Augmented samples as pictures: what the network is fed, with its labels over it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from mmengine.config import Config

from segkit.datasets import SeededIndex
from segkit.engine.config_check import check_part
from segkit.registry import DATASETS
from segkit.visualization.contact_sheet import contact_sheet
from segkit.visualization.images import input_rgb
from segkit.visualization.overlays import overlay
from segkit.visualization.palette import palette_of

from .leaves import LOADERS
from .pictures import spread

_RAW = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
Picture = tuple[str, np.ndarray]


def browse(
    cfg: Config, split: str, count: int, seed: int = 0, opacity: float = 0.5, raw: bool = False
) -> Iterator[Picture]:
    """(title, (H, W, 3) uint8 RGB) of ``count`` samples of a split, evenly spread.

    The same ``seed`` gives the same augmentation. ``raw`` shows the files instead.

    Raises:
        ConfigError, ValueError: the config has no such split, or a wrong dataset.
    """
    key = LOADERS[split]
    if not cfg.get(key):
        raise ValueError(f'{key}: the config has none, so there is no split {split!r}.')
    check_part(cfg, key)
    dataset_cfg = cfg[key]['dataset']
    dataset = DATASETS.build({**dataset_cfg, 'pipeline': _RAW} if raw else dataset_cfg)
    palette = palette_of(dataset.metainfo)
    for number, index in enumerate(spread(range(len(dataset)), count)):
        yield _picture(dataset[SeededIndex(index, seed + number)], palette, opacity)


def _picture(sample: dict, palette: list, opacity: float) -> Picture:
    data = sample['data_samples']
    image = input_rgb(sample['inputs'])
    title = Path(data.metainfo.get('img_path', 'sample')).stem
    if 'gt_sem_seg' not in data:
        return title, image
    return title, overlay(image, data.gt_sem_seg.data.numpy()[0], palette, opacity)


def write_folder(pictures: Iterable[Picture], folder: Path) -> int:
    """One PNG each, numbered, since augmentation can show an image twice; returns how many."""
    count = 0
    for count, (title, picture) in enumerate(pictures, 1):
        folder.mkdir(parents=True, exist_ok=True)
        _save(picture, folder / f'{count - 1:04d}_{title}.png')
    return count


def write_sheet(pictures: Iterable[Picture], path: Path, columns: int, width: int) -> int:
    """All pictures on one sheet with their names; returns how many."""
    titles, images = zip(*pictures)
    path.parent.mkdir(parents=True, exist_ok=True)
    _save(contact_sheet(images, titles, columns, width), path)
    return len(images)


def _save(picture: np.ndarray, path: Path) -> None:
    from PIL import Image

    Image.fromarray(picture).save(path)
