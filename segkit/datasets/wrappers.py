"""Datasets made of datasets: one after the other, one several times, or its samples mixed.

mmengine's wrappers build their parts from mmengine's registry alone and index them by plain
numbers; these build ours and pass the seed of a :class:`SeededIndex` on.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import mmengine.dataset as mmengine_dataset
import numpy as np
from mmengine.dataset import BaseDataset

from segkit.datasets.metainfo import OfMetainfo
from segkit.datasets.samplers import SeededIndex
from segkit.datasets.transforms.compose import Compose
from segkit.errors import UserError
from segkit.registry import DATASETS

_MAY_DIFFER = ('label_map', 'reduce_zero_label', 'palette')


def _build(dataset: dict | BaseDataset) -> BaseDataset:
    return DATASETS.build(dataset) if isinstance(dataset, dict) else dataset


def _at(idx: int, place: int) -> int:
    """``place`` within a part, with the seed that came with the index of the whole."""
    return SeededIndex(place, idx.seed) if isinstance(idx, SeededIndex) else place


def _check_alike(first: dict, other: dict, number: int, ignored: set[str]) -> None:
    """Both mean the same by their labels; the error names the key and both values."""
    for key in sorted({*first, *other} - ignored):
        here, there = first.get(key), other.get(key)
        if bool(np.all(here == there)) if isinstance(here, np.ndarray) else here == there:
            continue
        cure = f'Or pass ignore_keys=[{key!r}].'
        if key == 'classes':
            cure = 'Make them equal.'
            if here and there and sorted(here) == sorted(there):
                own = other.get('label_map') or dict(enumerate(range(len(there))))
                place = {index: here.index(name) for index, name in enumerate(there)}
                mapped = {old: place.get(new, new) for old, new in own.items()}
                cure = 'They are the same in another order: there, set metainfo.classes as in '
                cure += f'datasets[0] and label_map={mapped}.'
        raise UserError(
            f'ConcatDataset: metainfo.{key} is {here} in datasets[0] and {there} in '
            f'datasets[{number}]. {cure}'
        )


@DATASETS.register_module()
class ConcatDataset(mmengine_dataset.ConcatDataset):
    """Several datasets of the same classes one after the other (VOC's train and SBD's aug).

    How their label files are read (``label_map``, ``reduce_zero_label``) may differ, and so may
    their colours: those of the first are used. ``ignore_keys`` names what else may.
    """

    CLASSES: object = OfMetainfo('classes')
    PALETTE: object = OfMetainfo('palette')

    def __init__(
        self,
        datasets: Sequence[dict | BaseDataset],
        lazy_init: bool = False,
        ignore_keys: str | Sequence[str] = (),
    ) -> None:
        if not datasets:
            raise UserError('ConcatDataset needs at least one dataset in `datasets`.')
        ignored = [ignore_keys] if isinstance(ignore_keys, str) else list(ignore_keys or ())
        parts = [_build(dataset) for dataset in datasets]
        for number, part in enumerate(parts[1:], 1):
            ignoring = [getattr(p, 'ignore_index', 255) for p in (parts[0], part)]
            if ignoring[0] != ignoring[1] and 'ignore_index' not in ignored:
                raise UserError(
                    f'ConcatDataset: ignore_index is {ignoring[0]} in datasets[0] and '
                    f'{ignoring[1]} in datasets[{number}]. Give both the same; what is stored as '
                    f'{ignoring[1]} becomes it by label_map={{{ignoring[1]}: {ignoring[0]}}}.'
                )
            _check_alike(parts[0].metainfo, part.metainfo, number, {*ignored, *_MAY_DIFFER})
        super().__init__(parts, lazy_init, [key for part in parts for key in part.metainfo])

    def __getitem__(self, idx: int) -> dict:
        if not self._fully_initialized:
            self.full_init()
        part, place = self._get_ori_dataset_idx(idx)
        return self.datasets[part][_at(idx, place)]

    def get_cat_ids(self, idx: int) -> list[int]:
        """Classes that the label of a sample holds."""
        part, place = self._get_ori_dataset_idx(idx)
        return self.datasets[part].get_cat_ids(place)

    @property
    def num_skipped(self) -> int:
        """Damaged samples replaced so far, over all parts."""
        return sum(getattr(dataset, 'num_skipped', 0) for dataset in self.datasets)


class _OfOne:
    """Samples of the one dataset inside, in another order or number."""

    CLASSES: object = OfMetainfo('classes')
    PALETTE: object = OfMetainfo('palette')

    dataset: Any
    full_init: Callable[[], None]
    __len__: Callable[[], int]
    _fully_initialized: bool
    _get_ori_dataset_idx: Callable[[int], int]

    def __getitem__(self, idx: int) -> dict:
        if not self._fully_initialized:
            self.full_init()
        if idx >= len(self):  # `for sample in dataset` ends by this error
            raise IndexError(f'sample {idx} of {len(self)}')
        return self.dataset[_at(idx, self._get_ori_dataset_idx(idx))]

    def get_cat_ids(self, idx: int) -> list[int]:
        """Classes that the label of a sample holds."""
        return self.dataset.get_cat_ids(self._get_ori_dataset_idx(idx))

    @property
    def num_skipped(self) -> int:
        """Damaged samples replaced so far."""
        return getattr(self.dataset, 'num_skipped', 0)


@DATASETS.register_module()
class ClassBalancedDataset(_OfOne, mmengine_dataset.ClassBalancedDataset):
    """One dataset, its images with rare classes several times (Gupta et al., LVIS, CVPR 2019).

    With f(c) the share of images that hold class c, an image is there
    ceil(max over its classes of sqrt(oversample_thr / f(c))) times, at least once. Every label is
    read once when it is set up.
    """

    def __init__(
        self, dataset: dict | BaseDataset, oversample_thr: float, lazy_init: bool = False
    ) -> None:
        if not 0 < oversample_thr <= 1:
            raise UserError(
                f'ClassBalancedDataset(oversample_thr={oversample_thr!r}): a share of the images, '
                'above 0 and at most 1.'
            )
        super().__init__(_build(dataset), oversample_thr, lazy_init)

    def _get_repeat_factors(self, dataset: BaseDataset, repeat_thr: float) -> list[float]:
        held = [set(dataset.get_cat_ids(i)) for i in range(len(dataset))]
        images = Counter(name for classes in held for name in classes)
        factor = {c: max(1.0, math.sqrt(repeat_thr * len(held) / n)) for c, n in images.items()}
        return [max((factor[c] for c in classes), default=1.0) for classes in held]


@DATASETS.register_module()
class RepeatDataset(_OfOne, mmengine_dataset.RepeatDataset):
    """One dataset ``times`` times: epochs of a small dataset that are worth their overhead."""

    def __init__(self, dataset: dict | BaseDataset, times: int, **kwargs: object) -> None:
        if not isinstance(times, int) or times < 1:
            raise UserError(f'RepeatDataset(times={times!r}): a whole number of 1 or more.')
        super().__init__(_build(dataset), times, **kwargs)


@DATASETS.register_module()
class MultiImageMixDataset(RepeatDataset):
    """One dataset whose samples are mixed from several of it (`RandomMosaic`).

    A transform with a method ``get_indices(dataset)`` finds the samples of these indices, as the
    dataset's own pipeline gives them, in ``results['mix_results']``.

    Args:
        dataset: its pipeline loads and does not pack.
        pipeline: what follows, packing included.
        skip_type_keys: names of transforms to leave out.
    """

    def __init__(
        self,
        dataset: dict | BaseDataset,
        pipeline: Sequence[dict | Callable],
        skip_type_keys: Sequence[str] | None = None,
        lazy_init: bool = False,
    ) -> None:
        self.pipeline = Compose(pipeline)
        self.update_skip_type_keys(skip_type_keys or ())
        super().__init__(dataset, times=1, lazy_init=lazy_init)

    def update_skip_type_keys(self, skip_type_keys: Sequence[str]) -> None:
        """Leave out the transforms of these types, and no others, from now on.

        Raises ValueError for one that is not in the pipeline.
        """
        held = {type(transform).__name__ for transform in self.pipeline.transforms}
        if unknown := sorted(set(skip_type_keys) - held):
            raise UserError(
                f'skip_type_keys of MultiImageMixDataset: {unknown} is not in its pipeline, which '
                f'holds {sorted(held)}.'
            )
        self.skip_type_keys = tuple(skip_type_keys)

    def __getitem__(self, idx: int) -> dict:
        results = self._loaded(idx)
        for transform in self.pipeline.transforms:
            if type(transform).__name__ in self.skip_type_keys:
                continue
            if hasattr(transform, 'get_indices'):
                found = transform.get_indices(self.dataset)
                others = found if isinstance(found, Sequence) else [found]
                results['mix_results'] = [self._loaded(int(i)) for i in others]
            results = transform(results)
            if results is None:
                raise UserError(f'MultiImageMixDataset: {transform} gave nothing for sample {idx}.')
            results.pop('mix_results', None)
        return results

    def _loaded(self, idx: int) -> dict:
        results = dict(super().__getitem__(idx))
        if 'img' not in results:
            raise UserError(
                'MultiImageMixDataset: the pipeline of its dataset packs the samples. Give '
                'PackSegInputs in the pipeline of MultiImageMixDataset instead.'
            )
        return results
