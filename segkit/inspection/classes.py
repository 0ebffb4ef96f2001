"""What stored label values and colours mean: which are classes, under which names, which count not.

A file of names decides where there is one. What is left open, 0 and black among it, is said or
asked; values and colours never get the names of a list by the order in which they happen to sort,
unless the list was given for just that and the table that is printed shows it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from segkit.errors import UserError, few
from segkit.evaluation.tables import format_table
from segkit.visualization.class_tables import ClassTable, Colour, colour_of, hex_of

from .labels import Stored

IGNORE = 255
BLACK = (0, 0, 0)
_NOTHING = (
    'unlabeled', 'unlabelled', 'notlabelled', 'notlabeled', 'void', 'ignore', 'ignored', 'none',
    'background', 'unknown', 'undefined', 'other', 'others', 'bg', 'dontcare',
)  # fmt: skip

_LEFT_OUT = ['(does not count)', '-']

Key = int | Colour  # what stands for a class in the label files


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
    stored: list[Key]
    ignored: list[Key]
    reason: str
    settings: dict = field(default_factory=dict)
    palette: list[list[int]] | None = None
    notes: list[str] = field(default_factory=list)


def name_classes(stored: Stored, table: ClassTable | None, wish: Wish) -> Classes:
    """The classes of labels.

    Raises:
        UserError: there is no class, a value or colour has no name in the table, or what 0 means
            has to be said.
    """
    return (_by_colours if stored.colours else _by_values)(stored, table, wish)


def _by_values(stored: Stored, table: ClassTable | None, wish: Wish) -> Classes:
    if stored.two_codings and not wish.ignore:
        raise UserError(
            'some labels hold 0 and 1, others 0 and 255, none both 1 and 255: masks of two codings '
            'are mixed. Write all in one: python -c "import sys, numpy as np; from PIL import '
            'Image; [Image.fromarray((np.array(Image.open(p)) > 0).astype(np.uint8)).save(p) for p '
            'in sys.argv[1:]]" MASKS... . Or, where 255 does not count: --ignore 255; where it is '
            'a class of its own: --ignore none.'
        )
    ignored = {int(word) for word in wish.ignore if word.isdigit()}
    present = set(stored.values) - ignored
    notes: list[str] = []
    if _is_special(present, table, wish):
        present.discard(IGNORE)
        ignored.add(IGNORE)
        share = _percent(stored.values[IGNORE], stored)
        notes.append(f'255 ({share} of the pixels) does not count; --ignore none makes it a class.')
    if not present:
        raise UserError('every label pixel is ignored: there is no class to learn.')
    if table is None:
        meaning, reason = _numbered(sorted(present))
    else:
        meaning, reason = _named(sorted(present), table, stored, wish)
    words = [word for word in wish.ignore if not word.isdigit()]
    ignored |= _ignored({name: value for value, name in meaning.items()}, words, _no_name)
    if wish.zero and 0 not in stored.values:
        notes.append(f'--zero {wish.zero}: no label holds 0.')
    elif wish.zero == 'ignore' and 0 in meaning:
        ignored.add(0)
    elif 0 in stored.values and 0 in meaning and 0 not in ignored:
        notes = [*_asked('0', meaning[0], stored.values[0], stored, table, wish), *notes]
    kept = [value for value in sorted(meaning) if value not in ignored]
    settings = _settings(kept, ignored | ({0} if 0 not in meaning else set()), stored)
    notes += _one_value(kept)
    left = ignored & (set(stored.values) | set(meaning))
    palette = _palette(kept, table, meaning, stored)
    return _classes(kept, meaning, left, reason, settings, palette, notes)


def _by_colours(stored: Stored, table: ClassTable | None, wish: Wish) -> Classes:
    present = sorted(stored.colours)
    named = {e.colour: e.name for e in table.entries if e.colour is not None} if table else {}
    by_name = {name: colour for colour, name in named.items()}
    ignored = _ignored(by_name, wish.ignore, _no_colour)
    if wish.zero == 'ignore':
        ignored.add(BLACK)
    unknown = [colour for colour in present if colour not in named and colour not in ignored]
    if table is not None and unknown:
        raise UserError(_unnamed(unknown, table, named))
    notes, reason = [], f'{len(present)} colours, named as {table.source if table else ""} says'
    if not named:
        named = {colour: f'colour_{hex_of(colour)[1:]}' for colour in unknown}
        if all(len(set(colour)) == 1 for colour in unknown):
            named = {colour: f'value_{colour[0]}' for colour in unknown}
        if unknown == [BLACK, (255, 255, 255)]:
            named = dict(zip(unknown, ('background', 'foreground')))
        reason = f'{len(present)} flat colours, such as {", ".join(map(str, present[:4]))}'
        notes.append(
            'No file says what the colours mean: their classes are named after them. Write a line '
            "NAME R G B for each into class_names.txt, or add --classes 'NAME=#rrggbb,...'."
        )
    kept = [colour for colour in named if colour not in ignored]
    if BLACK in kept and (pixels := stored.colours.get(BLACK)):
        notes += _asked('Black', named[BLACK], pixels, stored, table, wish)
    notes += _one_value(kept)
    left = ignored & (set(present) | set(named))
    palette = [list(colour) for colour in kept]
    return _classes(kept, named, left, reason, {'label_format': 'rgb'}, palette, notes)


def _classes(
    kept: Sequence, meaning: Mapping, left: Iterable, reason: str, settings: dict,
    palette: list[list[int]] | None, notes: list[str],
) -> Classes:  # fmt: skip
    if not kept:
        raise UserError('every class is ignored: there is none to learn.')
    names = [meaning[key] for key in kept]
    return Classes(names, list(kept), sorted(left), reason, settings, palette, notes)


def _one_value(kept: Sequence[Key]) -> list[str]:
    """A note where nothing is left to tell apart."""
    if len(kept) != 1:
        return []
    return [
        f'There is one class alone ({kept[0]} in the labels): with nothing beside it to tell it '
        'from, a network learns nothing. Are these the labels, and is what they mark stored in '
        'their values or colours (not in transparency)?'
    ]


def _asked(
    what: str, name: str, pixels: int, stored: Stored, table: ClassTable | None, wish: Wish
) -> list[str]:
    """A note where 0 or black is trained as a class that may mean 'not labelled'."""
    nothing = ''.join(c for c in name.lower() if c.isalpha()) in _NOTHING
    if wish.zero is not None or not (table is None or nothing):
        return []
    return [
        f'{what} ({_percent(pixels, stored)} of the pixels) is trained as a class, {name!r}. If it '
        'means "not labelled" and should not count: --zero ignore (--zero class says that it is '
        'one).'
    ]


def _ignored(by_name: Mapping[str, Key], words: Sequence[str], other: Callable) -> set:
    """The values or colours that ``--ignore`` names; ``other`` reads what is no name."""
    known = (word for word in words if word != 'none')
    return {by_name[w] if w in by_name else other(w, by_name) for w in known}


def _no_name(word: str, by_name: Mapping[str, Key]) -> Key:
    raise UserError(f'--ignore {word}: no class has this name; there are {", ".join(by_name)}.')


def _no_colour(word: str, by_name: Mapping[str, Key]) -> Colour:
    colour = colour_of(word)
    if colour is None:
        known = f'; there are {", ".join(by_name)}' if by_name else ''
        raise UserError(
            f"--ignore {word}: the labels are colours: give one as '#fa3253', or a name{known}."
        )
    return colour


# -- values ----------------------------------------------------------------------------------------


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
        reason = f'greys {few(values, 6)}'
        reason += f': each of the {count} becomes a class'
        if count == 2:
            return {0: 'background', IGNORE: 'foreground'}, reason.replace('greys', 'masks of')
        return {value: f'value_{value}' for value in values}, reason
    if values == [0, 1]:
        return {0: 'background', 1: 'foreground'}, 'values 0 to 1'
    if values == list(range(1, count + 1)):
        return {v: f'class_{v}' for v in values}, f'values 1 to {count}: they count from 1'
    if last + 1 <= 2 * count:
        missing = [value for value in range(last) if value not in values]
        reason = f'values up to {last}, of which {few(missing, 6)} never occur'
        reason = reason if missing else f'values 0 to {last}'
        return {v: f'class_{v}' for v in range(last + 1)}, reason
    return {v: f'value_{v}' for v in values}, (
        f'{count} values from {values[0]} to {last}: numbered in their order'
    )


def _named(
    values: list[int], table: ClassTable, stored: Stored, wish: Wish
) -> tuple[dict[int, str], str]:
    """Value -> name, by the values, the palette's colours or the order of a table."""
    names, count, source = table.names, len(table.names), table.source
    by_value = {e.value: e.name for e in table.entries if e.value is not None}
    if by_value:
        return _by_table(values, by_value, table, wish), f'values as {source} names them'
    by_colour = {e.colour: i for i, e in enumerate(table.entries) if e.colour is not None}
    if by_colour and stored.palette and all(stored.palette[v] in by_colour for v in values):
        places = {v: by_colour[stored.palette[v]] for v in values}
        if any(v != place for v, place in places.items()):
            reason = f'the colours of the palette as {source} names them'
            return {v: names[place] for v, place in places.items()}, reason
    if values[-1] < count:
        return dict(enumerate(names)), f'values in the order of {source}'
    if values[-1] == count:
        from_one = {i + 1: name for i, name in enumerate(names)}
        named = from_one if values[0] > 0 else _with_zero(from_one, table, wish)
        return named, f'values from 1 in the order of {source}'
    if len(values) == count:
        return dict(zip(values, names)), f'{count} values take the names of {source} in turn'
    raise UserError(
        f'{source} names {count} classes, but the labels hold {len(values)}: {few(values, 6)}. '
        'Write VALUE=NAME pairs, as in --classes road=7,tree=9, or let some not count: --ignore '
        'VALUES.'
    )


