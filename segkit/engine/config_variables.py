"""The variables of a config file: what reads them, and which were set for nothing.

A ``.py`` config is a program. A variable in it (``crop_size = (512, 512)``) is read while the file
runs; setting it again in a child file reaches nothing that the base made of it. The source tells
which names a file assigns and which it reads.
"""

import ast
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from segkit.engine.config_files import read_base
from segkit.engine.config_options import places_of
from segkit.engine.config_schema import RUNNER_KEYS

# A file that calls one of these may read anything.
_READS_ALL = {'locals', 'globals', 'vars', 'eval', 'exec'}


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
            source.bases = [sources(path.parent / name) for name in _names(node.value)]
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


def idle_variables(source: Source) -> Iterator[tuple[Source, str]]:
    """(file, name) of variables that a base reads, and a child sets again for nothing."""
    for file in (source, *source.below()):
        if file.read & _READS_ALL:
            continue
        consumed = {name for base in file.below() for name in base.read & base.assigned}
        for name in sorted(file.assigned & consumed - file.read - RUNNER_KEYS):
            yield file, name


def settle_variables(cfg: Config, path: Path) -> None:
    """Warn of each variable that a child file sets for nothing; ``vis_backends`` is put in place.

    It alone is always meant for one place, ``visualizer.vis_backends``.
    """
    for file, name in idle_variables(sources(path)):
        before = _value_before(file, name)
        value = cfg.get(name)
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
