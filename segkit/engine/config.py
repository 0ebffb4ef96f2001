"""Reading a config by path or by the name of a shipped one, with command-line options on top.

A ``.py`` config is a program. A variable in it (``crop_size = (512, 512)``) is read while the file
runs; setting it again in a child file reaches nothing that the base made of it. The source tells
which names a file assigns and which it reads.
"""

import ast
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from segkit.compat import shipped_bases
from segkit.engine.config_files import read_base, read_config_file
from segkit.engine.config_names import find_config, in_its_folder
from segkit.engine.config_options import flat_config, merge_options, places_of
from segkit.engine.config_schema import RUNNER_KEYS

shipped_bases()
# A file that calls one of these may read anything.
_READS_ALL = {'locals', 'globals', 'vars', 'eval', 'exec'}


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


# -- variables of a file ---------------------------------------------------------------------------


@dataclass
class Source:
    """One file of a config: the names it assigns and reads, and the files it is based on."""

    path: Path
    assigned: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    bases: list['Source'] = field(default_factory=list)

    def below(self) -> Iterator['Source']:
        """The files it is based on, at any depth."""
        for base in self.bases:
            yield base
            yield from base.below()


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
    return source.read.union(*(base.read for base in source.below()))


def settle_variables(cfg: Config, path: Path) -> None:
    """Warn of each variable that a base reads and a child sets again for nothing.

    ``vis_backends`` alone is always meant for one place, ``visualizer.vis_backends``: it is put
    there.
    """
    whole = sources(path)
    for file in (whole, *whole.below()):
        if file.read & _READS_ALL:
            continue
        consumed = {name for base in file.below() for name in base.read & base.assigned}
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
