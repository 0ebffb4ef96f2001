"""From a folder to its splits: which pictures are trained on, validated on and tested on.

In this order: folders that the caller named; folders whose names tell a split (``train``,
``trainannot``, ``images/val``); else one pair of folders, split by lists (``train.txt``) where
there are some. What was decided is kept in ``notes``, what was not used in ``unused``.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

from segkit.command import command
from segkit.datasets.scan import read_split
from segkit.errors import UserError, few

from .exports import refuse_exports
from .files import find_lists, list_pictures, match
from .pairing import Pairing, best_of, best_pairing, others_as_good, pair, unlabelled
from .unpaired import why_unpaired
from .words import base_of, meaning_of_path

_ROLES = ('train', 'val', 'test')
_MOST_FOLDERS = 60  # to pair up where no name says anything


@dataclass
class Choice:
    """What the caller said: a folder of pictures and of labels for every split, or for one."""

    images: str | None = None
    labels: str | None = None
    of_split: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    lists: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Layout:
    """Split -> its pictures and labels; sentences about what was decided; folders not used."""

    root: Path
    parts: dict[str, Pairing] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unused: dict[str, int] = field(default_factory=dict)


def find_layout(root: Path, choice: Choice) -> Layout:
    """The splits of a folder.

    Raises:
        FileNotFoundError, ValueError: nothing there pairs up, or labels are no label images; the
            message says what was seen.
    """
    if not root.is_dir():
        raise FileNotFoundError(f'{root}: there is no such folder.')
    layout = Layout(root)
    pictures = list_pictures(root)
    if any(any(folders) for folders in choice.of_split.values()):
        _named_splits(layout, pictures, choice)
    elif choice.images or choice.labels:
        best = _with_labels(root, pictures, choice.images, choice.labels)
        if best is None:
            raise UserError(_unpaired(root, _bases(pictures)))
        _one_pair(layout, best, choice)
    else:
        _by_names(layout, pictures, choice)
    if 'train' not in layout.parts:
        raise UserError(_nothing(root, pictures, layout))
    layout.parts = {role: layout.parts[role] for role in _ROLES if role in layout.parts}
    _count_unused(layout, pictures)
    _say_twice(layout)
    return layout


# -- folders that were named -----------------------------------------------------------------------


def _below(root: Path, folder: str, pictures: Sequence[str]) -> list[str]:
    """Names of the pictures in a folder that was named, relative to it."""
    if not (root / folder).is_dir():
        raise FileNotFoundError(f'{root / folder}: there is no such folder.')
    if Path(folder).is_absolute():
        return list_pictures(folder)
    folder = '' if folder == '.' else folder
    return [
        n.removeprefix(f'{folder}/') for n in pictures if not folder or n.startswith(f'{folder}/')
    ]


def _tidy(root: Path, folder: str) -> str:
    """As data_prefix has it: relative to the root where it lies below it."""
    path = Path(folder)
    if path.is_absolute() and path.is_relative_to(root):
        path = path.relative_to(root)
    return '' if str(path) == '.' else path.as_posix()


def _named_splits(layout: Layout, pictures: Sequence[str], choice: Choice) -> None:
    root = layout.root
    for role, (images, labels) in choice.of_split.items():
        if images is None and labels is not None:
            raise UserError(f'--{role}-labels {labels}: name its pictures with --{role}-images.')
        if images is None:
            continue
        names = _below(root, images, pictures)
        best = _with_labels(root, pictures, images, labels)
        if best is None and labels is None and role == 'test':
            best = unlabelled(_tidy(root, images), names)
        if best is None:
            raise UserError(
                f'--{role}-images {images}: no label pairs up with its {len(names)} pictures. '
                f'Name their folder with --{role}-labels.'
            )
        layout.parts[role] = best


def _with_labels(
    root: Path, pictures: Sequence[str], images: str | None, labels: str | None
) -> Pairing | None:
    """The best pairing of folders of which at least one was named."""
    named = {_tidy(root, f): _below(root, f, pictures) for f in (images, labels) if f is not None}
    bases = _bases(pictures)
    others = {**(bases if any(bases) else _folders(pictures)), **named}
    firsts = [_tidy(root, images)] if images is not None else list(others)
    seconds = [_tidy(root, labels)] if labels is not None else list(others)
    options = [
        pair(a, b, others[a], others[b], sure=images is not None and labels is not None)
        for a in firsts
        for b in seconds
    ]
    return best_of(options)


# -- what names say --------------------------------------------------------------------------------


def _bases(pictures: Sequence[str]) -> dict[str, list[str]]:
    """Folder that means something -> names below it; '' holds the rest."""
    found: dict[str, list[str]] = {}
    for name in pictures:
        folder, _, _ = name.rpartition('/')
        base = base_of(folder)
        found.setdefault(base, []).append(name.removeprefix(f'{base}/') if base else name)
    return found


def _folders(pictures: Sequence[str]) -> dict[str, list[str]]:
    """Every folder of up to two levels -> names below it, the root first."""
    found: dict[str, list[str]] = {'': list(pictures)}
    for name in pictures:
        parts = name.split('/')
        for depth in range(1, min(len(parts), 3)):
            found.setdefault('/'.join(parts[:depth]), []).append('/'.join(parts[depth:]))
    return found


def _by_names(layout: Layout, pictures: Sequence[str], choice: Choice) -> None:
    bases = _bases(pictures)
    roles = {base: meaning_of_path(base).role for base in bases}
    for role in _ROLES:
        found = {base: names for base, names in bases.items() if roles[base] == role}
        if found and role not in choice.lists:
            _add_split(layout, role, found)
    rest = {base: names for base, names in bases.items() if not roles[base]}
    if 'train' in layout.parts or not rest:
        return
    best = best_pairing(rest)
    if best is None:
        rest = {f: n for f, n in _folders(pictures).items() if not meaning_of_path(f).role}
        best = best_pairing(rest) if len(rest) <= _MOST_FOLDERS else None
    if best is not None:
        _say_rivals(layout, rest, best)
        _one_pair(layout, best, choice)


def _add_split(layout: Layout, role: str, found: Mapping[str, Sequence[str]]) -> None:
    """The pair of a role's folders; pictures without labels are a test split of their own kind."""
    best = best_pairing(found)
    if best is not None:
        _say_rivals(layout, found, best)
        layout.parts[role] = best
        return
    folder, names = max(found.items(), key=lambda item: len(item[1]))
    if role == 'test':
        layout.parts[role] = unlabelled(folder, names)
        layout.notes.append(
            f'test: the {len(names)} pictures of {folder} have no labels; predictions for them '
            f'take `{command("test", "... --format-only --out DIR")}`.'
        )
    else:
        layout.notes.append(
            f'{role}: the {len(names)} pictures of {folder} have no labels: not used.'
        )


