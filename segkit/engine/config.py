"""Reading a config by path or by the name of a shipped one, with command-line options on top.

Options are settings by their dotted keys (``--cfg-options``); one that nothing would read is an
error which names the setting that is read.

A ``.py`` config is a program. A variable in it (``crop_size = (512, 512)``) is read while the file
runs; setting it again in a child file reaches nothing that the base made of it. The source tells
which names a file assigns and which it reads.
"""

import ast
import contextlib
import json
import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config, ConfigDict

from segkit.command import command
from segkit.compat import shipped_bases
from segkit.engine.config_files import find_config, in_its_folder, read_base, read_config_file
from segkit.engine.config_schema import RUNNER_KEYS
from segkit.errors import ConfigError, UserError, nearest

shipped_bases()
# A file that calls one of these may read anything.
_READS_ALL = {'locals', 'globals', 'vars', 'eval', 'exec'}


_MANY = 8  # places with the same value; more are a coincidence
_TOLD = 4  # places that an error may speak of; more would not help

# Where settings of mmsegmentation 0.x are today: the longest beginning of a key counts.
MOVED = {
    'optimizer': 'optim_wrapper.optimizer',
    'optimizer_config': 'optim_wrapper',
    'optimizer_config.grad_clip': 'optim_wrapper.clip_grad',
    'fp16': 'optim_wrapper.type=AmpOptimWrapper',
    'data.samples_per_gpu': 'train_dataloader.batch_size',
    'data.workers_per_gpu': 'train_dataloader.num_workers',
    'data.train': 'train_dataloader.dataset',
    'data.val': 'val_dataloader.dataset',
    'data.test': 'test_dataloader.dataset',
    'data.train_dataloader': 'train_dataloader',
    'data.val_dataloader': 'val_dataloader',
    'data.test_dataloader': 'test_dataloader',
    'data': 'train_dataloader',
    'lr_config': 'param_scheduler.0',
    'lr_config.policy': 'param_scheduler.0.type',
    'lr_config.min_lr': 'param_scheduler.0.eta_min',
    'runner': 'train_cfg',
    'total_iters': 'train_cfg.max_iters',
    'total_epochs': 'train_cfg.max_epochs',
    'max_epochs': 'train_cfg.max_epochs',
    'checkpoint_config': 'default_hooks.checkpoint',
    'evaluation': 'val_evaluator',
    'evaluation.interval': 'train_cfg.val_interval',
    'evaluation.metric': 'val_evaluator.iou_metrics',
    'evaluation.save_best': 'default_hooks.checkpoint.save_best',
    'log_config': 'default_hooks.logger',
    'cudnn_benchmark': 'env_cfg.cudnn_benchmark',
    'dist_params': 'env_cfg.dist_cfg',
    'seed': 'randomness.seed',
    'deterministic': 'randomness.deterministic',
    'resume_from': 'load_from and resume=True, or type --resume PATH',
    'auto_resume': 'resume=auto',
    'img_ratios': 'aug_test.img_ratios',
    'tta_model': 'aug_test',
    'tta_pipeline': 'aug_test',
}


def load_config(
    config: str | Path | Config, cfg_options: Mapping[str, object] | None = None
) -> Config:
    """A config, with options on top; a copy. ``merge_options`` says what they can do."""
    if isinstance(config, Config):
        cfg = config.copy()
    else:
        path = find_config(config)
        cfg = read_config_file(path)
        settle_variables(cfg, path)
    if cfg_options:
        merge_options(cfg, cfg_options)
    return cfg


# -- options ---------------------------------------------------------------------------------------


def merge_options(cfg: Config, options: Mapping[str, object]) -> None:
    """Put ``options`` ('model.backbone.depth': 101) into ``cfg``.

    A new top-level ``data_root`` reaches every dataset that used the old one: in the files they are
    one variable, and a person who sets it means the data. Any other variable of the files has done
    its work when they were read.

    Raises:
        ConfigError: nothing would read an option; names what does. One is put over a value of
            another kind.
    """
    before = cfg.copy()
    for key in options:
        _refuse_idle(str(key), before)
    try:
        cfg.merge_from_dict(dict(options))
    except (TypeError, KeyError, IndexError, AssertionError) as error:
        said = error.args[0] if error.args else error
        raise ConfigError(f'{cfg.filename}: --cfg-options {" ".join(options)}: {said}') from None
    if 'data_root' in options:
        for node in _dicts({key: cfg[key] for key in cfg}):
            if node.get('data_root') == before.get('data_root'):
                node['data_root'] = options['data_root']


