"""The datasets a config names, and the files of each, whether they are all there or not.

Building a dataset stops at the first missing folder or file, which is right before training; a
check wants all of them, so the lists are made here from the same functions.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from mmengine.config import Config

from segkit.datasets import BaseSegDataset
from segkit.datasets.scan import is_local, list_files, list_stems, split_stems
from segkit.engine.before_training import leaf_configs, loading
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


def _list_pairs(leaf: Leaf) -> None:
    dataset = leaf.dataset
    folders = dataset.data_prefix.get('img_path') or '.', dataset.data_prefix.get('seg_map_path')
    suffixes = dataset.img_suffix, dataset.seg_map_suffix
    wanted = [(folders[0], 'img_path')] + [(f, 'seg_map_path') for f in folders[1:] if f]
    for folder, key in wanted:
        if not os.path.isdir(folder):
            text = f'{folder}: the folder of data_prefix.{key} does not exist. Check data_root.'
            leaf.problems.append(Problem('missing folder', text))
    if leaf.problems:
        return
    stems = _stems(leaf, folders[0])
    present = [set(list_files(f, s)) if f else None for f, s in zip(folders, suffixes)]
    for stem in stems:
        _add_pair(leaf, stem, folders, suffixes, present)
    if present[1] is not None and not dataset.ann_file:
        spare = present[1] - {stem + suffixes[1] for stem in stems}
        leaf.orphans = sorted(os.path.join(folders[1], name) for name in spare)
    if not dataset.ann_file:
        leaf.left_out = _other_pictures(folders, suffixes, stems)


def _other_pictures(folders: tuple, suffixes: tuple, stems: list[str]) -> list[str]:
    """Pictures beside those of the data set, whose names have another ending than it looks for."""
    taken = {stem + suffix for stem in stems for suffix in suffixes}
    if folders[0] != folders[1]:
        taken = {stem + suffixes[0] for stem in stems}
    return [os.path.join(folders[0], n) for n in list_pictures(folders[0]) if n not in taken]


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


def _add_pair(leaf: Leaf, stem: str, folders: tuple, suffixes: tuple, present: list) -> None:
    """A sample that is complete joins ``infos``; whatever is missing is a problem each."""
    info, complete = {}, True
    kinds = ('img_path', 'image'), ('seg_map_path', 'label')
    for (key, what), folder, suffix, names in zip(kinds, folders, suffixes, present):
        if folder is None:
            continue
        info[key] = os.path.join(folder, stem + suffix)
        if stem + suffix not in names:
            leaf.problems.append(Problem(f'missing {what}', f'{info[key]}: there is no such file'))
            complete = False
    if complete:
        info['seg_fields'] = []
        leaf.infos.append({**info, **leaf.dataset._common})


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
