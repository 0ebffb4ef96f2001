"""Any folder pair of images and label images as a dataset; the benchmark datasets derive from it.

    data_root/
      data_prefix['img_path']/       a/b<img_suffix>
      data_prefix['seg_map_path']/   a/b<seg_map_suffix>

Which pairs: those named in ``ann_file`` (one stem a line), else all images found. What can be
known before training starts (folders, empty splits, images without labels) is an error here.
"""

import inspect
import os
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from segkit import storage
from segkit.datasets.cache import DecodedCache, label_reading
from segkit.datasets.folds import in_fold
from segkit.datasets.label_maps import subset_label_map, whole_map
from segkit.datasets.metainfo import (
    OfMetainfo,
    check_subset,
    choose_palette,
    class_names,
    colours_of_labels,
    is_own,
    meta_of_older,
)
from segkit.datasets.samplers import SeededIndex
from segkit.datasets.scan import find_pairs
from segkit.datasets.transforms.compose import Compose
from segkit.datasets.transforms.loading import LoadAnnotations
from segkit.errors import DataError, UserError
from segkit.registry import DATASETS

_MAX_WORKERS = 256


_FOLDERS = 'img_path', 'seg_map_path'
_FOLD_KEYS = frozenset(inspect.signature(in_fold).parameters) - {'stems'}


def _check_arguments(
    on_error: str, label_format: str, fold: Mapping[str, object] | None, **ignored: object
) -> None:
    if unknown := sorted(set(fold or ()) - _FOLD_KEYS):
        raise UserError(
            f'fold: there is no {unknown[0]!r}; its keys are {", ".join(sorted(_FOLD_KEYS))}.'
        )
    for name, value, known in (
        ('on_error', on_error, ('raise', 'skip')),
        ('label_format', label_format, ('index', 'rgb')),
    ):
        if value not in known:
            raise UserError(f'{name} of a dataset must be one of {known}, not {value!r}.')
    for name in (name for name, value in ignored.items() if value):
        text = f'{name} of a dataset has no effect any more: take it out of the config.'
        print_log(text, 'current', 30)


def _check_names(prefix: Mapping[str, object], **suffixes: object) -> None:
    """What tells the files: folders under names that are read, and endings that are texts."""
    if unknown := [key for key in prefix if key not in _FOLDERS]:
        raise UserError(
            f'data_prefix: nothing reads {unknown[0]!r}; its keys are {" and ".join(_FOLDERS)}.'
        )
    for name, value in suffixes.items():
        if not isinstance(value, str):
            raise UserError(
                f'{name}={value!r}: one ending is wanted, such as {name}={".png"!r}. Files of '
                'other endings are a dataset of their own, joined to this one by ConcatDataset.'
            )


