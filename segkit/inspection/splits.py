"""The splits of a layout as a config needs them: a validation split, a table, lists of names.

Where the folder has none for validation, a fraction of the training pictures is, by groups.
"""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from segkit.command import command
from segkit.datasets.folds import group_key
from segkit.datasets.scan import list_stems
from segkit.errors import UserError, few
from segkit.evaluation.tables import format_table

from .layout import Layout
from .pairing import Pairing, Variant
from .summary import spread

# What names of frames look like: the video, then the number.
FRAMES = r'^(.*?)[_-]?\d+$'
_FEWEST_FRAMES = 5
_SHOWN = 3


def split_off(
    pairing: Pairing, fraction: float, group_by: str | None
) -> tuple[Pairing, Pairing, str]:
    """(training part, validation part, how it was done).

    Args:
        fraction: of the pictures, in (0, 1); at least one goes to each side.
        group_by: a regular expression whose first group (or whole match) in a stem names the video
            or place, or 'folder'; pictures of one group stay together.

    Raises:
        ValueError: the pattern is none, matches nothing, or puts everything into one group.
    """
    stems = pairing.stems
    groups = group(stems, group_by)
    if len(stems) == 1:
        how = 'there is one picture: it is trained on and validated on, so scores will mean nothing'
        return pairing, pairing, how
    if len(groups) == 1:
        raise UserError(
            f'--group-by {group_by}: all {len(stems)} pictures are in one group, so none is left '
            'to validate on. Choose another pattern, or name a split with --val-images.'
        )
    chosen = _groups_for(groups, fraction * len(stems))
    validation = {stem for name in chosen for stem in groups[name]}
    kept = [stem for stem in stems if stem not in validation]
    how = f'{len(validation)} of {len(stems)} pictures, spread evenly over the sorted names'
    if group_by:
        shown = few(chosen, 4)
        how = f'{len(chosen)} of {len(groups)} groups ({shown}), {len(validation)} pictures'
    return (
        pairing.only(kept),
        Pairing(pairing.images, pairing.labels, pairing.variants).only(validation),
        how,
    )


def group(stems: Sequence[str], group_by: str | None) -> dict[str, list[str]]:
    """Name of each group -> its stems; without ``group_by`` each stem is one."""
    found: dict[str, list[str]] = {}
    key = group_key(group_by)
    for stem in stems:
        found.setdefault(key(stem), []).append(stem)
    if group_by and len(found) == len(stems) > 1:
        raise UserError(
            f'--group-by {group_by}: no two of the {len(stems)} pictures are in one group, such '
            f'as {stems[0]} and {stems[1]}. The first group of the pattern is the video or place.'
        )
    return found


def _groups_for(groups: Mapping[str, Sequence[str]], wanted: float) -> list[str]:
    """Evenly spread groups that together hold about ``wanted`` pictures, never all."""
    names = sorted(groups)
    best: list[str] = []
    for count in range(1, len(names)):
        chosen = spread(names, count)
        size, before = (sum(len(groups[n]) for n in some) for some in (chosen, best))
        if not best or abs(size - wanted) < abs(before - wanted):
            best = chosen
        if size >= wanted:
            break
    return best


def frames_hint(stems: Sequence[str]) -> str:
    """A sentence where names look like frames of several videos, else ''."""
    found: dict[str, int] = {}
    for stem in stems:
        name = group_key(FRAMES)(stem)
        found[name] = found.get(name, 0) + 1
    videos = [name for name, count in found.items() if count >= _FEWEST_FRAMES]
    if len(videos) < 2 or sum(found[name] for name in videos) < len(stems) / 2:
        return ''
    shown = ', '.join(sorted(videos)[:3])
    return (
        f'The names look like frames of {len(videos)} videos ({shown}, ...). Frames of one video '
        f"in both splits make scores too good: --group-by '{FRAMES}' keeps each in one."
    )


# -- the splits of a layout ------------------------------------------------------------------------


def take_validation(layout: Layout, args: Namespace) -> list[str]:
    """Take a validation split off where the folder has none; what was decided."""
    parts = layout.parts
    told = []
    if args.folds:
        told.append(take_folds(parts, args.folds, args.group_by))
    elif 'val' not in parts:
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
        told.append(f'test: no split of the folder is for testing; {command("test")} takes val.')
    layout.parts = {role: parts[role] for role in ('train', 'val', 'test') if role in parts}
    return told


def take_folds(parts: dict[str, Pairing], folds: int, group_by: str | None) -> str:
    """The pictures for training are those for validation too, a fold of them at a time."""
    if 'val' in parts:
        raise UserError(
            '--folds: the folder has a val split; name what is for all folds by --images.'
        )
    stems = parts['train'].stems
    if len(group(stems, group_by)) < folds:
        raise UserError(f'--folds {folds}: there are fewer groups in {len(stems)} pictures.')
    parts['val'] = parts['train']
    return (
        f'folds: one of {folds} is for validation, the others for training; each in turn is, in a '
        'config of its own (..._fold1.py, ...).'
    )


def splits_table(layout: Layout) -> list[str]:
    """What was understood: a table of the splits, and what is left out or not used."""
    rows, told = [], []
    for role, part in layout.parts.items():
        images, labels = (_place(*place) for place in zip((part.images, part.labels), part.endings))
        left = ', '.join(f'{len(names)} {why}' for why, names in part.left_out.items()) or '-'
        rows.append([role, images, labels, left, len(part)])
        told += [f'{role} leaves out {w}: {few(n, _SHOWN)}' for w, n in part.left_out.items()]
    table = format_table(['split', 'pictures in', 'labels in', 'left out', 'pictures'], rows, 4)
    unused = [f'not used: {f} ({count} pictures)' for f, count in layout.unused.items()]
    return [*table.splitlines(), *told, *unused]


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


def dataset_settings(
    layout: Layout, role: str, out: Path, lists: dict[Path, list[str]]
) -> list[dict]:
    """Arguments of the data sets of a split: one for each way that its names end.

    ``lists`` gets the split files that have to be written: path -> stems.
    """
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
            lists[path] = list(variant.stems)
            inside = path.is_relative_to(layout.root)
            settings['ann_file'] = str(path.relative_to(layout.root) if inside else path)
        found.append(settings)
    return found


def _all_of_folder(folder: Path, part: Pairing, variant: Variant) -> bool:
    """Whether a data set finds these pictures, and no others, without a list of them."""
    if len(part.variants) > 1 or any(why.startswith('pictures') for why in part.left_out):
        return False
    return sorted(list_stems(str(folder), variant.img_suffix)) == list(variant.stems)
