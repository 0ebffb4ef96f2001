"""Labels painted in colours: a colour has the name that a file or the caller gives it, or none."""

from collections.abc import Sequence

from segkit.errors import UserError

from .class_tables import ClassTable, Colour, colour_of, hex_of
from .classes import Classes, Wish, is_black, is_nothing
from .labels import Stored


def by_colours(stored: Stored, table: ClassTable | None, wish: Wish) -> Classes:
    """The classes of labels whose pixels are colours; see ``classes.by_values``."""
    present = sorted(stored.colours)
    named = {e.colour: e.name for e in table.entries if e.colour is not None} if table else {}
    ignored = _ignored(named, wish)
    if wish.zero == 'ignore':
        ignored.add((0, 0, 0))
    unknown = [colour for colour in present if colour not in named and colour not in ignored]
    if table is not None and unknown:
        raise UserError(_unnamed(unknown, table, named))
    notes: list[str] = []
    if named:
        order = [colour for colour in named if colour not in ignored]
        reason = f'{len(present)} colours, named as {table.source if table else ""} says'
    else:
        order = unknown
        named = {colour: f'colour_{hex_of(colour)[1:]}' for colour in order}
        if all(len(set(colour)) == 1 for colour in order):
            named = {colour: f'value_{colour[0]}' for colour in order}
        if order == [(0, 0, 0), (255, 255, 255)]:
            named = dict(zip(order, ('background', 'foreground')))
        reason = f'{len(present)} flat colours, such as {", ".join(map(str, present[:4]))}'
        notes.append(
            'No file says what the colours mean: their classes are named after them. Write a line '
            "NAME R G B for each into class_names.txt, or add --classes 'NAME=#rrggbb,...'."
        )
    if not order:
        raise UserError('every colour is ignored: there is no class to learn.')
    black = next((colour for colour in order if is_black(colour)), None)
    asked = black is not None and wish.zero is None and (table is None or is_nothing(named[black]))
    if asked and black is not None and stored.colours[black]:
        notes.append(
            f'Black (0, 0, 0) is trained as a class, {named[black]!r}. If it means "not labelled" '
            'and should not count: --zero ignore (--zero class says that it is one).'
        )
    left = sorted(ignored & (set(present) | set(named)))
    return Classes(
        [named[colour] for colour in order],
        [*order],
        [*left],
        reason,
        {'label_format': 'rgb'},
        [list(colour) for colour in order],
        notes,
    )


def _ignored(named: dict[Colour, str], wish: Wish) -> set[Colour]:
    by_name = {name: colour for colour, name in named.items()}
    found: set[Colour] = set()
    for word in wish.ignore:
        colour = by_name.get(word) or colour_of(word)
        if word == 'none':
            continue
        if colour is None:
            known = f'; there are {", ".join(by_name)}' if by_name else ''
            raise UserError(
                f"--ignore {word}: the labels are colours: give one as '#fa3253', or a name{known}."
            )
        found.add(colour)
    return found


def _unnamed(unknown: Sequence[Colour], table: ClassTable, named: dict[Colour, str]) -> str:
    shown = ', '.join(f'{hex_of(colour)} {colour}' for colour in unknown[:12])
    more = f' and {len(unknown) - 12} more' if len(unknown) > 12 else ''
    if not named:
        pairs = ','.join(f'NAME={hex_of(colour)}' for colour in unknown[:12])
        return (
            f'{table.source} names classes, but not which colour of the labels is which: {shown}'
            f"{more}. Say it with --classes '{pairs}', or a line NAME R G B for each in a file "
            'given to --classes.'
        )
    ignore = ','.join(hex_of(colour) for colour in unknown[:12])
    return (
        f'the labels hold colours that {table.source} does not name: {shown}{more}. Add them to '
        f"it, or let them not count: --ignore '{ignore}'"
    )