@DATASETS.register_module()
class BaseSegDataset(BaseDataset):
    """Images (H, W, 3) and labels (H, W) from two folders.

    Args:
        data_root: a folder; an address of an object store, ``s3://bucket/ade20k``; or of shards,
            ``shards://folder`` (``segkit/storage``).
        ann_file: split file, one stem a line; '' takes every image found.
        img_suffix, seg_map_suffix: what follows the stem in each folder.
        metainfo: ``dict(classes=..., palette=...)``. A subset of a dataset's own classes maps the
            others to ``ignore_index``.
        data_prefix: folders below ``data_root``; without ``seg_map_path`` there are no labels.
        ignore_index: label of pixels that do not count; the heads and the metric have their own.
        reduce_zero_label: 0 becomes ``ignore_index`` (which itself stays) and the rest shift down,
            before ``label_map``.
        label_map: old index -> new index, for stored values that are not yet class indices.
        label_format: ``'index'``, or ``'rgb'`` for labels painted in the palette's colours.
        fold: ``dict(number=0, of=5, part='train' or 'val', seed=0, group_by=None)``: the part of a
            fold of what is found, see ``folds.py``.
        cache: folder of decoded pictures written by ``tools/cache_dataset.py``.
        fast_pipeline: run the fused form of the pipeline, same bytes (``transforms/compose.py``).
        on_error: ``'raise'``, or ``'skip'`` to take another sample in place of a damaged one;
            ``num_skipped`` counts them over all workers.

    Indexing takes a number or a :class:`SeededIndex`; the latter seeds ``random`` and
    ``numpy.random`` first, so that the sample depends on nothing else.
    """

    METAINFO: dict = {}
    CLASSES: object = OfMetainfo('classes')
    PALETTE: object = OfMetainfo('palette')
    data_root: str
    ann_file: str
    _label_palette: Sequence[Sequence[int]] = ()

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        meta_of_older(cls)

    def __init__(
        self,
        ann_file: str = '',
        img_suffix: str = '.jpg',
        seg_map_suffix: str = '.png',
        metainfo: dict | None = None,
        data_root: str | None = None,
        data_prefix: dict | None = None,
        filter_cfg: dict | None = None,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        lazy_init: bool = False,
        max_refetch: int = 1000,
        ignore_index: int = 255,
        reduce_zero_label: bool = False,
        label_map: dict[int, int] | None = None,
        label_format: str = 'index',
        backend_args: dict | None = None,
        on_error: str = 'raise',
        cache: str | None = None,
        index_cache: str | None = None,
        fast_pipeline: bool = True,
        crop_first: bool = False,
        fold: Mapping[str, Any] | None = None,
    ) -> None:
        _check_arguments(
            on_error, label_format, fold, crop_first=crop_first, index_cache=index_cache
        )
        self.img_suffix, self.seg_map_suffix = img_suffix, seg_map_suffix
        self.ignore_index, self.reduce_zero_label = ignore_index, reduce_zero_label
        self.label_format = label_format
        self.backend_args = backend_args
        self.on_error = on_error
        self.fold = fold
        self._cache_folder = cache
        self._cache: DecodedCache | None = None
        # One slot a worker: each writes its own, the trainer reads the sum.
        self._skipped = torch.zeros(_MAX_WORKERS, dtype=torch.int64).share_memory_()
        prefix = dict.fromkeys(_FOLDERS, '') if data_prefix is None else data_prefix
        self._check_read(prefix, filter_cfg)
        super().__init__(
            ann_file=ann_file,
            metainfo=metainfo,
            data_root=data_root or '',
            data_prefix={key: value for key, value in prefix.items() if value is not None},
            filter_cfg=filter_cfg,
            indices=indices,
            serialize_data=serialize_data,
            pipeline=[],
            test_mode=test_mode,
            lazy_init=True,
            max_refetch=max_refetch,
        )
        self._complete_metainfo(label_map)
        self._common = self._common_entries()
        self.pipeline = Compose(pipeline, fast=fast_pipeline)
        if not lazy_init:
            self.full_init()

    def _check_read(self, prefix: Mapping[str, object], filter_cfg: object) -> None:
        """What the methods here read, or nobody does; those of a subclass may read it otherwise."""
        if type(self).load_data_list is BaseSegDataset.load_data_list:
            names = {'img_suffix': self.img_suffix, 'seg_map_suffix': self.seg_map_suffix}
            _check_names(prefix, **names)
        if filter_cfg and type(self).filter_data is BaseSegDataset.filter_data:
            print_log(f'filter_cfg={filter_cfg} of a dataset: nothing reads it.', 'current', 30)

    def _complete_metainfo(self, label_map: dict[int, int] | None) -> None:
        """Classes, palette and how labels are read, as every sample and every report finds them."""
        info = self._metainfo
        classes, own = info.get('classes'), self.METAINFO
        if classes is not None:
            info['classes'] = classes = class_names(classes)
        if info.get('reduce_zero_label', self.reduce_zero_label) != self.reduce_zero_label:
            raise UserError(
                f'reduce_zero_label is {info["reduce_zero_label"]} in metainfo and '
                f'{self.reduce_zero_label} in the dataset: set it in the dataset alone.'
            )
        if label_map is None:
            label_map = info.get('label_map')
        given = label_map is not None
        if label_map is not None:
            label_map = whole_map(label_map)
        elif classes is not None:
            # A subclass written for mmsegmentation knows of no other index than 255.
            ignore = {} if self.ignore_index == 255 else {'ignore_index': self.ignore_index}
            label_map = self.get_label_map(classes, **ignore)
        self.label_map = label_map
        colours = dict(zip(own.get('classes', ()), own.get('palette', ())))
        palette = choose_palette(info.get('palette'), classes, colours)
        if self.label_format == 'rgb' and classes is not None:
            self._read_colours(classes, palette, colours, given)
        info.update(
            palette=palette,
            label_map=self.label_map,
            reduce_zero_label=self.reduce_zero_label,
        )

    def _read_colours(
        self, classes: Sequence[str], palette: list, own: dict[str, Sequence], mapped: bool
    ) -> None:
        """The colours of the labels: those of all the dataset's own classes, which the label map of
        a subset is for; or those given for the classes in use, which need none."""
        if self.reduce_zero_label:
            raise UserError(
                "reduce_zero_label=True with label_format='rgb': the colours tell the classes, and "
                'no 0 is stored that could be taken out. Set reduce_zero_label=False; colours that '
                'do not count go into metainfo.ignored_colours.'
            )
        given = self._metainfo.get('palette')
        if own and not mapped and is_own(given, own):
            classes, palette = list(own), list(own.values())
        elif not mapped:
            self.label_map = None
        made_up = given is None and not own
        self._label_palette = colours_of_labels(classes, palette, made_up)

    @classmethod
    def get_label_map(
        cls, new_classes: Sequence[str] | None = None, ignore_index: int = 255
    ) -> dict[int, int] | None:
        """Old index -> new index for a subset of the dataset's own classes; None if it is all."""
        own = cls.METAINFO.get('classes')
        if own is None or new_classes is None:
            return None
        check_subset(new_classes, own, cls.__name__)
        return subset_label_map(own, new_classes, ignore_index)

    def _common_entries(self) -> dict:
        """What every sample's results dict carries besides its paths."""
        entries: dict[str, object] = dict(
            label_map=self.label_map,
            reduce_zero_label=self.reduce_zero_label,
            ignore_index=self.ignore_index,
        )
        if self.label_format == 'rgb':
            entries['label_palette'] = self._label_palette
            entries['ignored_colours'] = self._metainfo.get('ignored_colours', ())
        return entries

    def load_data_list(self) -> list[dict]:
        """``dict(img_path, seg_map_path)`` for each pair, sorted by path or as the split has it."""
        folders = self.data_prefix.get('img_path', ''), self.data_prefix.get('seg_map_path')
        found = find_pairs(
            *folders, self.img_suffix, self.seg_map_suffix, self.ann_file, self.backend_args
        )
        stems = found.stems
        images, labels = (os.path.join(folder or '', '') for folder in folders)
        pairs = [dict(img_path=images + stem + self.img_suffix) for stem in stems]
        if folders[1] is not None:
            for pair, stem in zip(pairs, stems):
                pair['seg_map_path'] = labels + stem + self.seg_map_suffix
        kinds = ('img_version', found.images), ('seg_map_version', found.labels)
        for key, versions in kinds if found.images or found.labels else ():
            for pair, stem in zip(pairs, stems):
                pair[key] = versions.get(stem, '')
        return pairs

    def _join_prefix(self) -> None:
        """As mmengine's, for addresses of stores and of shards too, which it knows not to join."""
        root = self.data_root = storage.on_disk(self.data_root)
        paths = [root, self.ann_file, *self.data_prefix.values()]
        if not any('://' in str(path) for path in paths):
            super()._join_prefix()
            return
        if self.ann_file:
            self.ann_file = storage.on_disk(storage.join(root, self.ann_file))
        for key, folder in self.data_prefix.items():
            self.data_prefix[key] = storage.on_disk(storage.join(root, folder))

    def of_fold(self, stems: Sequence[str]) -> list[str]:
        """Those of the data set's part of its fold, if it has one."""
        return list(stems) if self.fold is None else in_fold(stems, **self.fold)

    def filter_data(self) -> list[dict]:
        """The samples of the fold; the place where a decoded cache is opened and compared."""
        if self._cache_folder is not None:
            self._cache = cache = DecodedCache(self._cache_folder, self.data_root)
            cache.check(self.data_list, label_reading(self._common))
        if self.fold is None:
            return self.data_list
        folder = os.path.join(self.data_prefix.get('img_path') or '', '')
        named = {
            info['img_path'].removeprefix(folder).removesuffix(self.img_suffix): info
            for info in self.data_list
        }
        return [named[stem] for stem in self.of_fold(list(named))]

    def get_data_info(self, idx: int) -> dict:
        """Paths of a sample and what the dataset says about all of them."""
        info = {**super().get_data_info(idx), **self._common, 'seg_fields': []}
        if self._cache is not None:
            info['cache_entry'] = self._cache.entry(info['img_path'])
        return info

    def get_cat_ids(self, idx: int) -> list[int]:
        """Classes that the label of a sample holds, in order; the label is read for it."""
        info = self.get_data_info(idx)
        label = LoadAnnotations(backend_args=self.backend_args).transform(info)['gt_seg_map']
        return [int(value) for value in np.unique(label) if value != self.ignore_index]

    def __getitem__(self, idx: int) -> dict:
        if isinstance(idx, SeededIndex):
            random.seed(idx.seed)
            np.random.seed(idx.seed)
        place = int(idx)
        if not self._fully_initialized:
            self.full_init()
        for _ in range(self.max_refetch + 1):
            data = self._prepare_or_skip(place)
            if data is not None:
                return data
            if self.test_mode:
                raise UserError(f'The test pipeline gave nothing for sample {place}.')
            place = int(self._rand_another())
        raise RuntimeError(
            f'No usable sample in {self.max_refetch + 1} tries (max_refetch): the last one was '
            f'{self.get_data_info(place).get("img_path")}.'
        )

    def _prepare_or_skip(self, idx: int) -> dict | None:
        """A sample; None for a damaged one, counted, if the dataset is to skip those."""
        try:
            return self.prepare_data(idx)
        except (DataError, OSError, cv2.error) as error:
            if self.on_error != 'skip' or self.test_mode:
                raise
            worker = torch.utils.data.get_worker_info()
            self._skipped[(worker.id + 1) % _MAX_WORKERS if worker else 0] += 1
            print_log(
                f'Skipped a damaged sample ({self.num_skipped} so far): {error}', 'current', 30
            )
            return None

    @property
    def num_skipped(self) -> int:
        """Damaged samples replaced by others so far, over all workers of this process."""
        return int(self._skipped.sum())
