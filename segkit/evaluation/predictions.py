"""Predictions that a test wrote: one pickle of maps, or a folder of PNG with ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from segkit.command import command
from segkit.errors import EvaluationError
from segkit.outputs import picture_png
from segkit.safe_pickle import read_arrays

from .id_images import coding_table


def read_pickle(path: str | Path) -> list[np.ndarray]:
    """The list of (H, W) maps that ``tools/test.py --out FILE.pkl`` wrote.

    Raises:
        EvaluationError: there is no such file, it is damaged or holds anything but arrays.
    """
    if not Path(path).is_file():
        raise EvaluationError(
            f'{path}: there is no such file; make it with `{command("test", "... --out FILE")}`.'
        )
    try:
        with open(path, 'rb') as file:
            maps = read_arrays(file)
    except ValueError as error:
        raise EvaluationError(
            f'{path}: not a pickle of label maps ({error}); make one with '
            f'`{command("test", "... --out FILE")}`.'
        ) from None
    if not isinstance(maps, list) or not all(isinstance(m, np.ndarray) for m in maps):
        raise EvaluationError(f'{path}: must hold a list of (H, W) arrays of class indices.')
    return maps


def _subset(images: int) -> str:
    """What to type where a test was of fewer or other images than the config has."""
    return (
        'Repeat the options by which the test chose its images, such as test_dataloader.dataset.'
        'ann_file, .data_prefix or .indices; if it was of the first ones: --cfg-options '
        f'test_dataloader.dataset.indices={images}'
    )


class Predictions:
    """Label maps by image, from a pickle (in the data set's order) or a folder (by name)."""

    def __init__(
        self,
        path: str | Path,
        classes: Sequence[str],
        images: int,
        label_ids: Mapping[str, int] | None = None,
        root: str | None = None,
    ) -> None:
        self.root = root
        self.path, self.classes, self.label_ids = Path(path), classes, label_ids
        self.maps = None if self.path.is_dir() else read_pickle(self.path)
        if self.maps is not None and len(self.maps) != images:
            raise EvaluationError(
                f'{path}: holds {len(self.maps)} predictions, but the data set has {images} '
                f'images. {_subset(len(self.maps))}'
            )

    def of(self, index: int, img_path: str, reduce_zero_label: bool = False) -> np.ndarray:
        """(H, W) class indices of an image."""
        if self.maps is not None:
            return self.maps[index]
        file = self.path / picture_png(img_path, self.root)
        if not file.is_file():
            file = self.path / file.name  # a folder of before 1.0 has no sub-folders
        if not file.is_file():
            there = sum(1 for _ in self.path.rglob('*.png'))
            raise EvaluationError(
                f'{file}: there is no prediction for {img_path}. {_subset(there)}'
            )
        from segkit.datasets.decode import DecodeError, decode_label

        coding = coding_table(self.classes, reduce_zero_label, self.label_ids)
        try:
            ids = decode_label(file.read_bytes())
        except DecodeError as error:
            raise EvaluationError(f'{file}: cannot be read as a PNG of ids ({error}).') from None
        return _decode(ids, coding.astype(np.int64), file)


def _decode(ids: np.ndarray, coding: np.ndarray, file: Path) -> np.ndarray:
    if ids.ndim != 2 or ids.dtype.kind not in 'ui' or ids.min(initial=0) < 0:
        raise EvaluationError(f'{file}: holds {ids.dtype} of shape {ids.shape}, not ids (H, W).')
    table = np.full(max(int(ids.max()), int(coding.max())) + 1, -1)
    table[coding] = np.arange(len(coding))
    indices = table[ids]
    if (indices < 0).any():
        unknown = ', '.join(str(i) for i in np.unique(ids[indices < 0])[:10])
        raise EvaluationError(
            f'{file}: id(s) {unknown} stand for none of the {len(coding)} classes.'
        )
    return indices
