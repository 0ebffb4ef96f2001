"""Which generation a config is of, its conversion, and what could not be taken over."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from segkit.engine.config_files import shipped_configs
from segkit.errors import UserError

from .data_sets import retyped, unnamed
from .from_v0 import convert_v0, num_classes
from .names import OBSOLETE

_V0_SECTIONS = {
    'model', 'data', 'optimizer', 'optimizer_config', 'lr_config', 'runner', 'total_iters',
    'evaluation', 'checkpoint_config', 'log_config', 'log_level', 'cudnn_benchmark', 'load_from',
    'resume_from', 'train_cfg', 'test_cfg', 'fp16', 'seed', 'work_dir',
}  # fmt: skip


class Conversion(NamedTuple):
    """config: ours. source: '0.x' or '1.x'. left_out: keys nothing of ours corresponds to."""

    config: Config
    source: str
    left_out: list[str]


def generation(old: Mapping[str, object]) -> str:
    """'0.x' or '1.x'.

    Raises:
        ValueError: it has the sections of neither.
    """
    if 'data' in old and 'optimizer' in old:
        return '0.x'
    if 'train_dataloader' in old and 'optim_wrapper' in old:
        return '1.x'
    raise UserError(
        'This is no whole config of mmsegmentation: 0.x ones have `data` and `optimizer`, 1.x '
        'ones `train_dataloader` and `optim_wrapper`. Give the leaf config, beside its _base_ '
        'files.'
    )


def convert(old: Config) -> Conversion:
    """Ours from ``old``; values it does not set are those of configs/_base_/default_runtime.py."""
    source = generation(old)
    sections = old.to_dict()
    new = convert_v0(sections) if source == '0.x' else _convert_v1(sections)
    defaults = Config.fromfile(_default_runtime())
    defaults.merge_from_dict(new)
    return Conversion(defaults, source, _left_out(sections, source) + _numbered(defaults))


def _numbered(config: Mapping[str, Any]) -> list[str]:
    """Data sets whose classes got numbers for names."""
    kinds = [key for key in config if key.endswith('_dataloader') and config[key]]
    return [
        f'{key}.dataset.metainfo.classes: give the names of the classes, which are numbered now'
        for key in kinds
        if unnamed(config[key].dataset)
    ]


def _default_runtime() -> Path:
    home = next(iter(shipped_configs().values())).parents[1]
    return home / '_base_' / 'default_runtime.py'


def _convert_v1(old: Mapping[str, Any]) -> dict[str, object]:
    """1.x differs in its scope, in how it tests at several scales and in nothing else."""
    new = {key: _own_scope(value) for key, value in old.items() if key not in OBSOLETE}
    new |= dict(default_scope='segkit')
    if 'img_ratios' in old:
        new['aug_test'] = dict(img_ratios=list(old['img_ratios']), flip=True)
    for key in [key for key in new if key.endswith('_dataloader') and new[key]]:
        classes = num_classes(new['model'])
        new[key] = {**new[key], 'dataset': _retyped(new[key]['dataset'], classes)}
    return new


def _retyped(dataset: dict[str, Any], classes: int | None) -> dict[str, object]:
    """A data set, and those in its wrappers, of types that are here."""
    if 'datasets' in dataset:
        return {**dataset, 'datasets': [_retyped(part, classes) for part in dataset['datasets']]}
    if 'dataset' in dataset:
        return {**dataset, 'dataset': _retyped(dataset['dataset'], classes)}
    return retyped(dataset, classes)


def _own_scope(node: object) -> Any:
    """`mmseg.X` -> `X` in every `type`, at any depth."""
    if isinstance(node, Mapping):
        new = {key: _own_scope(value) for key, value in node.items()}
        if isinstance(new.get('type'), str):
            new['type'] = new['type'].removeprefix('mmseg.')
        return new
    if isinstance(node, (list, tuple)):
        return type(node)(_own_scope(child) for child in node)
    return node


def _left_out(old: Mapping[str, object], source: str) -> list[str]:
    """Top-level dicts named almost like a section: misspelt ones. Free variables are no loss."""
    if source == '1.x':
        return []
    odd = [key for key in old if key not in _V0_SECTIONS | OBSOLETE and isinstance(old[key], dict)]
    near = {key: difflib.get_close_matches(key, _V0_SECTIONS, n=1, cutoff=0.75) for key in odd}
    return [f'{key} (meant: {names[0]}?)' for key, names in near.items() if names]