def _say_rivals(layout: Layout, found: Mapping[str, Sequence[str]], best: Pairing) -> None:
    rivals = others_as_good(found, best)
    if rivals:
        layout.notes.append(
            f'labels of {best.images or "."}: those of {best.labels}; as many are in '
            f'{", ".join(rivals)} (choose with --labels, --train-labels, --val-labels).'
        )


# -- one pair of folders ---------------------------------------------------------------------------


def _one_pair(layout: Layout, pairing: Pairing, choice: Choice) -> None:
    """Splits of one pair of folders: by its subfolders, by lists; else all of it is to train on."""
    first = {stem: meaning_of_path(stem.rpartition('/')[0]).role for stem in pairing.stems}
    told = {role: [s for s, r in first.items() if r == role] for role in _ROLES}
    if told['train']:
        for role, stems in told.items():
            if stems and role not in layout.parts:
                layout.parts[role] = replace(pairing.only(stems), left_out=pairing.left_out)
        return
    lists = {r: names for r, names in find_lists(layout.root).items() if r not in layout.parts}
    lists |= {role: [name] for role, name in choice.lists.items()}
    if 'train' not in lists:
        layout.parts['train'] = pairing
        return
    bare = pairing.left_out.get('pictures without a label', ())
    for role in _ROLES:
        if role in lists:
            _by_list(layout, role, lists[role], pairing, bare, role in choice.lists)
            if role not in layout.parts:
                _say_nothing_listed(layout, role, lists[role], pairing)


