"""Names that code around mmsegmentation asks for, and what serves them here.

One table (`table.py`): old place -> names -> where the object is. Nothing in segkit imports this
package; `segkit.old_names` asks it for a name that a module of ours lacks. Beside the table stand
the few things that only such code needs, which are made of ours.
"""

import importlib
from functools import cache

from .table import LACKING, PLACES, SERVED, TYPES


@cache
def homes() -> dict[str, str]:
    """Name -> 'module:attribute' below segkit, or of another package if it starts with its name."""
    found = {}
    for home, names in SERVED.items():
        for entry in names.split():
            name, _, attribute = entry.partition('=')
            found[name] = f'{home}:{attribute or name}'
    return found


@cache
def _sentences() -> dict[str, tuple[str, str]]:
    """Name of a class, function or module that is not here -> its area, what to use instead."""
    return {
        name: (area, f'{name} is not in segkit. {text}')
        for area, groups in LACKING.items()
        for text, names in groups.items()
        for name in names.split()
    }


def is_place(module: str) -> bool:
    """Whether mmsegmentation had a module of that name, with ours in front, that is no file."""
    return module.removeprefix('segkit.') in PLACES


def names_of(module: str) -> list[str]:
    """The names that an old place has here."""
    return PLACES[_place(module)].split()


def instead(module: str, name: str) -> str:
    """A sentence for what ``module`` or one of its submodules had and nothing here replaces."""
    areas, sentence = _sentences().get(name, ('', ''))
    place = f'{_place(module)}.'
    near = (place.startswith(f'{a}.') or f'{a}.'.startswith(place) for a in areas.split())
    return sentence if any(near) else ''


def find(module: str, name: str) -> object:
    """What serves ``name`` of ``module``.

    Raises:
        AttributeError: nothing does; of what mmsegmentation had, it says what to use.
    """
    if name in PLACES.get(_place(module), '').split():
        return _load(homes()[name])
    said = instead(module, name) or f'module {module!r} has no attribute {name!r}'
    raise AttributeError(said, name=name)


def find_type(name: str, registry: str) -> type | None:
    """What serves a type of that name in a config, for ``registry``; None where nothing does.

    Raises:
        KeyError: mmsegmentation had it and nothing replaces it; says what to use.
    """
    if name in TYPES.get(registry, '').split():
        found = _load(homes()[name])
        assert isinstance(found, type), 'types of configs are classes'
        return found
    if name in _sentences():
        raise KeyError(_sentences()[name][1])
    return None


def _place(module: str) -> str:
    """Without the package: 'datasets.custom'; '' for the package itself."""
    return module.removeprefix('segkit').removeprefix('.')


def _load(home: str) -> object:
    place, _, attribute = home.partition(':')
    outside = place.partition('.')[0] in ('mmengine', 'mmcv', 'torch')
    return getattr(importlib.import_module(place if outside else f'segkit.{place}'), attribute)
