"""Settings put on top of a config that has been read: ``--cfg-options``."""

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

_MANY = 8  # places with the same value; more are a coincidence


def merge_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Put ``options`` ('model.backbone.depth': 101) into ``cfg``.

    A new top-level ``data_root`` reaches every dataset that used the old one: in the files they are
    one variable, and a person who sets it means the data. Any other variable of the files has done
    its work when they were read; setting one is answered by a warning that names what to set.
    """
    before = cfg.copy()
    cfg.merge_from_dict(dict(options))
    if 'data_root' in options:
        for node in _dicts(cfg._cfg_dict):
            if node.get('data_root') == before.get('data_root'):
                node['data_root'] = options['data_root']
    for key in options:
        if '.' not in key and key != 'data_root':
            _warn_if_idle(key, before)


def flat_config(config: object, prefix: str = '') -> dict[str, object]:
    """Nested dicts and lists of dicts -> 'a.b.0.c': value, as options are written."""
    items: Iterable[tuple[object, object]]
    if isinstance(config, dict):
        items = config.items()
    elif isinstance(config, (list, tuple)) and any(isinstance(v, dict) for v in config):
        items = enumerate(config)
    else:
        return {prefix.rstrip('.'): config}
    flat: dict[str, object] = {}
    for key, value in items:
        flat.update(flat_config(value, f'{prefix}{key}.'))
    return flat


def _warn_if_idle(key: str, cfg: Config) -> None:
    from segkit.engine.config_schema import RUNNER_KEYS

    if key in RUNNER_KEYS:
        return
    places = _places_of(cfg[key], key, cfg, RUNNER_KEYS) if key in cfg else []
    cure = f' Set {", ".join(places)} instead.' if places else ''
    warnings.warn(
        f'the option {key} changes nothing: it is no setting of a run but a variable of the '
        f'config file, which has been read.{cure}',
        stacklevel=4,
    )


def _places_of(value: Any, key: str, cfg: Config, settings: Collection[str]) -> list[str]:
    """Where ``value`` stands in the settings of a run; of a common one, where it has its name."""
    read = {name: part for name, part in cfg.to_dict().items() if name in settings}
    places = [path for path, other in flat_config(read).items() if other == value]
    named = [path for path in places if path.endswith(f'.{key}')]
    return places if len(places) <= _MANY else named


def _dicts(node: Any) -> Iterator[ConfigDict]:
    """Every dict in a config, however deep in lists."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from _dicts(child)