def without(node: object, keys: Collection[str]) -> object:
    """A copy of nested dicts and lists that has none of ``keys`` anywhere."""
    if isinstance(node, Mapping):
        return {key: without(part, keys) for key, part in node.items() if key not in keys}
    return [without(part, keys) for part in node] if isinstance(node, list | tuple) else node


def flat_config(config: object, prefix: str = '') -> dict[str, object]:
    """Nested dicts and lists of dicts -> 'a.b.0.c': value, as options are written."""
    items: Iterable[tuple[object, object]]
    if isinstance(config, dict) and (config or not prefix):
        items = config.items()
    elif isinstance(config, (list, tuple)) and any(isinstance(v, dict) for v in config):
        items = enumerate(config)
    else:
        return {prefix.rstrip('.'): config}
    flat: dict[str, object] = {}
    for key, value in items:
        flat.update(flat_config(value, f'{prefix}{key}.'))
    return flat


def _refuse_idle(key: str, cfg: Config) -> None:
    top = key.partition('.')[0]
    if top in RUNNER_KEYS or key == 'data_root' or is_of_0x(cfg) or cfg.get('custom_imports'):
        return  # code of one's own may read any key
    what = 'no setting of a run'
    if top in cfg and '.' not in key:
        what += ', but a variable of the config file, which has been read'
    raise ConfigError(f'--cfg-options {key}: changes nothing: it is {what}.{_cure(key, cfg)}')


def is_of_0x(cfg: Config) -> bool:
    """Whether it is a config of 0.x, which has other keys."""
    return 'data' in cfg and not {'train_dataloader', 'test_dataloader'} & set(cfg)


def _cure(key: str, cfg: Config) -> str:
    moved = [old for old in MOVED if key == old or key.startswith(f'{old}.')]
    if moved:
        old = max(moved, key=len)
        return f' Set {MOVED[old]}{key[len(old) :]} instead.'
    top, dot, rest = key.partition('.')
    close = nearest(top, RUNNER_KEYS, count=1, cutoff=0.75)
    if close and top not in cfg:
        return f' Did you mean {close[0]}{dot}{rest}?'
    places = places_of(cfg[key], key, cfg) if key in cfg else []
    places = places or _named(key.rpartition('.')[2], cfg)
    if places:
        return f' Set {", ".join(places)} instead.'
    return f' `{command("print_config", "CONFIG")}` prints all settings.'


def places_of(value: object, key: str, cfg: Config) -> list[str]:
    """Where ``value`` stands in the settings of a run; of a common one, where it has its name."""
    places = [path for path, other in _settings(cfg).items() if other == value]
    named = [path for path in places if path.endswith(f'.{key}')]
    return places if len(places) <= _MANY else named


def _named(leaf: str, cfg: Config) -> list[str]:
    """Settings whose last part is ``leaf``; none where there are many."""
    places = [path for path in _settings(cfg) if path.endswith(f'.{leaf}')]
    return places if len(places) <= _MANY else []


def _settings(cfg: Mapping) -> dict[str, object]:
    return flat_config({name: cfg[name] for name in cfg if name in RUNNER_KEYS})