def _by_list(
    layout: Layout,
    role: str,
    names: Sequence[str],
    pairing: Pairing,
    bare: Sequence[str],
    sure: bool,
) -> None:
    """The part of a pairing that the first list which names some of it holds."""
    suffixes = {s for v in pairing.variants for s in (v.img_suffix, v.seg_map_suffix)}
    for name in names:
        path = layout.root / name
        if not path.is_file():
            raise FileNotFoundError(f'{path}: there is no such list (--{role}-list).')
        lines = read_split(str(path))
        stems, unknown = match(lines, pairing.stems, suffixes)
        if role == 'test' and not stems:
            ends = {v.img_suffix for v in pairing.variants}
            without = {n.removesuffix(e): n for n in bare for e in ends if n.endswith(e)}
            stems, unknown = match(lines, list(without), suffixes)
            found = unlabelled(pairing.images, [without[stem] for stem in stems])
        else:
            found = replace(pairing.only(stems), left_out={})
        if stems:
            if unknown:
                found = replace(
                    found, left_out={f'in {name}, without picture or label': tuple(unknown)}
                )
            layout.parts[role] = found
            layout.notes.append(f'{role}: the {len(stems)} names of {name}.')
            return
        if sure:
            raise UserError(f'{path}: none of its {len(lines)} lines names a picture with a label.')


def _say_nothing_listed(layout: Layout, role: str, names: Sequence[str], pairing: Pairing) -> None:
    """Of lists that name none of the pictures: an error for those to train on, else a note."""
    text = f'{", ".join(names)}: no line names a picture of {pairing.images or layout.root}'
    if role == 'train':
        raise UserError(
            f'{text}, such as {pairing.stems[0]!r}, that has a label. Name a list with '
            '--train-list FILE, or take this one out of the folder to train on all of them.'
        )
    layout.notes.append(f'{role}: {text}: not used.')


# -- what is said ----------------------------------------------------------------------------------


def _count_unused(layout: Layout, pictures: Sequence[str]) -> None:
    parts = layout.parts.values()
    used = {f for part in parts for f in (part.images, part.labels) if f is not None}
    if '' in used:
        return
    inside = tuple(f'{folder}/' for folder in used)
    for base, names in _bases([p for p in pictures if not p.startswith(inside)]).items():
        layout.unused[base or '.'] = len(names)


def _say_twice(layout: Layout) -> None:
    """Note pictures that are in two splits, and labels that two pictures share."""
    held = {
        role: {(part.images, v.img_suffix, stem) for v in part.variants for stem in v.stems}
        for role, part in layout.parts.items()
    }
    for first, second in combinations(held, 2):
        if both := sorted(stem for _, _, stem in held[first] & held[second]):
            layout.notes.append(
                f'{first} and {second} share {len(both)} pictures, which makes scores too good: '
                f'{few(both, 3)}.'
            )
    for role, part in layout.parts.items():
        uses = Counter((v.seg_map_suffix, s) for v in part.variants if part.labels for s in v.stems)
        if shared := sorted(stem for (_, stem), count in uses.items() if count > 1):
            layout.notes.append(
                f'{role}: {len(shared)} labels belong to two pictures each, whose names differ in '
                f'their endings alone: {few(shared, 3)}. Take away those that are not meant.'
            )


def _unpaired(root: Path, found: Mapping[str, Sequence[str]]) -> str:
    seen = ', '.join(f'{name or "."} ({len(names)} images)' for name, names in found.items())
    return (
        f'{root}: no two folders whose file names pair up; seen: {seen or "no images at all"}. '
        'Images and labels need the same names up to their endings; name the folders with '
        f'--images and --labels.{why_unpaired(root, found)}'
    )


def _nothing(root: Path, pictures: Sequence[str], layout: Layout) -> str:
    refuse_exports(root)
    text = _unpaired(root, dict(sorted(_bases(pictures).items())) if pictures else {})
    if layout.parts:
        there = ', '.join(f'{p.images} ({role})' for role, p in layout.parts.items())
        text += f' There is no split to train on beside {there}: name one with --train-images.'
    return text
