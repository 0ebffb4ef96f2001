"""Augmented samples as pictures: what the network is fed, with its labels over it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mmengine.config import Config

from segkit.datasets import BaseSegDataset, SeededIndex
from segkit.datasets.paths import files_of, scanned_folders
from segkit.engine.config_check import check_part
from segkit.errors import UserError
from segkit.outputs import check_outputs, refuse_inside
from segkit.registry import DATASETS
from segkit.visualization.contact_sheet import contact_sheet, legend
from segkit.visualization.images import input_rgb
from segkit.visualization.local_visualizer import write_image
from segkit.visualization.overlays import overlay, palette_of

from .config_datasets import LOADERS
from .examine import value_counts
from .summary import spread

_RAW = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
WRITER = 'browse_dataset'
_LEGEND = 'legend.png'
_BARE = (232, 232, 232)  # of ignored pixels the picture itself is seen
Picture = tuple[str, np.ndarray]


def dataset_of(cfg: Config, split: str, raw: bool = False) -> BaseSegDataset:
    """The data set of a split; ``raw``: with its files as they are, without augmentation.

    Raises:
        ConfigError, ValueError: the config has no such split, or a wrong dataset.
    """
    key = LOADERS[split]
    if not cfg.get(key):
        raise UserError(f'{key}: the config has none, so there is no split {split!r}.')
    check_part(cfg, key)
    dataset_cfg = cfg[key]['dataset']
    return DATASETS.build(_bare(dataset_cfg) if raw else dataset_cfg)


def _bare(dataset: dict) -> dict:
    """The config of a data set, or of each of several, without augmentation."""
    if 'datasets' in dataset:
        return {**dataset, 'datasets': [_bare(part) for part in dataset['datasets']]}
    if 'dataset' in dataset:
        return {**dataset, 'dataset': _bare(dataset['dataset'])}
    return {**dataset, 'pipeline': _RAW}


@dataclass
class Tally:
    """Label pixels of each value over the pictures that were shown."""

    classes: Sequence[str] = ()
    palette: Sequence[Sequence[int]] = ()
    counts: Counter = field(default_factory=Counter)

    def legend(self, width: int) -> np.ndarray:
        """Swatches with the share of each class among the labelled pixels; (h, width, 3)."""
        known = [self.counts[index] for index in range(len(self.classes))]
        total, pixels = sum(known) or 1, sum(self.counts.values()) or 1
        texts = [f'{name}  {100 * n / total:.1f} %' for name, n in zip(self.classes, known)]
        texts.append(f'ignored  {100 * (1 - sum(known) / pixels):.1f} % of all')
        return legend(texts, [*self.palette, _BARE], width)


def browse(
    cfg: Config,
    split: str,
    count: int,
    seed: int = 0,
    opacity: float = 0.5,
    raw: bool = False,
    tally: Tally | None = None,
) -> Iterator[Picture]:
    """(title, (H, W, 3) uint8 RGB) of ``count`` samples of a split, evenly spread.

    The same ``seed`` gives the same augmentation. ``tally`` counts the classes of what was shown.
    Otherwise as ``dataset_of``.
    """
    dataset = dataset_of(cfg, split, raw)
    tally = tally or Tally()
    tally.classes = dataset.metainfo.get('classes') or ()
    tally.palette = palette_of(dataset.metainfo)
    for number, index in enumerate(spread(range(len(dataset)), count)):
        sample = dataset[SeededIndex(index, seed + number)]
        data, image = sample['data_samples'], input_rgb(sample['inputs'])
        if 'gt_sem_seg' in data:
            label = data.gt_sem_seg.data.numpy()
            tally.counts.update(value_counts(label))
            image = overlay(image, label[0], tally.palette, opacity)
        yield Path(data.metainfo.get('img_path', 'sample')).stem, image


def refuse_overwriting(dataset: object, out: Path, sheet: bool, count: int) -> None:
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
        paths.append(out / _LEGEND)
    check_outputs('--out', WRITER, paths, [path for pair in files for path in pair if path])


def write_folder(pictures: Iterable[Picture], folder: Path, tally: Tally) -> int:
    """One PNG each, numbered, since augmentation can show an image twice; returns how many.

    The ``tally`` that has counted them is written beside them as ``legend.png``.
    """
    count = 0
    for count, (title, picture) in enumerate(pictures, 1):
        write_image(picture, folder / _name(count - 1, title), WRITER)
    if count and tally.classes:
        write_image(tally.legend(640), folder / _LEGEND, WRITER)
    return count


def _name(number: int, title: str) -> str:
    return f'{number:04d}_{title}.png'


def write_sheet(
    pictures: Iterable[Picture], path: Path, columns: int, width: int, tally: Tally
) -> int:
    """All pictures on one sheet with their names, below them the legend of ``tally``; how many."""
    titles, images = zip(*pictures)
    sheet = contact_sheet(images, titles, columns, width)
    if tally.classes:
        sheet = np.concatenate([sheet, tally.legend(sheet.shape[1])])
    write_image(sheet, path, WRITER)
    return len(images)
