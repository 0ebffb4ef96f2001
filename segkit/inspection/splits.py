"""A validation split where the folder has none: a fraction of the training pictures, by groups."""

import re
from collections.abc import Callable, Mapping, Sequence

from segkit.errors import UserError

from .folders import Pairing
from .summary import spread

# What names of frames look like: the video, then the number.
FRAMES = r'^(.*?)[_-]?\d+$'
_FEWEST_FRAMES = 5


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
        shown = ', '.join(chosen[:4]) + (', ...' if len(chosen) > 4 else '')
        how = f'{len(chosen)} of {len(groups)} groups ({shown}), {len(validation)} pictures'
    return (
        pairing.only(kept),
        Pairing(pairing.images, pairing.labels, pairing.variants).only(validation),
        how,
    )


def group(stems: Sequence[str], group_by: str | None) -> dict[str, list[str]]:
    """Name of each group -> its stems; without ``group_by`` each stem is one."""
    found: dict[str, list[str]] = {}
    key = _key(group_by)
    for stem in stems:
        found.setdefault(key(stem), []).append(stem)
    if group_by and len(found) == len(stems) > 1:
        raise UserError(
            f'--group-by {group_by}: no two of the {len(stems)} pictures are in one group, such '
            f'as {stems[0]} and {stems[1]}. The first group of the pattern is the video or place.'
        )
    return found


def _key(group_by: str | None) -> Callable[[str], str]:
    if group_by is None:
        return lambda stem: stem
    if group_by == 'folder':
        return lambda stem: stem.rpartition('/')[0]
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise UserError(f'--group-by {group_by}: no regular expression ({error}).') from None

    def key(stem: str) -> str:
        found = pattern.search(stem)
        if not found:
            return stem
        return next((g for g in found.groups() if g is not None), found.group())

    return key


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
        name = _key(FRAMES)(stem)
        found[name] = found.get(name, 0) + 1
    videos = [name for name, count in found.items() if count >= _FEWEST_FRAMES]
    if len(videos) < 2 or sum(found[name] for name in videos) < len(stems) / 2:
        return ''
    shown = ', '.join(sorted(videos)[:3])
    return (
        f'The names look like frames of {len(videos)} videos ({shown}, ...). Frames of one video '
        f"in both splits make scores too good: --group-by '{FRAMES}' keeps each in one."
    )
