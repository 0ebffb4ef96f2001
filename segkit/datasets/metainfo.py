"""Classes and palettes of the benchmark datasets, kept as data in ``metainfo.json``.

The names are those stored in published checkpoints (ADE20K's ``'bed '`` keeps its space): a
checkpoint's own class list is compared with these, so a tidier spelling would read as a change.
"""

import json
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from segkit.errors import UserError, suggestion


@lru_cache
def _all_metainfo(file: str = 'metainfo.json') -> dict:
    return json.loads(Path(__file__).with_name(file).read_text(encoding='utf-8'))


# licences: data set -> a reminder of who may use it for what; its own page decides. Weights trained
# on it are not freer than it is. families: as the model zoo calls some of them -> the data set.
_TERMS = _all_metainfo('licences.json')
LICENCES: dict[str, str] = _TERMS['licences']


def licence_of(dataset: str) -> str:
    """The reminder for a data set as the model zoo calls it; '' where none is kept."""
    return LICENCES.get(_TERMS['families'].get(dataset, dataset), '')


def dataset_metainfo(name: str) -> dict:
    """``dict(classes=tuple of K names, palette=list of K [r, g, b])`` of one benchmark dataset.

    ``name`` is one of ``ade20k, camvid, cityscapes, coco_stuff, isaid, isprs, loveda,
    pascal_context, pascal_context_59, pascal_voc12``.
    """
    info = _all_metainfo()
    if name not in info:
        raise KeyError(f'No classes are known for the dataset {name!r}; known: {sorted(info)}.')
    entry = info[name]
    return dict(classes=tuple(entry['classes']), palette=[list(c) for c in entry['palette']])


def make_palette(num_classes: int) -> list[list[int]]:
    """Reproducible RGB colours for classes without a palette: those of mmsegmentation."""
    colours = np.random.RandomState(42).randint(0, 255, size=(num_classes, 3))
    return colours.tolist()


def one_class(text: str) -> tuple[str]:
    """``classes=('water')``, a text where a comma is missing: one class, and not five letters.

    Raises ValueError for what is no name: of a file that is not there, or of several classes.
    """
    if not text.strip() or any(sign in text for sign in ',;/\\\n') or text.endswith('.txt'):
        raise UserError(
            f'metainfo.classes is the text {text!r}, which is neither a file of names, one a line, '
            'nor one name: give a list of names.'
        )
    print_log(
        f'metainfo.classes is the text {text!r}, not a list of names: taken as one class. Write '
        f'classes=({text!r},), with the comma.',
        'current',
        30,
    )
    return (text,)


def class_names(given: object) -> tuple[str, ...]:
    """``metainfo.classes`` as names in the order of the class indices.

    Raises ValueError for what has no order, for no name at all, and for a name that is there twice:
    scores, subsets and colours are told apart by it.
    """
    if isinstance(given, str):
        return one_class(given)
    if isinstance(given, Mapping | Set) or not isinstance(given, Iterable):
        raise UserError(
            f'metainfo.classes is a {type(given).__name__}: give a list of names, in the order of '
            'the class indices.'
        )
    names = tuple(name if isinstance(name, str) else str(name) for name in given)
    if not names:
        raise UserError('metainfo.classes is empty: give the names of the classes.')
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        places = [index for index, name in enumerate(names) if name == twice]
        raise UserError(
            f'metainfo.classes names {twice!r} for the indices {places}: give each class a name of '
            f'its own, or make them one class, once in the list, by label_map of the dataset.'
        )
    return names


def check_subset(chosen: Sequence[str], own: Sequence[str], dataset: str) -> None:
    """Every chosen class is one of the dataset's own; the error names the nearest."""
    for name in chosen:
        if name not in own:
            hint = suggestion(name, own)
            raise UserError(f'metainfo.classes: {name!r} is not a class of {dataset}.{hint}')


def choose_palette(
    given: Sequence | None, classes: Sequence[str] | None, own: dict[str, Sequence]
) -> list:
    """One colour a class: as given, or the rows of the dataset's own palette, or made up.

    Args:
        given: the palette of the metainfo, perhaps still that of all the dataset's own classes.
        classes: the classes in use.
        own: class name -> colour of the dataset's own palette.
    """
    if classes is None:
        return list(given or [])
    if own and is_own(given, own):
        return [own[name] for name in classes]
    if given is None:
        return make_palette(len(classes))
    _levels(given)
    if len(given) != len(classes):
        raise UserError(
            f'metainfo.palette has {len(given)} colours for {len(classes)} classes: give one '
            '[r, g, b] for each class, or leave the palette out.'
        )
    return list(given)


def is_own(given: Sequence | None, own: Mapping[str, Sequence]) -> bool:
    """Whether a palette is left to be the dataset's own, or spelt out so."""
    return given is None or _levels(given) == _levels(list(own.values()))


def _levels(palette: Sequence) -> list[list[int]]:
    """Whole numbers of each colour. Raises ValueError for what is no colour."""
    found = []
    for index, colour in enumerate(palette):
        levels = None if isinstance(colour, str) else np.asarray(colour).tolist()
        if not isinstance(levels, list) or [v for v in levels if v not in range(256)]:
            levels = []
        if len(levels) != 3:
            raise UserError(
                f'metainfo.palette[{index}] is {colour!r}: a colour is [r, g, b], three whole '
                'numbers from 0 to 255.'
            )
        found.append([int(level) for level in levels])
    return found


def colours_of_labels(
    classes: Sequence[str], palette: Sequence, made_up: bool
) -> Sequence[Sequence[int]]:
    """The colours that labels painted in them have: one a class, no two alike.

    Raises ValueError where they are not known, or tell two classes by one colour.
    """
    if made_up:
        raise UserError(
            "label_format='rgb' reads classes by their colours: give them as metainfo.palette, one "
            '[r, g, b] for each class.'
        )
    levels = _levels(palette)
    for index, colour in enumerate(levels):
        first = levels.index(colour)
        if first != index:
            raise UserError(
                f"label_format='rgb' reads classes by their colours, and metainfo.palette has "
                f'{colour} for both {classes[first]!r} and {classes[index]!r}: give each its own.'
            )
    return palette


class OfMetainfo:
    """`CLASSES` and `PALETTE` of mmsegmentation 0.x, of a data set or of its class."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __get__(self, instance: Any, owner: type) -> object:
        meta = getattr(owner, 'METAINFO', {}) if instance is None else instance.metainfo
        return meta.get(self.key)


def meta_of_older(cls: Any) -> None:
    """``METAINFO`` of a class that names its own `CLASSES`, and perhaps `PALETTE`, as in 0.x."""
    own = {key.lower(): vars(cls).get(key) for key in ('CLASSES', 'PALETTE')}
    if own['classes'] is not None and 'METAINFO' not in vars(cls):
        cls.METAINFO = {key: value for key, value in own.items() if value is not None}
