"""Datasets made of datasets: one after the other, or one several times.

mmengine's wrappers build their parts from mmengine's registry alone and index them by plain
numbers; these build ours and pass the seed of a :class:`SeededIndex` on.
"""

from collections.abc import Sequence
from typing import Any

import mmengine.dataset as mmengine_dataset
from mmengine.dataset import BaseDataset

from segkit.datasets.samplers import SeededIndex
from segkit.registry import DATASETS


def _build(dataset: dict | BaseDataset) -> BaseDataset:
    return DATASETS.build(dataset) if isinstance(dataset, dict) else dataset


def _at(idx: int, place: int) -> int:
    """``place`` within a part, with the seed that came with the index of the whole."""
    return SeededIndex(place, idx.seed) if isinstance(idx, SeededIndex) else place


@DATASETS.register_module()
class ConcatDataset(mmengine_dataset.ConcatDataset):
    """Several datasets of the same classes one after the other (VOC's train and SBD's aug).

    How their label files are read (``label_map``, ``reduce_zero_label``) may differ.
    """

    def __init__(
        self,
        datasets: Sequence[dict | BaseDataset],
        lazy_init: bool = False,
        ignore_keys: Sequence[str] = (),
    ) -> None:
        if not datasets:
            raise ValueError('ConcatDataset needs at least one dataset in `datasets`.')
        ignored = [ignore_keys] if isinstance(ignore_keys, str) else list(ignore_keys or ())
        parts = [_build(dataset) for dataset in datasets]
        super().__init__(parts, lazy_init, [*ignored, 'label_map', 'reduce_zero_label'])

    def __getitem__(self, idx: int) -> dict:
        if not self._fully_initialized:
            self.full_init()
        part, place = self._get_ori_dataset_idx(idx)
        return self.datasets[part][_at(idx, place)]

    @property
    def num_skipped(self) -> int:
        """Damaged samples replaced so far, over all parts."""
        return sum(getattr(dataset, 'num_skipped', 0) for dataset in self.datasets)


@DATASETS.register_module()
class RepeatDataset(mmengine_dataset.RepeatDataset):
    """One dataset ``times`` times: epochs of a small dataset that are worth their overhead."""

    def __init__(self, dataset: dict | BaseDataset, times: int, **kwargs: Any) -> None:
        super().__init__(_build(dataset), times, **kwargs)

    def __getitem__(self, idx: int) -> dict:
        if not self._fully_initialized:
            self.full_init()
        return self.dataset[_at(idx, self._get_ori_dataset_idx(idx))]

    @property
    def num_skipped(self) -> int:
        """Damaged samples replaced so far."""
        return getattr(self.dataset, 'num_skipped', 0)
