"""Augmented samples as pictures: what the network is fed, with its labels over it."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from segkit.datasets import SeededIndex
from segkit.datasets.places import files_of, scanned_folders
from segkit.engine.config_check import check_part
from segkit.errors import UserError
from segkit.outputs import check_outputs, refuse_inside
from segkit.registry import DATASETS
from segkit.visualization.contact_sheet import contact_sheet
from segkit.visualization.images import input_rgb
from segkit.visualization.local_visualizer import write_image
from segkit.visualization.overlays import overlay
from segkit.visualization.palette import palette_of

from .leaves import LOADERS
from .pictures import spread

_RAW = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
WRITER = 'browse_dataset'
Picture = tuple[str, np.ndarray]


def dataset_of(cfg: Config, split: str, raw: bool = False) -> Any:
    """The data set of a split; ``raw``: with its files as they are, without augmentation.

    Raises:
        ConfigError, ValueError: the config has no such split, or a wrong dataset.
    """
    key = LOADERS[split]
    if not cfg.get(key):
        raise UserError(f'{key}: the config has none, so there is no split {split!r}.')
    check_part(cfg, key)
    dataset_cfg = cfg[key]['dataset']
    return DATASETS.build({**dataset_cfg, 'pipeline': _RAW} if raw else dataset_cfg)


def browse(
    cfg: Config, split: str, count: int, seed: int = 0, opacity: float = 0.5, raw: bool = False
) -> Iterator[Picture]:
    """(title, (H, W, 3) uint8 RGB) of ``count`` samples of a split, evenly spread.

    The same ``seed`` gives the same augmentation. Otherwise as ``dataset_of``.
    """
    dataset = dataset_of(cfg, split, raw)
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


def refuse_overwriting(dataset: Any, out: Path, sheet: bool, count: int) -> None:
    """Before the first sample is read: nothing of the user's is at ``out``, a sheet or a folder.

    Raises:
        OutputError: names the file.
    """
    files = list(files_of(dataset))
    paths = [out]
    if not sheet:
        refuse_inside('--out', out, scanned_folders(dataset))
        chosen = spread(files, count)
        paths = [out / _name(i, Path(image).stem) for i, (image, _) in enumerate(chosen)]
    check_outputs('--out', WRITER, paths, [path for pair in files for path in pair if path])


def write_folder(pictures: Iterable[Picture], folder: Path) -> int:
    """One PNG each, numbered, since augmentation can show an image twice; returns how many."""
    count = 0
    for count, (title, picture) in enumerate(pictures, 1):
        write_image(picture, folder / _name(count - 1, title), WRITER)
    return count


def _name(number: int, title: str) -> str:
    return f'{number:04d}_{title}.png'


def write_sheet(pictures: Iterable[Picture], path: Path, columns: int, width: int) -> int:
    """All pictures on one sheet with their names; returns how many."""
    titles, images = zip(*pictures)
    write_image(contact_sheet(images, titles, columns, width), path, WRITER)
    return len(images)
