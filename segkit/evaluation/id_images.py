"""Predictions as PNG of ids, in the coding that the dataset's own server and tools expect.

- a dataset whose metainfo has ``label_ids`` (class name -> id; Cityscapes): those. Names alone do
  not tell: other datasets share the classes of Cityscapes and store them otherwise;
- labels stored from 1 with 0 = unlabelled (``reduce_zero_label``; ADE20K, Pascal Context 59):
  class c is written as c + 1;
- Pascal VOC: the index itself, in a palette image with VOC's colours;
- anything else: the index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from segkit.errors import EvaluationError
from segkit.outputs import output_file, picture_png


def coding_table(
    classes: Sequence[str],
    reduce_zero_label: bool = False,
    label_ids: Mapping[str, int] | None = None,
) -> np.ndarray:
    """(K,) uint8 (uint16 from 256 ids on): what each class index is written as.

    Raises:
        EvaluationError: ``label_ids`` has no id for some class.
    """
    ids = np.arange(len(classes)) + int(reduce_zero_label)
    if label_ids is not None:
        missing = [name for name in classes if name not in label_ids]
        if missing:
            raise EvaluationError(
                f'metainfo.label_ids: has no id for the class(es) {", ".join(missing)}.'
            )
        ids = np.array([label_ids[name] for name in classes])
    return ids.astype(np.uint8 if ids.max() <= 255 else np.uint16)


class IdImageWriter:
    """Write one PNG an image into a folder, named after the image.

    A file that is there already is written over only if such a writer wrote it.

    Args:
        folder: made if it is not there.
        root: folder of the images, whose sub-folders are kept; without it there are none.
        classes: names by index; they decide the coding.
        palette: K colours (R, G, B), for VOC's palette images.
        label_ids: class name -> id, where the dataset has ids of its own.
    """

    def __init__(
        self,
        folder: str,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None = None,
        label_ids: Mapping[str, int] | None = None,
        root: str | None = None,
    ) -> None:
        self.folder, self.root = Path(folder), root
        self.folder.mkdir(parents=True, exist_ok=True)
        self.classes, self.label_ids = classes, label_ids
        first = [name.lower() for name in classes[:2]]
        of_voc = len(classes) == 21 and first == ['background', 'aeroplane']
        self.palette = palette if palette and of_voc else None
        self.sources: dict[str, str] = {}  # file name -> the image it was made from

    def write(self, pred: np.ndarray, img_path: str, reduce_zero_label: bool = False) -> Path:
        """Write an (H, W) map of class indices; returns the file."""
        from PIL import Image

        name = picture_png(img_path, self.root)
        claim(self.sources, name, img_path, self.folder)
        coding = coding_table(self.classes, reduce_zero_label, self.label_ids)
        if pred.max(initial=0) >= len(coding):  # unknown pixels, 255: no class, and no id
            coding = np.concatenate([coding, np.full(256 - len(coding), 255, coding.dtype)])
        image = Image.fromarray(coding[pred])
        if self.palette is not None:
            colours = np.zeros((256, 3), np.uint8)
            colours[: len(self.palette)] = self.palette
            image = image.convert('P') if image.mode != 'L' else image
            image.putpalette(colours.ravel().tolist())
        with output_file(self.folder / name, 'IoUMetric') as file:
            image.save(file, format='PNG')
        return self.folder / name


def claim(sources: dict[str, str], name: str, img_path: str, folder: str | Path) -> None:
    """Note in ``sources`` which image a file is of; two of one name would leave one file."""
    if sources.setdefault(name, img_path) != img_path:
        raise EvaluationError(
            f'{img_path}: its prediction overwrites that of {sources[name]}, '
            f'both {Path(folder) / name}; test folders that share file names one at a time.'
        )
