"""Classes and palettes of the benchmark datasets, kept as data in ``metainfo.json``.

The names are those stored in published checkpoints (ADE20K's ``'bed '`` keeps its space): a
checkpoint's own class list is compared with these, so a tidier spelling would read as a change.
"""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np

_FILE = Path(__file__).with_name('metainfo.json')


@lru_cache(maxsize=1)
def _all_metainfo() -> dict:
    return json.loads(_FILE.read_text(encoding='utf-8'))


def dataset_metainfo(name: str) -> dict:
    """``dict(classes=tuple of K names, palette=list of K [r, g, b])`` of one benchmark dataset.

    ``name`` is one of ``cityscapes, ade20k, pascal_voc12, pascal_context, pascal_context_59``.
    """
    info = _all_metainfo()
    if name not in info:
        raise KeyError(f'No classes are known for the dataset {name!r}; known: {sorted(info)}.')
    entry = info[name]
    return dict(classes=tuple(entry['classes']), palette=[list(c) for c in entry['palette']])


def make_palette(num_classes: int) -> list[list[int]]:
    """Distinct, reproducible RGB colours for classes that come without a palette."""
    colours = np.random.RandomState(42).randint(0, 256, size=(num_classes, 3))
    return colours.tolist()
