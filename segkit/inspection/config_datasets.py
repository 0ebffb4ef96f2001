"""The datasets a config names, and the files of each, whether they are all there or not.

Building a dataset stops at the first missing folder or file, which is right before training; a
check wants all of them, so the lists are made here from the same functions.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from mmengine.config import Config

from segkit.datasets import BaseSegDataset
from segkit.datasets.scan import check_folder, is_local, list_files, list_stems, split_stems
from segkit.errors import UserError
from segkit.registry import DATASETS, TRANSFORMS
from segkit.visualization.images import viewable
from segkit.visualization.overlays import overlay

from .files import list_pictures

LOADERS = {'train': 'train_dataloader', 'val': 'val_dataloader', 'test': 'test_dataloader'}


@dataclass
class Problem:
    """Something wrong with one file; ``kind`` groups them in the report, ``picture`` shows it."""

    kind: str
    message: str
    picture: str = ''


@dataclass
class Leaf:
    """One dataset of a split, its samples as ``get_data_info`` gives them, and what is missing.

    orphans: labels without an image, and left_out: pictures with another ending than the data set
    looks for; training passes over both, but it may not be meant so.
    times: how often RepeatDataset takes it. pipeline: its transforms.
    """

    name: str
    dataset: BaseSegDataset
    infos: list[dict] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    times: int = 1
    pipeline: Sequence[Mapping] = ()
    loaders: tuple[Mapping, Mapping] = ({}, {})


def leaves_of(cfg: Config, split: str) -> list[Leaf]:
    """The datasets of a split, those inside ConcatDataset and RepeatDataset one by one.

    Raises:
        ValueError: the config has no such split, or a dataset's arguments are wrong.
    """
    loader = cfg.get(LOADERS[split])
    if not loader or 'dataset' not in loader:
        raise UserError(f'{LOADERS[split]}: the config has none, so there is no split {split!r}.')
    parts = list(leaf_configs(loader['dataset']))
    names = [split if len(parts) == 1 else f'{split} {i + 1}' for i in range(len(parts))]
    return [_open(part, name, times) for (part, times), name in zip(parts, names)]


def leaf_configs(dataset: Mapping, times: int = 1) -> Iterator[tuple[Mapping, int]]:
    """The data sets inside ConcatDataset and RepeatDataset, and how often each is repeated."""
    times *= dataset.get('times', 1)
    for part in dataset.get('datasets', [dataset['dataset']] if 'dataset' in dataset else []):
        yield from leaf_configs(part, times)
    if 'datasets' not in dataset and 'dataset' not in dataset:
        yield dataset, times


def loading(pipeline: Sequence[Mapping]) -> tuple[Mapping, Mapping]:
    """The configs of the two loading transforms, since they decide how files are read."""
    image = next((t for t in pipeline if t['type'] == 'LoadImageFromFile'), None)
    label = next((t for t in pipeline if t['type'] == 'LoadAnnotations'), None)
    return image or {'type': 'LoadImageFromFile'}, label or {'type': 'LoadAnnotations'}


def _open(cfg: Mapping, name: str, times: int) -> Leaf:
    dataset = DATASETS.build({**cfg, 'lazy_init': True})
    pipeline = cfg.get('pipeline') or ()
    leaf = Leaf(name, dataset, times=times, pipeline=pipeline, loaders=loading(pipeline))
    generated = type(dataset).load_data_list is not BaseSegDataset.load_data_list
    if not generated and is_local(dataset.data_prefix.get('img_path', '')):
        _list_pairs(leaf)
        return leaf
    try:
        dataset.full_init()
        leaf.infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    except (OSError, ValueError) as error:
        leaf.problems.append(Problem('cannot be opened', str(error)))
    return leaf


@dataclass
class _Kind:
    """The pictures or the labels of a data set: where they are, and the files there are."""

    key: str
    what: str
    folder: str
    suffix: str
    names: set[str] = field(default_factory=set)


def _list_pairs(leaf: Leaf) -> None:
    """Samples that are complete join ``infos``; whatever is missing is a problem each."""
    dataset = leaf.dataset
    images, labels = (dataset.data_prefix.get(key) for key in ('img_path', 'seg_map_path'))
    kinds = [_Kind('img_path', 'image', images or '.', dataset.img_suffix)]
    if labels:
        kinds.append(_Kind('seg_map_path', 'label', labels, dataset.seg_map_suffix))
    for kind in kinds:
        try:
            check_folder(kind.folder, kind.key)
        except FileNotFoundError as error:
            leaf.problems.append(Problem('missing folder', str(error)))
    if leaf.problems:
        return
    stems = _stems(leaf, kinds[0].folder)
    for kind in kinds:
        kind.names = set(list_files(kind.folder, kind.suffix))
    for stem in dataset.of_fold(stems) if stems else ():
        info = {kind.key: os.path.join(kind.folder, stem + kind.suffix) for kind in kinds}
        missing = [kind for kind in kinds if stem + kind.suffix not in kind.names]
        for kind in missing:
            text = f'{info[kind.key]}: there is no such file'
            leaf.problems.append(Problem(f'missing {kind.what}', text))
        if not missing:
            leaf.infos.append({**info, 'seg_fields': [], **leaf.dataset._common})
    if not dataset.ann_file:
        _list_others(leaf, kinds, stems)


def _list_others(leaf: Leaf, kinds: Sequence[_Kind], stems: Sequence[str]) -> None:
    """Labels without an image, and pictures whose names have another ending than is looked for."""
    folder = kinds[0].folder
    for kind in kinds[1:]:
        spare = kind.names - {stem + kind.suffix for stem in stems}
        leaf.orphans = sorted(os.path.join(kind.folder, name) for name in spare)
    taken = {stem + kind.suffix for kind in kinds if kind.folder == folder for stem in stems}
    others = (name for name in list_pictures(folder) if name not in taken)
    leaf.left_out = [os.path.join(folder, name) for name in others]


def _stems(leaf: Leaf, image_dir: str) -> list[str]:
    dataset = leaf.dataset
    try:
        stems = list_stems(image_dir, dataset.img_suffix)
        if dataset.ann_file:
            stems = split_stems(dataset.ann_file, image_dir, dataset.img_suffix, set(stems))
    except (OSError, ValueError) as error:
        leaf.problems.append(Problem('missing split file', str(error)))
        return []
    if not stems:
        text = (
            f'{dataset.ann_file or image_dir}: no sample found, the split is empty (images end in '
            f'{dataset.img_suffix!r}). Check ann_file, data_prefix and img_suffix.'
        )
        leaf.problems.append(Problem('empty split', text))
    return stems


def sample_picture(
    leaf: Leaf, info: Mapping, palette: Sequence[Sequence[int]]
) -> np.ndarray | None:
    """(H, W, 3) uint8 RGB of one sample, with its labels where they can be read; None if not."""
    image_cfg, label_cfg = leaf.loaders
    results = dict(info)
    try:
        results.update(TRANSFORMS.build(dict(image_cfg))(results))
        picture = viewable(results['img'])
    except (OSError, ValueError):
        return None
    try:
        label = TRANSFORMS.build(dict(label_cfg))(results)['gt_seg_map']
    except (OSError, ValueError, KeyError):
        return picture
    return overlay(picture, label, palette, 0.6)
