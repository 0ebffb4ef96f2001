"""How the names of pictures and of their labels pair up.

A picture ``a/b<img_suffix>`` belongs to the label ``a/b<seg_map_suffix>``. Both suffixes are read
off the names themselves, so that ``x.jpg`` with ``x.png``, ``x_leftImg8bit.png`` with
``x_gtFine_labelTrainIds.png`` and ``x.jpg`` with ``x_mask.png`` are all found; endings may be mixed
(.jpg, .JPG, .png), each combination is a variant.
"""

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .words import LABEL_WORDS, OTHER_WORDS, meaning_of_path

# Lossy formats change label values, so nobody keeps labels in them.
LABEL_SUFFIXES = ('.png', '.tif', '.tiff', '.bmp', '.gif')
_PROBED, _NEAR = 60, 8
_ABSENT = ('pictures without a label', 'labels without a picture', 'pictures named otherwise')


@dataclass(frozen=True)
class Variant:
    """Names that share what follows their stem; ``seg_map_suffix`` is '' without labels."""

    img_suffix: str
    seg_map_suffix: str
    stems: tuple[str, ...]


@dataclass(frozen=True)
class Pairing:
    """Two folders, relative to the root or absolute, and what pairs up in them.

    labels: None for pictures without labels. left_out: reason -> names in their folder.
    """

    images: str
    labels: str | None
    variants: tuple[Variant, ...] = ()
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(variant.stems) for variant in self.variants)

    @property
    def stems(self) -> list[str]:
        """All stems, sorted."""
        return sorted(stem for variant in self.variants for stem in variant.stems)

    def only(self, stems: Iterable[str]) -> 'Pairing':
        """The same with these stems alone."""
        kept = set(stems)
        chosen = [replace(v, stems=tuple(s for s in v.stems if s in kept)) for v in self.variants]
        return replace(self, variants=tuple(v for v in chosen if v.stems))

    @property
    def endings(self) -> tuple[str, str]:
        """The endings of pictures and of labels, for a person."""
        both = [sorted({v.img_suffix for v in self.variants}),
                sorted({v.seg_map_suffix for v in self.variants})]  # fmt: skip
        return ', '.join(f'*{e}' for e in both[0]), ', '.join(f'*{e}' for e in both[1])


def unlabelled(folder: str, names: Sequence[str]) -> Pairing:
    """The pictures of a folder as a split without labels."""
    by_ending: dict[str, list[str]] = {}
    for name in names:
        stem, ending = _split_ending(name)
        by_ending.setdefault(ending, []).append(stem)
    return Pairing(folder, None, tuple(Variant(e, '', tuple(s)) for e, s in by_ending.items()))


def best_pairing(found: Mapping[str, Sequence[str]]) -> Pairing | None:
    """Of all pairs of these folders (name -> names in it) the best; None without one."""
    kinds = {folder: meaning_of_path(folder).kind for folder in found}
    return best_of(
        pair(a, b, found[a], found[b])
        for a in found
        for b in found
        if a == b or (kinds[a] not in ('labels', 'other') and kinds[b] != 'images')
    )


def best_of(options: Iterable[Pairing]) -> Pairing | None:
    """The best pairing in which something pairs up."""
    return max((p for p in options if p.variants), key=_quality, default=None)


def others_as_good(found: Mapping[str, Sequence[str]], best: Pairing) -> list[str]:
    """Folders of labels that would have done as well as those chosen."""
    if best.labels in (None, best.images):
        return []
    fitting = [b for b in found if b != best.images and meaning_of_path(b).kind != 'other']
    options = (pair(best.images, b, found[best.images], found[b]) for b in fitting)
    rivals = [p.labels or '' for p in options if len(p) == len(best) and p.labels != best.labels]
    return sorted(rivals)


def _quality(pairing: Pairing) -> tuple:
    """Label files that can be ones; class indices; more pairs; names that say which are labels."""
    suffix = pairing.variants[0].seg_map_suffix.lower()
    kinds = meaning_of_path(pairing.images).kind, meaning_of_path(pairing.labels or '').kind
    words = (kinds[1] == 'labels') - (kinds[1] == 'images') + (kinds[0] == 'images')
    return suffix.endswith(LABEL_SUFFIXES), kinds[1] != 'other', len(pairing), words


