"""Which two folders below a root hold images and their labels, and how their names pair up.

Folders are paired by the names in them: an image ``a/b<img_suffix>`` belongs to the label
``a/b<seg_map_suffix>``. Both suffixes are read off the names themselves, so that ``x.jpg`` with
``x.png``, ``x_leftImg8bit.png`` with ``x_gtFine_labelTrainIds.png`` and ``x.jpg`` with
``x_mask.png`` are all found.
"""

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from segkit.datasets.scan import list_files

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.tif', '.tiff', '.bmp', '.webp')
# Lossy formats change label values, so nobody keeps labels in them.
LABEL_SUFFIXES = ('.png', '.tif', '.tiff', '.bmp')
_LABEL_WORDS = ('ann', 'label', 'mask', 'gt', 'seg', 'target')
_SPLITS = {'train': ('train', 'training'), 'val': ('val', 'valid', 'validation')}
# Words in the names of label files that hold something else than class indices.
_NO_INDEX = ('color', 'colour', 'instance', 'panoptic', 'vis')
_PROBED, _NEAR = 60, 8


@dataclass(frozen=True)
class Pairing:
    """Folders relative to the root, what follows the stem in each, and the stems of all pairs."""

    images: str
    labels: str
    img_suffix: str
    seg_map_suffix: str
    stems: tuple[str, ...]

    def splits(self) -> dict[str, str]:
        """Role -> subfolder, for stems that all lie below 'train', 'val' or the like; else {}."""
        first = {stem.split('/', 1)[0] for stem in self.stems if '/' in stem}
        found = {role: n for role, names in _SPLITS.items() for n in names if n in first}
        return found if 'train' in found else {}


def find_pairing(root: Path, images: str | None = None, labels: str | None = None) -> Pairing:
    """The pair of folders below ``root`` with the most pairs.

    Args:
        images, labels: the folders, relative to the root, where they are known.

    Raises:
        FileNotFoundError, ValueError: nothing there pairs up; the message says what was seen.
    """
    if not root.is_dir():
        raise FileNotFoundError(f'{root}: there is no such folder.')
    found = {name: _names(root / name) for name in _candidates(root, images, labels)}
    options = [
        _pair(a, b, found[a], found[b])
        for a, b in permutations(found, 2)
        if images in (None, a) and labels in (None, b) and not _nested(a, b)
    ]
    options += [_pair(a, a, names, names) for a, names in found.items() if images == labels == a]
    best = max(options, key=_quality, default=None)
    if best is None or not best.stems:
        seen = ', '.join(f'{name} ({len(names)} images)' for name, names in found.items())
        raise ValueError(
            f'{root}: no two folders whose file names pair up; seen: {seen or "no images at all"}. '
            'Images and labels need the same names up to their endings; name the folders with '
            '--images and --labels.'
        )
    return best


def _quality(pairing: Pairing) -> tuple:
    """More pairs; then names that say which are the labels; then label files that can be ones."""
    words = [any(word in name.lower() for word in _LABEL_WORDS)
             for name in (pairing.labels, pairing.images)]  # fmt: skip
    lossless = pairing.seg_map_suffix.lower().endswith(LABEL_SUFFIXES)
    return lossless, len(pairing.stems), words[0] - words[1]


def _nested(a: str, b: str) -> bool:
    return a.startswith(b + '/') or b.startswith(a + '/')


def _candidates(root: Path, images: str | None, labels: str | None) -> list[str]:
    """Folders to pair: those given, else the children and grandchildren that hold images."""
    given = [name for name in (images, labels) if name is not None]
    for name in given:
        if not (root / name).is_dir():
            raise FileNotFoundError(f'{root / name}: there is no such folder.')
    if len(given) == 2:
        return list(dict.fromkeys(given))
    children = [path for path in sorted(root.iterdir()) if path.is_dir()]
    children += [p for child in children for p in sorted(child.iterdir()) if p.is_dir()]
    return given + [
        str(p.relative_to(root)) for p in children if str(p.relative_to(root)) not in given
    ]


def _names(folder: Path) -> list[str]:
    found = (name for suffix in IMAGE_SUFFIXES for name in list_files(str(folder), suffix))
    upper = (n for s in IMAGE_SUFFIXES for n in list_files(str(folder), s.upper()))
    return sorted([*found, *upper])


def _pair(a: str, b: str, images: Sequence[str], labels: Sequence[str]) -> Pairing:
    """The suffixes under which most names of the two lists meet."""
    endings = Counter(e for name in _probe(images) for e in _endings(name, labels, a == b))
    options = [Pairing(a, b, '', '', ())]
    for first, second in [pair for pair, _ in endings.most_common(8)]:
        stems = {n.removesuffix(first) for n in images if n.endswith(first)}
        stems &= {n.removesuffix(second) for n in labels if n.endswith(second)}
        options.append(Pairing(a, b, first, second, tuple(sorted(stems))))
    return max(options, key=lambda p: (len(p.stems), _preference(p.seg_map_suffix)))


def _preference(suffix: str) -> int:
    """Of several label files an image may have, those with class indices; Cityscapes has four."""
    suffix = suffix.lower()
    return ('trainid' in suffix) - any(word in suffix for word in _NO_INDEX)


def _probe(names: Sequence[str]) -> Sequence[str]:
    return names[:: max(1, len(names) // _PROBED)]


def _endings(name: str, labels: Sequence[str], same: bool) -> list[tuple[str, str]]:
    """What follows the common beginning of an image's name and of its nearest labels'."""
    place = bisect_left(labels, name)
    near = labels[max(place - _NEAR, 0) : place + _NEAR]
    near = [other for other in near if not (same and other == name)]
    length = max((len(os.path.commonprefix([name, other])) for other in near), default=0)
    found = []
    for label in near:
        stem = os.path.commonprefix([name, label])
        if len(stem) == length:
            stem = _whole_words(stem, name, label)
            found += [(name[len(stem) :], label[len(stem) :])] if stem else []
    return found


def _whole_words(stem: str, name: str, label: str) -> str:
    """The common beginning, cut where a word ends; '' if that leaves nothing of the file name."""
    if name == label:
        stem = name[: name.rfind('.')]
    elif not stem.endswith(name[: name.rfind('.')]):
        # 'x_leftImg' and 'x_label' share 'x_l': the ending begins at the last separator.
        cut = max(stem.rfind(separator) for separator in '_-.')
        stem = stem[:cut] if cut > stem.rfind('/') + 1 else stem
    return '' if stem.endswith('/') else stem