def _dicts(node: object) -> Iterator[ConfigDict]:
    """Every dict in a config, however deep in lists."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from _dicts(child)


@contextlib.contextmanager
def places_named(cfg: Mapping) -> Iterator[None]:
    """Add to errors of our own, raised in the block, the settings that they speak of.

    A constructor knows its argument, not its place: where the message has the name and the value of
    a setting, the dotted key is added.
    """
    try:
        yield
    except UserError as error:
        places = list(_spoken_of(str(error), cfg))
        if error.args and 0 < len(places) <= _TOLD:
            error.args = (f'{error.args[0]} In the config: {", ".join(places)}', *error.args[1:])
        raise


def _spoken_of(said: str, cfg: Mapping) -> Iterator[str]:
    words = set(re.findall(r'\w+', said))
    for key, value in _settings(cfg).items():
        if key in said or key.rpartition('.')[2] not in words:
            continue
        if isinstance(value, bool) or value is None or not _shown(value, said):
            continue
        yield f'{key}={value!r}'


def _shown(value: object, said: str) -> bool:
    forms = {repr(value), str(value)}
    if isinstance(value, (list, tuple)):
        forms |= {repr(tuple(value)), repr(list(value))}
    return any(re.search(rf'(?<![\w.]){re.escape(form)}(?![\w])', said) for form in forms)


# -- variables of a file ---------------------------------------------------------------------------


@dataclass
class Source:
    """One file of a config: the names it assigns and reads, and the files it is based on: itself
    (``bases``), and at any depth (``below``)."""

    path: Path
    assigned: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    bases: list['Source'] = field(default_factory=list)
    below: list['Source'] = field(default_factory=list)


def sources(path: Path) -> Source:
    """The file and its bases; empty where it is no Python, or none that is understood."""
    source = Source(path)
    if path.suffix != '.py':
        return source
    try:
        tree = ast.parse(path.read_text(encoding='utf-8'))
    except (OSError, SyntaxError, ValueError):
        return source
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (source.assigned if isinstance(node.ctx, ast.Store) else source.read).add(node.id)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            source.read.add(node.target.id)
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '_base_':
            bases = (in_its_folder(path.parent / name) for name in _names(node.value))
            source.bases = [sources(base) for base in bases]
            source.below = [file for base in source.bases for file in (base, *base.below)]
    return source


def _names(node: ast.expr) -> list[str]:
    """The paths that ``_base_`` names; those written in another way than as text are not known."""
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return []
    listed = [value] if isinstance(value, str) else value
    return [name for name in listed if isinstance(name, str) and '::' not in name]


def names_read(path: str | Path | None) -> set[str]:
    """Names that any file of a config reads."""
    if path is None:
        return set()
    source = sources(Path(path))
    return source.read.union(*(base.read for base in source.below))


def settle_variables(cfg: Config, path: Path) -> None:
    """Warn of each variable that a base reads and a child sets again for nothing.

    ``vis_backends`` alone is always meant for one place, ``visualizer.vis_backends``: it is put
    there.
    """
    whole = sources(path)
    for file in (whole, *whole.below):
        if file.read & _READS_ALL:
            continue
        consumed = {name for base in file.below for name in base.read & base.assigned}
        for name in sorted(file.assigned & consumed - file.read - RUNNER_KEYS):
            before, value = _value_before(file, name), cfg.get(name)
            if before is None or value is None or before == value:
                continue
            visualizer = cfg.get('visualizer')
            if name == 'vis_backends' and isinstance(visualizer, Mapping):
                if visualizer.get(name) == before:
                    cfg.visualizer[name] = value
                continue
            places = places_of(before, name, cfg)
            cure = f' Set {", ".join(places)} there, or write what reads it.' if places else ''
            warnings.warn(
                f'{file.path}: {name} changes nothing: only the base file reads it, which has been '
                f'read.{cure}',
                stacklevel=4,
            )


def _value_before(file: Source, name: str) -> object:
    """The value of a variable in the bases of ``file``."""
    for base in file.bases:
        value = read_base(Path(base.path)).get(name)
        if value is not None:
            return value
    return None


# -- two configs -----------------------------------------------------------------------------------


# The seed is the checkpoint's whatever the config says.
_NOT_THE_RECIPE = (
    'work_dir',
    'resume',
    'load_from',
    'launcher',
    'log_level',
    'visualizer',
    'randomness',
)


def config_differences(before: str | None, now: dict) -> list[str]:
    """'key: old -> new' for each setting that changed since the checkpoint was written.

    Args:
        before: the config as JSON, from the checkpoint's ``meta['config_json']``.
        now: the present config as plain values.
    """
    if not before:
        return []
    try:
        old = flat_config(json.loads(before))
    except (ValueError, TypeError, RecursionError):
        return ['the config in the checkpoint cannot be read, so nothing could be compared']
    new = flat_config(json.loads(json.dumps(now, default=str)))
    lines = []
    for key in sorted(set(old) | set(new)):
        a, b = old.get(key, '(not set)'), new.get(key, '(not set)')
        if a != b and key.split('.')[0] not in _NOT_THE_RECIPE:
            lines.append(f'{key}: {a!r} -> {b!r}')
    return lines
