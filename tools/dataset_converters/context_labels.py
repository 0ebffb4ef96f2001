"""Sources of Pascal Context labels, as one interface: images, their splits, a label for each.

Pascal Context names 459 classes; the benchmark uses the 59 most frequent and puts all others into
the background, class 0. The releases number the names differently (459 ids, 59 ids, category ids
of the Detail file), so classes are matched by name.
"""

import importlib.util
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from conversion import need_scipy, read_names
from masks import decode_mask

from segkit.datasets.decode import decode_label
from segkit.datasets.metainfo import dataset_metainfo
from segkit.json_file import read_json

_OTHER_SPELLINGS = {'diningtable': 'table', 'dining table': 'table', 'potted plant': 'pottedplant'}
_OTHER_SPELLINGS |= {'tv monitor': 'tvmonitor', 'bed clothes': 'bedclothes'}


def table_of_ids(names: dict[int, str], source: Path) -> np.ndarray:
    """A table from a source's ids to 0..59.

    Raises:
        ValueError: the names cover not even half of the 59 classes: another list of names.
    """
    classes = dataset_metainfo('pascal_context')['classes']
    position = {name: index for index, name in enumerate(classes)}
    table = np.zeros(max(max(names), 255) + 1, np.uint8)
    for key, name in names.items():
        name = name.strip().lower()
        table[key] = position.get(_OTHER_SPELLINGS.get(name, name), 0)
    found = len(set(table.tolist()) - {0})
    if found < (len(classes) - 1) / 2:
        raise ValueError(
            f'{source}: only {found} of the 59 class names are in it; give the list of names that '
            'belongs to these labels.'
        )
    return table


class DetailFile:
    """trainval_merged.json of the Detail release."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f'{path}: there is no such annotation file or folder.')
        if importlib.util.find_spec('pycocotools') is None:
            raise ValueError('Masks of the Detail release need: pip install pycocotools')
        try:
            data = read_json(path)
            entries = [{'category_id': e.get('id'), **e} for e in data['categories']]
            names = {int(entry['category_id']): entry['name'] for entry in entries}
            self._table = table_of_ids(names, path)
            self._images = {image['image_id']: image for image in data['images']}
            self._masks = defaultdict(list)
            for annotation in data['annos_segmentation']:
                self._masks[annotation['image_id']].append(annotation)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f'{path}: not an annotation file of the Detail release ({error!r}).'
            ) from None

    def items(self) -> Iterator[tuple[str, Any]]:
        """(stem, what ``label`` takes) of each image with annotations."""
        for key, image in self._images.items():
            if key in self._masks:
                yield Path(image['file_name']).stem, (image, self._masks[key])

    def label(self, item: tuple[dict, list[dict]]) -> np.ndarray:
        """(H, W) uint8 of one image."""
        image, annotations = item
        label = np.zeros((image['height'], image['width']), np.uint8)
        for annotation in annotations:
            mask = decode_mask(annotation['segmentation'], *label.shape)
            label[mask] = self._table[annotation['category_id']]
        return label

    def split(self, name: str) -> list[str]:
        """Stems of the images whose phase is ``name`` ('train' or 'val')."""
        images = (self._images[key] for key in self._masks)
        return [Path(i['file_name']).stem for i in images if i['phase'] == name]

    def __getstate__(self) -> dict:
        # Workers get the annotations of their images as jobs; the rest need not travel.
        return {'_table': self._table}


class LabelFolder:
    """A folder of label PNGs or of the 459-class .mat files, and its list of names."""

    def __init__(self, folder: Path, names: Path | None, voc: Path) -> None:
        self._files = sorted(folder.glob('*.png')) or sorted(folder.glob('*.mat'))
        if not self._files:
            raise FileNotFoundError(f'{folder}: neither .png nor .mat labels in it.')
        need_scipy(self._files)
        if names is None:
            raise ValueError(
                f'{folder}: which value is which class is told by the text file that comes with '
                'the labels (59_labels.txt or labels.txt); give it with --names.'
            )
        lines = [line.split(':', 1) for line in names.read_text().splitlines() if ':' in line]
        self._table = table_of_ids({int(key): name for key, name in lines}, names)
        self._lists = [voc / 'ImageSets' / kind for kind in ('SegmentationContext', 'Main')]

    def items(self) -> Iterator[tuple[str, Any]]:
        """(stem, file) of each label."""
        return ((path.stem, path) for path in self._files)

    def label(self, path: Path) -> np.ndarray:
        """(H, W) uint8 of one file."""
        if path.suffix == '.mat':
            from scipy.io import loadmat

            stored = loadmat(path)['LabelMap']
        else:
            stored = decode_label(path.read_bytes())
        if stored.ndim != 2 or stored.max() >= len(self._table):
            raise ValueError('not a label of class ids')
        return self._table[stored]

    def split(self, name: str) -> list[str]:
        """Stems of the images that have a label and are in VOC's list of that name."""
        have = {path.stem for path in self._files}
        for folder in self._lists:
            if (folder / f'{name}.txt').is_file():
                return [n for n in read_names(folder / f'{name}.txt') if n in have]
        raise FileNotFoundError(
            f'{self._lists[-1] / name}.txt: this list of VOC 2010 is needed to tell training from '
            'validation images.'
        )

    def __getstate__(self) -> dict:
        return {'_table': self._table}
