"""Why names of pictures and labels that a person sees pair up are no pairs, and a cure to type.

A data set finds a label by its picture's name up to the endings, so beginnings that differ
(``img_1.jpg``, ``mask_1.png``) and letters in two forms of Unicode have to be written alike.
"""

import os
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from unicodedata import normalize

from .quoting import shell_line
from .words import meaning_of_path

_IN_ONE_FORM = (
    'import os, sys, unicodedata as u; [os.rename(d + "/" + n, d + "/" + u.normalize("NFC", n)) '
    'for d, _, f in os.walk(sys.argv[1]) for n in f]'
)
_BEGUN_ALIKE = (
    'import os, sys; a, b = sys.argv[2:]; [os.rename(d + "/" + n, d + "/" + b + n.removeprefix(a)) '
    'for d, _, f in os.walk(sys.argv[1]) for n in f if n.startswith(a)]'
)


def why_unpaired(root: Path, found: Mapping[str, Sequence[str]]) -> str:
    """A sentence with its cure about two of the folders (name -> names in it), or ''."""
    for images, labels in permutations(found, 2):
        kinds = [meaning_of_path(folder).kind for folder in (images, labels)]
        if kinds[0] in ('labels', 'other') or kinds[1] == 'images':
            continue
        stems = [[os.path.splitext(name)[0] for name in found[f]] for f in (images, labels)]
        if _mostly(*({normalize('NFC', stem) for stem in some} for some in stems)):
            return (
                f' Names in {images} and {labels} have letters in two forms of Unicode; this '
                f'writes all in one: {shell_line("python", "-c", _IN_ONE_FORM, str(root))}'
            )
        first, second = map(_beginning, stems)
        if _mostly(_without(first, stems[0]), _without(second, stems[1])):
            cure = shell_line('python', '-c', _BEGUN_ALIKE, str(root / labels), second, first)
            return (
                f' Those of {images} begin with {first!r} and those of {labels} with {second!r}; '
                f'this lets them begin alike: {cure}'
            )
    return ''


def _mostly(some: set[str], others: set[str]) -> bool:
    return 2 * len(some & others) > len(some)


def _beginning(stems: Sequence[str]) -> str:
    """What all names begin with, up to their numbers."""
    return os.path.commonprefix([stem.rpartition('/')[2] for stem in stems]).rstrip('0123456789')


def _without(beginning: str, stems: Sequence[str]) -> set[str]:
    parts = [stem.rpartition('/') for stem in stems]
    return {f'{folder}/{name.removeprefix(beginning)}' for folder, _, name in parts}
