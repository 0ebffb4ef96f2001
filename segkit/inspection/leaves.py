"""The datasets a config names, and the files of each, whether they are all there or not.

Building a dataset stops at the first missing folder or file, which is right before training; a
check wants all of them, so the lists are made here from the same functions.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from mmengine.config import Config

from segkit.datasets import BaseSegDataset
from segkit.datasets.scan import is_local, list_files, list_stems, read_split
from segkit.registry import DATASETS

LOADERS = {'train': 'train_dataloader', 'val': 'val_dataloader', 'test': 'test_dataloader'}


@dataclass
class Problem:
    """Something wrong with one file; ``kind`` groups them in the report."""

    kind: str
    message: str


@dataclass
class Leaf:
    """One dataset of a split, its samples as ``get_data_info`` gives them, and what is missing.

    orphans: labels without an image; training passes over them, but it may not be meant so.
    """

    name: str
    dataset: BaseSegDataset
    infos: list[dict] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    loaders: tuple[dict, dict] = ({}, {})


def leaves_of(cfg: Config, split: str) -> list[Leaf]:
    """The datasets of a split, those inside ConcatDataset and RepeatDataset one by one.

    Raises:
        ValueError: the config has no such split, or a dataset's arguments are wrong.
    """
    loader = cfg.get(LOADERS[split])
    if not loader or 'dataset' not in loader:
        raise ValueError(f'{LOADERS[split]}: the config has none, so there is no split {split!r}.')
    parts = list(_leaf_configs(loader['dataset']))
    names = [split if len(parts) == 1 else f'{split} {i + 1}' for i in range(len(parts))]
    return [_open(part, name) for part, name in zip(parts, names)]


def _leaf_configs(cfg: dict) -> Iterator[dict]:
    for part in cfg.get('datasets', [cfg['dataset']] if 'dataset' in cfg else []):
        yield from _leaf_configs(part)
    if 'datasets' not in cfg and 'dataset' not in cfg:
        yield cfg


def _open(cfg: dict, name: str) -> Leaf:
    dataset = DATASETS.build({**cfg, 'lazy_init': True})
    leaf = Leaf(name, dataset, loaders=_loading(cfg.get('pipeline', ())))
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


def _loading(pipeline: list[dict]) -> tuple[dict, dict]:
    """The configs of the two loading transforms, since they decide how files are read."""
    image = next((t for t in pipeline if t['type'] == 'LoadImageFromFile'), None)
    label = next((t for t in pipeline if t['type'] == 'LoadAnnotations'), None)
    return image or {'type': 'LoadImageFromFile'}, label or {'type': 'LoadAnnotations'}


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


def _stems(leaf: Leaf, image_dir: str) -> list[str]:
    dataset = leaf.dataset
    try:
        listed = bool(dataset.ann_file)
        stems = (
            read_split(dataset.ann_file) if listed else list_stems(image_dir, dataset.img_suffix)
        )
    except OSError as error:
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
