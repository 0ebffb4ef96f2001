"""What stored label values and colours mean: which are classes, under which names, which count not.

A file of names decides where there is one. What is left open, 0 among it, is said or asked; values
and colours never get the names of a list by the order in which they happen to sort, unless the list
was given for just that and the table that is printed shows it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from segkit.errors import UserError

from .class_tables import ClassTable, Colour, colour_of, hex_of
from .labels import Stored

IGNORE = 255
_BLACK = (0, 0, 0)
_NOTHING = (
    'unlabeled', 'unlabelled', 'notlabelled', 'notlabeled', 'void', 'ignore', 'ignored', 'none',
    'background', 'unknown', 'undefined', 'other', 'others', 'bg', 'dontcare',
)  # fmt: skip


@dataclass
class Wish:
    """``--ignore`` (values, names, colours or 'none') and ``--zero`` ('class' or 'ignore')."""

    ignore: Sequence[str] = ()
    zero: str | None = None


@dataclass
class Classes:
    """How to read the labels.

    settings: label_map, reduce_zero_label or label_format of the data set, as far as needed.
    stored: for each class the value or colour in the files. ignored: the same, of what does not
    count. notes: what was decided, for a person to contradict.
    """

    names: list[str]
    stored: list[int | Colour]
    ignored: list[int | Colour]
    reason: str
    settings: dict = field(default_factory=dict)
    palette: list[list[int]] | None = None
    notes: list[str] = field(default_factory=list)


def by_values(stored: Stored, table: ClassTable | None, wish: Wish) -> Classes:
    """The classes of labels whose pixels are numbers; ``colour_classes.by_colours`` for the others.

    Raises:
        ValueError: there is no class, a value has no name in the table, or what 0 means has to be
            said.
    """
    numbers = {int(word) for word in wish.ignore if word.isdigit()}
    present = set(stored.values) - numbers
    notes: list[str] = []
    if _is_special(present, table, wish):
        present.discard(IGNORE)
        numbers.add(IGNORE)
    if not present:
        raise UserError('every label pixel is ignored: there is no class to learn.')
    if table is None:
        meaning, reason = _numbered(sorted(present))
    else:
        meaning, reason = _named(sorted(present), table, stored, wish, notes)
    ignored = numbers | _ignored_names(meaning, wish)
    if 0 in stored.values and 0 in meaning and 0 not in ignored:
        if wish.zero == 'ignore':
            ignored.add(0)
        elif wish.zero is None and (table is None or is_nothing(meaning[0])):
            notes.append(_about_zero(meaning[0], stored))
    elif wish.zero and 0 not in stored.values:
        notes.append(f'--zero {wish.zero}: no label holds 0.')
    if IGNORE in numbers and IGNORE in stored.values and str(IGNORE) not in wish.ignore:
        share = _percent(stored.values[IGNORE], stored)
        notes.append(f'255 ({share} of the pixels) does not count; --ignore none makes it a class.')
    kept = [value for value in sorted(meaning) if value not in ignored]
    if not kept:
        raise UserError('every class is ignored: there is none to learn.')
    settings = _settings(kept, ignored | ({0} if 0 not in meaning else set()), stored)
    palette = _palette(kept, table, meaning, stored)
    left = sorted(ignored & (set(stored.values) | set(meaning)))
    names = [meaning[value] for value in kept]
    return Classes(names, [*kept], [*left], reason, settings, palette, notes)


def even_greys(values: Iterable[int]) -> bool:
    """Whether values are 0, 255 and what divides the way evenly: masks drawn for the eye."""
    found = sorted(values)
    steps = len(found) - 1
    if not 1 <= steps <= 64 or (found[0], found[-1]) != (0, IGNORE):
        return False
    return all(abs(value - IGNORE * i / steps) <= 1 for i, value in enumerate(found))


def _is_special(present: set[int], table: ClassTable | None, wish: Wish) -> bool:
    """Whether 255 is what does not count, as everywhere, and no class."""
    if IGNORE not in present or 'none' in wish.ignore:
        return False
    named = table is not None and any(entry.value == IGNORE for entry in table.entries)
    return not named and not even_greys(present)


def _numbered(values: list[int]) -> tuple[dict[int, str], str]:
    """Names for values that no file names."""
    count, last = len(values), values[-1]
    if even_greys(values):
        reason = f'greys {", ".join(map(str, values[:6]))}{", ..." if count > 6 else ""}'
        reason += f': each of the {count} becomes a class'
        if count == 2:
            return {0: 'background', IGNORE: 'foreground'}, reason.replace('greys', 'masks of')
        return {value: f'value_{value}' for value in values}, reason
    if values == list(range(count)):
        names = ['background', 'foreground'] if count == 2 else [f'class_{i}' for i in values]
        return dict(zip(values, names)), f'values 0 to {last}'
    if values == list(range(1, count + 1)):
        return {v: f'class_{v}' for v in values}, f'values 1 to {count}: they count from 1'
    if last + 1 <= 2 * count:
        missing = [value for value in range(last) if value not in values]
        reason = f'values up to {last}, of which {_few(missing)} never occur'
        return {v: f'class_{v}' for v in range(last + 1)}, reason
    return {v: f'value_{v}' for v in values}, (
        f'{count} values from {values[0]} to {last}: numbered in their order'
    )


def _named(
    values: list[int], table: ClassTable, stored: Stored, wish: Wish, notes: list[str]
) -> tuple[dict[int, str], str]:
    """Value -> name, by the values, the palette's colours or the order of a table."""
    by_value = {e.value: e.name for e in table.entries if e.value is not None}
    if by_value:
        return _by_table(values, by_value, table, wish), f'values as {table.source} names them'
    by_colour = {e.colour: i for i, e in enumerate(table.entries) if e.colour is not None}
    if by_colour and stored.palette and all(stored.palette[v] in by_colour for v in values):
        places = {v: by_colour[stored.palette[v]] for v in values}
        if all(v == place for v, place in places.items()):
            return dict(enumerate(table.names)), f'values in the order of {table.source}'
        return {v: table.names[place] for v, place in places.items()}, (
            f'the colours of the palette as {table.source} names them'
        )
    return _by_order(values, table, wish)


