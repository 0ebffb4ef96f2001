"""Any folder pair of images and label images as a dataset; the benchmark datasets derive from it.

    data_root/
      data_prefix['img_path']/       a/b<img_suffix>
      data_prefix['seg_map_path']/   a/b<seg_map_suffix>

Which pairs: those named in ``ann_file`` (one stem a line), else all images found. What can be
known before training starts (folders, empty splits, images without labels) is an error here.
"""

import os
import random
from collections.abc import Callable, Sequence
from difflib import get_close_matches

import cv2
import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from segkit.datasets.errors import DataError
from segkit.datasets.label_maps import subset_label_map
from segkit.datasets.metainfo import make_palette
from segkit.datasets.samplers import SeededIndex
from segkit.datasets.scan import is_local, list_files, list_stems, read_split
from segkit.datasets.transforms.compose import Compose
from segkit.registry import DATASETS

_MAX_WORKERS = 256
_SHOWN = 3


@DATASETS.register_module()
class BaseSegDataset(BaseDataset):
    """Images (H, W, 3) and labels (H, W) from two folders.

    Args:
        ann_file: split file, one stem a line; '' takes every image found.
        img_suffix, seg_map_suffix: what follows the stem in each folder.
        metainfo: ``dict(classes=..., palette=...)``. A subset of a dataset's own classes maps the
            others to ``ignore_index``.
        data_prefix: folders below ``data_root``; without ``seg_map_path`` there are no labels.
        reduce_zero_label: 0 becomes 255 and the rest shift down, before ``label_map``.
        label_map: old index -> new index, for stored values that are not yet class indices.
        label_format: ``'index'``, or ``'rgb'`` for labels painted in the palette's colours.
        on_error: ``'raise'``, or ``'skip'`` to take another sample in place of a damaged one;
            ``num_skipped`` counts them over all workers.

    Indexing takes a number or a :class:`SeededIndex`; the latter seeds ``random`` and
    ``numpy.random`` first, so that the sample depends on nothing else.
    """

    METAINFO: dict = {}

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
    ) -> None:
        for name, value, known in (
            ('on_error', on_error, ('raise', 'skip')),
            ('label_format', label_format, ('index', 'rgb')),
        ):
            if value not in known:
                raise ValueError(f'{name} of a dataset must be one of {known}, not {value!r}.')
        self.img_suffix, self.seg_map_suffix = img_suffix, seg_map_suffix
        self.ignore_index = ignore_index
        self.reduce_zero_label = reduce_zero_label
        self.label_format = label_format
        self.backend_args = backend_args
        self.on_error = on_error
        # One slot a worker: each writes its own, the trainer reads the sum.
        self._skipped = torch.zeros(_MAX_WORKERS, dtype=torch.int64).share_memory_()
        prefix = dict(img_path='', seg_map_path='') if data_prefix is None else data_prefix
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
        self.label_map = label_map if label_map is not None else self._label_map_of_classes()
        self._metainfo.update(
            palette=self._choose_palette(),
            label_map=self.label_map,
            reduce_zero_label=reduce_zero_label,
        )
        self._common = self._common_entries()
        self.pipeline = Compose(pipeline)
        if not lazy_init:
            self.full_init()

    # Classes and palette

    def _label_map_of_classes(self) -> dict[int, int] | None:
        """From the dataset's own classes to the chosen subset of them."""
        own, chosen = self.METAINFO.get('classes'), self._metainfo.get('classes')
        if chosen is not None:
            self._metainfo['classes'] = chosen = tuple(chosen)
        if own is None or chosen is None:
            return None
        for name in chosen:
            if name not in own:
                near = get_close_matches(name, own, 1)
                hint = f' Did you mean {near[0]!r}?' if near else ''
                raise ValueError(
                    f'metainfo.classes: {name!r} is not a class of {type(self).__name__}.{hint}'
                )
        return subset_label_map(own, chosen, self.ignore_index)

    def _choose_palette(self) -> list:
        """The given palette, its rows for a subset of classes, or made-up colours."""
        palette, classes = self._metainfo.get('palette'), self._metainfo.get('classes')
        if classes is None:
            return palette or []
        own = self.METAINFO.get('classes')
        if own is not None and palette is not None and len(palette) == len(own) != len(classes):
            return [palette[own.index(name)] for name in classes]
        if own is not None and palette == self.METAINFO.get('palette') and classes != own:
            return [palette[own.index(name)] for name in classes]
        if palette is not None and len(palette) != len(classes):
            raise ValueError(
                f'metainfo.palette has {len(palette)} colours for {len(classes)} classes: give '
                'one [r, g, b] for each class, or leave the palette out.'
            )
        return make_palette(len(classes)) if palette is None else palette

    def _common_entries(self) -> dict:
        """What every sample's results dict carries besides its paths."""
        entries = dict(label_map=self.label_map, reduce_zero_label=self.reduce_zero_label)
        if self.label_format == 'rgb':
            entries['label_palette'] = self._metainfo['palette']
            entries['ignored_colours'] = self._metainfo.get('ignored_colours', ())
        return entries

    # The index

    def load_data_list(self) -> list[dict]:
        """``dict(img_path, seg_map_path)`` for each pair, sorted by path or as the split has it."""
        image_dir = self.data_prefix.get('img_path', '')
        label_dir = self.data_prefix.get('seg_map_path')
        self._check_folder(image_dir, 'img_path')
        stems = self._stems(image_dir)
        if not stems:
            source = self.ann_file or f'{image_dir} (files ending in {self.img_suffix!r})'
            raise ValueError(
                f'{source}: no sample found, the split is empty. Check ann_file, data_root, '
                'data_prefix and img_suffix of the dataset in the config.'
            )
        if self.ann_file:
            self._check_present(image_dir, stems, self.img_suffix, 'image')
        if label_dir is None:
            return [dict(img_path=os.path.join(image_dir, s + self.img_suffix)) for s in stems]
        self._check_folder(label_dir, 'seg_map_path')
        self._check_present(label_dir, stems, self.seg_map_suffix, 'label')
        return [
            dict(
                img_path=os.path.join(image_dir, stem + self.img_suffix),
                seg_map_path=os.path.join(label_dir, stem + self.seg_map_suffix),
            )
            for stem in stems
        ]

    def _stems(self, image_dir: str) -> list[str]:
        if not self.ann_file:
            return list_stems(image_dir, self.img_suffix, self.backend_args)
        if is_local(self.ann_file) and not os.path.isfile(self.ann_file):
            raise FileNotFoundError(
                f'{self.ann_file}: the split file (ann_file) does not exist. Check data_root and '
                "ann_file, or set ann_file='' to use every image of the folder."
            )
        return read_split(self.ann_file, self.backend_args)

    def _check_folder(self, folder: str, key: str) -> None:
        if self._is_local(folder) and not os.path.isdir(folder):
            raise FileNotFoundError(
                f'{folder}: the folder of data_prefix.{key} does not exist. Set data_root (and '
                f'data_prefix.{key}) of the dataset in the config to where the data are.'
            )

    def _check_present(self, folder: str, stems: Sequence[str], suffix: str, what: str) -> None:
        """Every stem has its file: compared with a listing, which costs no stat per file."""
        if not self._is_local(folder):
            return
        present = set(list_files(folder, suffix))
        missing = [stem + suffix for stem in stems if stem + suffix not in present]
        if missing:
            shown = ', '.join(os.path.join(folder, name) for name in missing[:_SHOWN])
            raise FileNotFoundError(
                f'{len(missing)} of {len(stems)} samples have no {what}: {shown}'
                f'{", ..." if len(missing) > _SHOWN else ""}. Check img_suffix and '
                'seg_map_suffix, or list the complete samples in a split file (ann_file).'
            )

    def _is_local(self, path: str) -> bool:
        return self.backend_args is None and is_local(path)

    # Samples

    def get_data_info(self, idx: int) -> dict:
        """Paths of a sample and what the dataset says about all of them."""
        return {**super().get_data_info(idx), **self._common}

    def __getitem__(self, idx: int | SeededIndex) -> dict:
        if isinstance(idx, SeededIndex):
            random.seed(idx.seed)
            np.random.seed(idx.seed)
            idx = idx.index
        if not self._fully_initialized:
            self.full_init()
        for _ in range(self.max_refetch + 1):
            data = self._prepare_or_skip(int(idx))
            if data is not None:
                return data
            if self.test_mode:
                raise ValueError(f'The test pipeline gave nothing for sample {idx}.')
            idx = self._rand_another()
        raise RuntimeError(
            f'No usable sample in {self.max_refetch + 1} tries (max_refetch): the last one was '
            f'{self.get_data_info(int(idx)).get("img_path")}.'
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