def pair(
    a: str, b: str, images: Sequence[str], labels: Sequence[str], sure: bool = False
) -> Pairing:
    """The pairs of two lists of names under the suffixes with which most of them meet."""
    same = a == b
    suffixes = _suffixes(images, labels, same, sure)
    if suffixes is None:
        return Pairing(a, b)
    (tail, _), (label_tail, label_ending) = map(_split_ending, suffixes)
    pictures, targets, odd = [], {}, []
    for name in labels:
        stem, ending = _split_ending(name)
        if stem.endswith(label_tail) and (label_tail or not same or ending == label_ending):
            key = stem.removesuffix(label_tail)
            if key not in targets or ending == label_ending:
                targets[key] = ending
    for name in images:
        stem, ending = _split_ending(name)
        if same and stem.endswith(label_tail) and (label_tail or ending == label_ending):
            continue
        if tail and not stem.endswith(tail):
            odd.append(name)
        else:
            pictures.append((stem.removesuffix(tail), ending))
    met: dict[tuple[str, str], list[str]] = {}
    for stem, ending in pictures:
        if stem in targets:
            met.setdefault((tail + ending, label_tail + targets[stem]), []).append(stem)
    variants = tuple(Variant(*key, tuple(sorted(stems))) for key, stems in sorted(met.items()))
    stems = {stem for stem, _ in pictures}
    absent = (
        [stem + tail + ending for stem, ending in pictures if stem not in targets],
        [key + label_tail + ending for key, ending in targets.items() if key not in stems],
        odd,
    )
    left = {why: tuple(sorted(names)) for why, names in zip(_ABSENT, absent) if names}
    return Pairing(a, b, variants, left)


def _split_ending(name: str) -> tuple[str, str]:
    """('a_mask', '.png') of 'a_mask.png'; a suffix may be an ending alone."""
    stem, dot, ending = name.rpartition('.')
    return stem, dot + ending


def _suffixes(
    images: Sequence[str], labels: Sequence[str], same: bool, sure: bool
) -> tuple[str, str] | None:
    """What follows the stem of a picture and of its label, where most names meet."""
    probed = images[:: max(1, len(images) // _PROBED)]
    endings = Counter(e for name in probed for e in _endings(name, labels, same))
    options = []
    for first, second in [found for found, _ in endings.most_common(8)]:
        if same and not (sure or _told_apart(first, second)):
            continue
        stems = {n.removesuffix(first) for n in images if n.endswith(first)}
        stems &= {n.removesuffix(second) for n in labels if n.endswith(second)}
        # One match of many, in the middle of a word, is chance.
        if len(stems) > 1 or (stems and not _inside_word(min(stems), first, second)):
            options.append((len(stems), _preference(second), first, second))
    return max(options)[2:] if options else None


def _told_apart(image: str, label: str) -> bool:
    """Whether the endings of two files in one folder say which of them is the label."""
    words = [''.join(c if c.isalpha() else ' ' for c in s.lower()).split() for s in (image, label)]
    known = [any(word in (*LABEL_WORDS, *OTHER_WORDS) for word in some) for some in words]
    bare = image.startswith('.') and label.startswith('.')  # x.jpg beside x.png
    lossless = label.lower().endswith(LABEL_SUFFIXES)
    lossy = not image.lower().endswith(LABEL_SUFFIXES)
    return (known[1] and not known[0]) or (bare and lossless and lossy)


def _preference(suffix: str) -> int:
    """Of several label files an image may have, those with class indices; Cityscapes has four."""
    suffix = suffix.lower()
    no_index = any(word in suffix for word in OTHER_WORDS if word not in ('vis', 'depth'))
    return 2 * ('trainid' in suffix) + suffix.endswith(LABEL_SUFFIXES) - 2 * no_index


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
    rests = name[len(stem) :], label[len(stem) :]
    # Neither 'images/' against 'masks/' nor picture 1 against label 11.
    cut_off = any('/' in rest or (stem[-1:] + rest[:1]).isdigit() for rest in rests)
    return '' if cut_off or stem.endswith('/') else stem


def _inside_word(stem: str, *rests: str) -> bool:
    """Whether every one of the endings begins within a word of letters."""
    return all((stem[-1:] + rest[:1]).isalpha() and len(rest) > 1 for rest in rests)