def _by_table(
    values: list[int], by_value: dict[int, str], table: ClassTable, wish: Wish
) -> dict[int, str]:
    unknown = [value for value in values if value not in by_value]
    if unknown == [0]:
        return _with_zero(by_value, table, wish)
    if unknown:
        raise UserError(
            f'the labels hold {_few(unknown)}, which {table.source} does not name. Add them to it, '
            f'or let them not count: --ignore {",".join(map(str, unknown[:20]))}'
        )
    return by_value


def _by_order(values: list[int], table: ClassTable, wish: Wish) -> tuple[dict[int, str], str]:
    names, count = table.names, len(table.names)
    if values[-1] < count:
        return dict(enumerate(names)), f'values in the order of {table.source}'
    from_one = {i + 1: name for i, name in enumerate(names)}
    if values[-1] == count and values[0] > 0:
        return from_one, f'values from 1 in the order of {table.source}'
    if values[-1] == count:
        return _with_zero(from_one, table, wish), f'values from 1 in the order of {table.source}'
    if len(values) == count:
        return dict(zip(values, names)), f'{count} values take the names of {table.source} in turn'
    raise UserError(
        f'{table.source} names {count} classes, but the labels hold {len(values)}: '
        f'{_few(values)}. Write VALUE=NAME pairs, as in --classes road=7,tree=9, or let some not '
        'count: --ignore VALUES.'
    )


def _with_zero(named: dict[int, str], table: ClassTable, wish: Wish) -> dict[int, str]:
    """Names without one for 0, which the labels hold: what it means has to be said."""
    if wish.zero == 'ignore':
        return {0: 'not labelled', **named}
    if wish.zero == 'class':
        return {0: 'background' if 'background' not in named.values() else 'class_0', **named}
    raise UserError(
        f'{table.source} names {len(table.entries)} classes, but the labels hold 0 too, which it '
        'does not name. Is 0 a class of its own, the background? Then add --zero class. Or are '
        'these pixels not labelled, and do not count? Then add --zero ignore.'
    )


