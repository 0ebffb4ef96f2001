"""Settings by their dotted keys: put on top of a config (``--cfg-options``), found by their values.

A setting that nothing would read is an error which names the one that does.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping

from mmengine.config import Config, ConfigDict

from segkit.command import command
from segkit.engine.config_schema import RUNNER_KEYS
from segkit.errors import ConfigError, UserError, nearest

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
    if top in RUNNER_KEYS or key == 'data_root' or _is_old(cfg) or cfg.get('custom_imports'):
        return  # code of one's own may read any key
    what = 'no setting of a run'
    if top in cfg and '.' not in key:
        what += ', but a variable of the config file, which has been read'
    raise ConfigError(f'--cfg-options {key}: changes nothing: it is {what}.{_cure(key, cfg)}')


def _is_old(cfg: Config) -> bool:
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
