"""The splits of a layout as a config needs them: a validation split, a table, lists of names."""

from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path

from segkit.datasets.scan import list_stems
from segkit.errors import UserError

from .folders import Pairing, Variant
from .layout import Layout
from .splits import frames_hint, split_off

_SHOWN = 3


@dataclass
class Lists:
    """Split files to write: path -> stems."""

    files: dict[Path, list[str]] = field(default_factory=dict)


def take_validation(layout: Layout, args: Namespace) -> list[str]:
    """Take a validation split off where the folder has none; what was decided."""
    parts = layout.parts
    told = []
    if 'val' not in parts:
        train, val, how = split_off(parts['train'], args.val_fraction, args.group_by)
        hint = '' if args.group_by else frames_hint(parts['train'].stems)
        parts['train'], parts['val'] = train, val
        told.append(
            f'val: no split of the folder is for validation, so it takes {how} of train '
            '(--val-images, --val-list, --val-fraction and --group-by choose others).'
        )
        told += [hint] if hint else []
    elif args.group_by or args.val_fraction_given:
        told.append('--val-fraction and --group-by have no effect: the folder has a val split.')
    if 'test' not in parts:
        told.append('test: no split of the folder is for testing; tools/test.py takes val.')
    layout.parts = {role: parts[role] for role in ('train', 'val', 'test') if role in parts}
    return told


def splits_table(layout: Layout) -> list[str]:
    """What was understood, a line a split."""
    lines = [f'{"split":5}  {"pictures":>8}  {"pictures in":32}  {"labels in":32}  left out']
    for role, part in layout.parts.items():
        images, labels = part.endings
        where = [_place(part.images, images), _place(part.labels, labels)]
        left = ', '.join(f'{len(names)} {why}' for why, names in part.left_out.items()) or '-'
        lines.append(f'{role:5}  {len(part):>8}  {where[0]:32}  {where[1]:32}  {left}')
    for role, part in layout.parts.items():
        for why, names in part.left_out.items():
            more = ', ...' if len(names) > _SHOWN else ''
            lines.append(f'{role} leaves out {why}: {", ".join(names[:_SHOWN])}{more}')
    for folder, count in layout.unused.items():
        lines.append(f'not used: {folder} ({count} pictures)')
    return lines


def pairs_line(layout: Layout) -> str:
    """How many pairs there are, of which files."""
    labelled = [part for part in layout.parts.values() if part.labels is not None]
    places = {
        f'{_place(p.images, p.endings[0])} with {_place(p.labels, p.endings[1])}': None
        for p in labelled
    }
    return f'{sum(map(len, labelled))} pairs: {"; ".join(places)}'


def _place(folder: str | None, endings: str) -> str:
    return 'none' if folder is None else f'{folder}/{endings}' if folder else endings


def leave_out_unlisted(layout: Layout) -> list[str]:
    """Leave out names that no line of a split file can hold, where there is to be one."""
    told = []
    for role, part in list(layout.parts.items()):
        split_off_next = role == 'train' and 'val' not in layout.parts
        unlisted = [stem for stem in part.stems if not _listable(stem)]
        folder = layout.root / part.images
        found = all(_all_of_folder(folder, part, variant) for variant in part.variants)
        if not unlisted or (found and not split_off_next):
            continue
        layout.parts[role] = part.only(set(part.stems) - set(unlisted))
        if not layout.parts[role].variants:
            raise UserError(f'no picture of {role} has a name that a line of a file can hold.')
        shown = ', '.join(repr(stem) for stem in unlisted[:_SHOWN])
        told.append(
            f'{len(unlisted)} left out of {role}, since a line of a split file cannot hold the '
            f'name: {shown}'
        )
    return told


def _listable(stem: str) -> bool:
    """Whether a line of a text file can hold the name."""
    try:
        return stem.encode().decode().splitlines() == [stem] and stem == stem.strip()
    except UnicodeEncodeError:  # bytes of a file's name that are no text
        return False


def datasets_of(layout: Layout, role: str, out: Path, lists: Lists) -> list[dict]:
    """Arguments of the data sets of a split: one for each way that its names end."""
    part, found = layout.parts[role], []
    for number, variant in enumerate(part.variants):
        prefix = dict(img_path=part.images)
        settings: dict = dict(img_suffix=variant.img_suffix)
        if part.labels is not None:
            prefix['seg_map_path'] = part.labels
            settings['seg_map_suffix'] = variant.seg_map_suffix
        settings['data_prefix'] = prefix
        if not _all_of_folder(layout.root / part.images, part, variant):
            ending = f'_{number}' if number else ''
            path = out.resolve().with_name(f'{out.stem}_{role}{ending}.txt')
            lists.files[path] = list(variant.stems)
            inside = path.is_relative_to(layout.root)
            settings['ann_file'] = str(path.relative_to(layout.root) if inside else path)
        found.append(settings)
    return found


def _all_of_folder(folder: Path, part: Pairing, variant: Variant) -> bool:
    """Whether a data set finds these pictures, and no others, without a list of them."""
    if len(part.variants) > 1 or any(why.startswith('pictures') for why in part.left_out):
        return False
    return sorted(list_stems(str(folder), variant.img_suffix)) == list(variant.stems)
