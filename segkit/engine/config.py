"""Reading a config by path or by the name of a shipped one, with command-line options on top.

Shipped configs lie in ``configs/`` of a checkout and in ``segkit/.shipped/configs`` of a wheel.
"""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config

from segkit.compat import shipped_bases
from segkit.engine.config_files import read_config_file
from segkit.engine.config_options import merge_options
from segkit.engine.config_variables import settle_variables

PACKAGE = Path(__file__).resolve().parents[1]
HOMES = (PACKAGE.parent / 'configs', PACKAGE / '.shipped' / 'configs')


def shipped_home() -> Path:
    """The folder of the shipped configs."""
    return next((home for home in HOMES if (home / '_base_').is_dir()), HOMES[0])


shipped_bases(shipped_home)


def shipped_configs() -> dict[str, Path]:
    """Name without ``.py`` -> path of every config that can be run; ``_base_`` parts left out."""
    paths = shipped_home().rglob('*.py')
    return {path.stem: path for path in sorted(paths) if '_base_' not in path.parts}


def find_config(name: str | Path) -> Path:
    """The path of a config given by path or by shipped name.

    Raises:
        FileNotFoundError: neither exists; the sentence gives the nearest shipped names.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_configs()
    if path.name.removesuffix('.py') in shipped and path.parent == Path():
        return shipped[path.name.removesuffix('.py')]
    near = difflib.get_close_matches(path.stem, shipped, n=3, cutoff=0.5)
    hint = f' Nearest shipped configs: {", ".join(near)}.' if near else ''
    raise FileNotFoundError(f"No config file '{name}', and no shipped config of that name.{hint}")


def load_config(
    config: str | Path | Config, cfg_options: Mapping[str, object] | None = None
) -> Config:
    """A config, with options on top; a copy. ``config_options.py`` says what options can do."""
    if isinstance(config, Config):
        cfg = config.copy()
    else:
        path = find_config(config)
        cfg = read_config_file(path)
        settle_variables(cfg, path)
    if cfg_options:
        merge_options(cfg, cfg_options)
    return cfg


def _flat(value: object, prefix: str = '') -> dict[str, object]:
    if isinstance(value, dict) and value:
        parts = [_flat(v, f'{prefix}.{k}' if prefix else str(k)) for k, v in value.items()]
        return {k: v for part in parts for k, v in part.items()}
    return {prefix: value}


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
        old = _flat(json.loads(before))
    except (ValueError, TypeError, RecursionError):
        return ['the config in the checkpoint cannot be read, so nothing could be compared']
    new = _flat(json.loads(json.dumps(now, default=str)))
    lines = []
    for key in sorted(set(old) | set(new)):
        a, b = old.get(key, '(not set)'), new.get(key, '(not set)')
        if a != b and key.split('.')[0] not in _NOT_THE_RECIPE:
            lines.append(f'{key}: {a!r} -> {b!r}')
    return lines
