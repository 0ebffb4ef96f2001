"""Folds of a data set for cross-validation, and names grouped by the video or place they are of.

Both loaders of a run name the same fold, the one that validates with ``part='val'``:

    train_dataloader = dict(dataset=dict(fold=dict(number=0, of=5)))
    val_dataloader = dict(dataset=dict(fold=dict(number=0, of=5, part='val')))

The five runs with number 0 to 4 validate on every picture once.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np

from segkit.errors import UserError

PARTS = ('train', 'val')


def group_key(group_by: str | None, option: str = '--group-by') -> Callable[[str], str]:
    """From a stem to the name of its group.

    Args:
        group_by: a regular expression whose first group (or whole match) is the name, or 'folder';
            None for groups of one. option: what the user calls it, for the message.
    """
    if group_by is None:
        return lambda stem: stem
    if group_by == 'folder':
        return lambda stem: stem.rpartition('/')[0]
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise UserError(f'{option} {group_by}: no regular expression ({error}).') from None

    def key(stem: str) -> str:
        found = pattern.search(stem)
        if not found:
            return stem
        return next((g for g in found.groups() if g is not None), found.group())

    return key


def in_fold(
    stems: Sequence[str],
    number: int,
    of: int,
    part: str = 'train',
    seed: int = 0,
    group_by: str | None = None,
) -> list[str]:
    """The stems of one part of a fold, in their order; which they are depends on the names alone.

    Args:
        number: of the fold that validates, from 0 to ``of`` - 1.
        part: 'val' for that fold, 'train' for all others.
        seed: of the order in which groups are dealt out.
        group_by: as in `group_key`; a group is in one fold as a whole.
    """
    if of < 2 or not 0 <= number < of:
        raise UserError(
            f'fold: number={number} of={of} is none: there are two folds or more, counted from 0.'
        )
    if part not in PARTS:
        raise UserError(f'fold: part must be one of {PARTS}, not {part!r}.')
    key = group_key(group_by, 'fold: group_by')
    sizes: dict[str, int] = {}
    for stem in sorted(stems):
        sizes[key(stem)] = sizes.get(key(stem), 0) + 1
    if len(sizes) < of:
        raise UserError(
            f'fold: {len(stems)} pictures in {len(sizes)} groups cannot be {of} folds. Choose '
            'fewer, or another group_by.'
        )
    names = list(sizes)
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    held, place = [0] * of, {}
    for name in sorted(order, key=lambda name: -sizes[name]):  # the largest first, to the emptiest
        place[name] = held.index(min(held))
        held[place[name]] += sizes[name]
    return [stem for stem in stems if (place[key(stem)] == number) == (part == 'val')]
