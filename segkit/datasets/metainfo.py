"""Classes and palettes of the benchmark datasets, kept as data in ``metainfo.json``.

The names are those stored in published checkpoints (ADE20K's ``'bed '`` keeps its space): a
checkpoint's own class list is compared with these, so a tidier spelling would read as a change.
"""

import json
from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from segkit.errors import UserError

_FILE = Path(__file__).with_name('metainfo.json')
# Data set -> a reminder of who may use it for what; its own page decides. Weights trained on it are
# not freer than it is.
LICENCES = {
    'ADE20K': 'labels BSD 3-Clause, pictures for non-commercial research and education only',
    'CamVid': 'no licence is known',
    'Cityscapes': 'non-commercial use only, research and teaching, after registration',
    'COCO-Stuff': 'labels CC BY 4.0, pictures by the terms of Flickr and their authors',
    'Dark Zurich': 'non-commercial use only',
    'iSAID': 'academic use only, pictures by the terms of Google Earth and DOTA',
    'ISPRS': 'research only, naming the ISPRS and, for Vaihingen, the DGPF',
    'LoveDA': 'CC BY-NC-SA 4.0, academic use only',
    'Nighttime Driving': 'no licence is known',
    'Pascal Context': 'labels: no licence is known; pictures by the terms of Flickr',
    'Pascal VOC 2012 + Aug': 'labels: no licence is known; pictures by the terms of Flickr',
}

_FAMILIES = {
    'COCO-Stuff 10k': 'COCO-Stuff',
    'COCO-Stuff 164k': 'COCO-Stuff',
    'Pascal Context 59': 'Pascal Context',
    'Potsdam': 'ISPRS',
    'Vaihingen': 'ISPRS',
}


def licence_of(dataset: str) -> str:
    """The reminder for a data set as the model zoo calls it; '' where none is kept."""
    return LICENCES.get(_FAMILIES.get(dataset, dataset), '')


@lru_cache(maxsize=1)
def _all_metainfo() -> dict:
    return json.loads(_FILE.read_text(encoding='utf-8'))


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


def check_subset(chosen: Sequence[str], own: Sequence[str], dataset: str) -> None:
    """Every chosen class is one of the dataset's own; the error names the nearest."""
    for name in chosen:
        if name not in own:
            near = get_close_matches(name, own, 1)
            hint = f' Did you mean {near[0]!r}?' if near else ''
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
    if own and (given is None or list(given) == list(own.values())):
        return [own[name] for name in classes]
    if given is None:
        return make_palette(len(classes))
    if len(given) != len(classes):
        raise UserError(
            f'metainfo.palette has {len(given)} colours for {len(classes)} classes: give one '
            '[r, g, b] for each class, or leave the palette out.'
        )
    return list(given)