def _by_table(
    values: list[int], by_value: dict[int, str], table: ClassTable, wish: Wish
) -> dict[int, str]:
    unknown = [value for value in values if value not in by_value]
    if unknown == [0]:
        return _with_zero(by_value, table, wish)
    if unknown:
        raise UserError(
            f'the labels hold {few(unknown, 6)}, which {table.source} does not name. Add them to '
            f'it, or let them not count: --ignore {",".join(map(str, unknown[:20]))}'
        )
    return by_value


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
    for colours in ({v: named.get(meaning[v]) for v in kept}, stored.palette):
        if all(colours.get(value) for value in kept):
            return [list(colours[value] or ()) for value in kept]
    return None


# -- what is said ----------------------------------------------------------------------------------


def _unnamed(unknown: Sequence[Colour], table: ClassTable, named: Mapping[Colour, str]) -> str:
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


def _percent(pixels: int, stored: Stored) -> str:
    total = sum(stored.values.values()) + sum(stored.colours.values())
    return f'{100 * pixels / total:.1f} %'


def classes_table(classes: Classes, stored: Stored) -> str:
    """What stands for which class, for a terminal."""
    palette = dict(zip(classes.stored, classes.palette or ()))
    rows: list[list[object]] = []
    colour: Colour | None
    for index, key in enumerate([*classes.stored, *classes.ignored]):
        if isinstance(key, tuple):
            colour, pixels, shown = key, stored.colours.get(key, 0), ''
        else:
            colour, pixels, shown = stored.palette.get(key), stored.values.get(key, 0), str(key)
        painted = colour or palette.get(key)
        named = [classes.names[index], index] if index < len(classes.names) else _LEFT_OUT
        swatch = hex_of(painted) if painted else ''
        rows.append([*named, shown, swatch, _percent(pixels, stored)])
    return format_table(['class', 'index', 'stored', 'colour', 'pixels'], rows)


def words_of(text: str | None) -> list[str]:
    """``--ignore``: words between commas; a colour is one word as '#fa3253'."""
    found = [word.strip() for word in (text or '').split(',')]
    for word in found:
        if word.startswith('#') and colour_of(word) is None:
            raise UserError(f"--ignore {word}: a colour has six digits, as in '#fa3253'.")
    return [word for word in found if word]
