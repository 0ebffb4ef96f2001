"""The files below a folder as a person sees them, and lists that say which are trained on.

Nothing hidden, endings in any case. A line of a list (``train.txt``, ``ImageSets/.../val.txt``) is
a stem, a file's name or its path, with spaces or not; or it has columns, of which the first is the
picture (SegNet's CamVid).
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from segkit.datasets.scan import list_files

from .words import ROLES

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.tif', '.tiff', '.bmp', '.webp', '.gif')


def visible_files(root: str | os.PathLike[str]) -> list[str]:
    """Relative paths, '/' between their parts, of all files whose path has no hidden part, sorted.

    Hidden is what begins with a dot: ``._x.jpg`` of macOS, ``.ipynb_checkpoints``. Links to folders
    are followed, each folder once.
    """
    found: list[str] = []
    if os.path.isdir(root):
        list_files(os.fspath(root), '/', found)  # no name ends so: all of them are others
    return sorted(found)


def is_picture(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def list_pictures(root: str | os.PathLike[str]) -> list[str]:
    """Relative paths of the visible pictures below a folder, sorted."""
    return [name for name in visible_files(root) if is_picture(name)]


def find_lists(root: Path) -> dict[str, list[str]]:
    """Role -> relative paths of text files whose name is one, those of segmentation first."""
    found: dict[str, list[str]] = {}
    for name in visible_files(root):
        stem, ending = os.path.splitext(os.path.basename(name))
        roles = [r for r, words in ROLES.items() if stem.lower() in words]
        if ending == '.txt' and roles:
            found.setdefault(roles[0], []).append(name)
    for names in found.values():
        names.sort(key=lambda name: _order(name))
    return found


def _order(name: str) -> tuple:
    """Segmentation's own lists first, 'train' before 'trainval', what lies higher first."""
    stem = os.path.splitext(os.path.basename(name))[0].lower()
    return 'seg' not in name.lower(), stem == 'trainval', name.count('/'), name


def match(
    lines: Iterable[str], stems: Sequence[str], suffixes: Iterable[str]
) -> tuple[list[str], list[str]]:
    """(stems that the lines name, lines that name none).

    Args:
        stems: of the pictures there are. suffixes: what may follow them in a line.
    """
    lines = list(lines)
    endings = sorted({'', *suffixes}, key=len, reverse=True)
    known, tails = set(stems), _by_tail(stems)

    def meant(texts: Iterable[str]) -> list[str | None]:
        return [next(_readings(text, endings, known, tails), None) for text in texts]

    whole = meant(lines)
    firsts = [re.split(r'[\t ,;]', line, maxsplit=1)[0] for line in lines]
    # Names have spaces too: 'photo 99' is no 'photo', but where lines name pictures by columns.
    columns = not any(whole) and len({*firsts}) == len(lines) and not {*firsts} & {*lines}
    taken = [first if columns or is_picture(first) else '' for first in firsts]
    found = [w if w is not None else f for w, f in zip(whole, meant(taken))]
    unknown = [line for line, stem in zip(lines, found) if stem is None]
    return list(dict.fromkeys(stem for stem in found if stem is not None)), unknown


def _by_tail(stems: Sequence[str]) -> dict[str, str]:
    """Name without folders -> stem, where it is the only one of that name."""
    tails: dict[str, str | None] = {}
    for stem in stems:
        tail = stem.rsplit('/', 1)[-1]
        tails[tail] = None if tail in tails else stem
    return {tail: stem for tail, stem in tails.items() if stem is not None}


def _readings(
    text: str, endings: Sequence[str], known: set[str], tails: Mapping[str, str]
) -> Iterator[str]:
    """Stems that a name or path may mean; a bare name means the only picture that has it."""
    path = text.strip().replace('\\', '/')
    ended = [path.removesuffix(ending) for ending in endings if path.endswith(ending)]
    ended += [os.path.splitext(path)[0]] if is_picture(path) else []  # written again as PNG, say
    for stem in filter(None, ended):
        parts = stem.split('/')
        for i in range(len(parts)):
            if '/'.join(parts[i:]) in known:
                yield '/'.join(parts[i:])
        if stem.removeprefix('./') in tails:
            yield tails[stem.removeprefix('./')]