def _ignored_names(meaning: dict[int, str], wish: Wish) -> set[int]:
    by_name = {name: value for value, name in meaning.items()}
    found = set()
    for word in wish.ignore:
        if word == 'none' or word.isdigit():
            continue
        if word not in by_name:
            raise UserError(
                f'--ignore {word}: no class has this name; there are {", ".join(by_name)}.'
            )
        found.add(by_name[word])
    return found


def _settings(kept: list[int], ignored: set[int], stored: Stored) -> dict:
    """Arguments of the data set that turn stored values into 0, 1, ..."""
    others = {value for value in ignored if value in stored.values or value == 0} - {IGNORE}
    if kept == list(range(1, len(kept) + 1)) and others <= {0}:
        return {'reduce_zero_label': True}
    mapped = {value: i for i, value in enumerate(kept) if value != i}
    mapped |= dict.fromkeys(sorted(others), IGNORE)
    return {'label_map': mapped} if mapped else {}


def _palette(
    kept: list[int], table: ClassTable | None, meaning: dict[int, str], stored: Stored
) -> list[list[int]] | None:
    """Colours of the classes: the table's, else those of the palette in the label files."""
    named = {e.name: e.colour for e in table.entries if e.colour} if table is not None else {}
    if all(meaning[value] in named for value in kept):
        return [list(named[meaning[value]]) for value in kept]
    if stored.palette and all(value in stored.palette for value in kept):
        return [list(stored.palette[value]) for value in kept]
    return None


def _about_zero(name: str, stored: Stored) -> str:
    share = _percent(stored.values[0], stored)
    return (
        f'0 ({share} of the pixels) is trained as a class, {name!r}. If it means "not labelled" '
        'and should not count: --zero ignore (--zero class says that it is one).'
    )


def _percent(pixels: int, stored: Stored) -> str:
    total = sum(stored.values.values()) + sum(stored.colours.values())
    return f'{100 * pixels / total:.1f} %'


def _few(values: Sequence[int]) -> str:
    return ', '.join(map(str, values[:6])) + (', ...' if len(values) > 6 else '')


def rows(classes: Classes, stored: Stored) -> list[str]:
    """The table of what stands for which class, for a terminal."""
    counts: dict = {**stored.values, **stored.colours}
    width = max(len(name) for name in [*classes.names, 'class'])
    lines = [f'  {"index":>5}  {"class":{width}}  {"stored":>9}  {"colour":>7}  {"pixels":>7}']
    entries = list(zip(map(str, range(len(classes.names))), classes.names, classes.stored))
    entries += [('-', '(does not count)', value) for value in classes.ignored]
    for number, (index, name, value) in enumerate(entries):
        colour: Sequence[int] | None = (
            stored.palette.get(value) if isinstance(value, int) else value
        )
        if colour is None and classes.palette and number < len(classes.palette):
            colour = classes.palette[number]
        shown = '' if isinstance(value, tuple) else str(value)
        share = _percent(counts.get(value, 0), stored)
        swatch = hex_of(colour) if colour else ''
        lines.append(f'  {index:>5}  {name:{width}}  {shown:>9}  {swatch:>7}  {share:>7}')
    return lines


def is_nothing(name: str) -> bool:
    """Whether a name may mean pixels that nobody labelled."""
    return ''.join(c for c in name.lower() if c.isalpha()) in _NOTHING


def is_black(colour: Colour) -> bool:
    return tuple(colour) == _BLACK


def words_of(text: str | None) -> list[str]:
    """``--ignore``: words between commas; a colour is one word as '#fa3253'."""
    found = [word.strip() for word in (text or '').split(',')]
    for word in found:
        if word.startswith('#') and colour_of(word) is None:
            raise UserError(f"--ignore {word}: a colour has six digits, as in '#fa3253'.")
    return [word for word in found if word]
