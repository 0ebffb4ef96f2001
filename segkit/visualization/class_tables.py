"""Names of classes with the values or colours that stand for them, from the files exporters write.

labelmap.txt        CVAT: name:r,g,b:parts:actions
_classes.csv        Roboflow: Pixel Value, Class; other tables by their heading (name,r,g,b)
class_names.txt     a name a line, in the order of the values; or "7 name", "name 128 0 64"
*.json              COCO's categories, {"0": "name"}, ["name", ...], [{"name", "color"}]
"""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segkit.errors import UserError
from segkit.json_file import JsonError, read_json

Colour = tuple[int, int, int]
FILES = (
    'labelmap.txt', 'label_map.txt', '_classes.csv', 'class_dict.csv', 'classes.csv', 'labels.csv',
    'class_names.txt', 'classes.txt', 'labels.txt', 'label_colors.txt', 'names.txt', 'obj.names',
    'classes.json', 'class_names.json', 'labels.json', 'label_map.json', 'labelmap.json',
    'categories.json', 'meta.json', '_annotations.coco.json', 'instances_default.json',
)  # fmt: skip
_NAME = ('name', 'class', 'label', 'class_name', 'label_name', 'category', 'title')
_VALUE = ('pixel_value', 'value', 'id', 'index', 'class_id', 'label_id', 'class_index', 'trainid')
_COLOUR = ('color', 'colour', 'rgb', 'color_rgb', 'hex')
_CHANNELS = (('r', 'red'), ('g', 'green'), ('b', 'blue'))
_LARGEST = 64 * 2**20


@dataclass(frozen=True)
class Entry:
    """One class: what stands for it in the labels, as far as the file says."""

    name: str
    value: int | None = None
    colour: Colour | None = None


@dataclass(frozen=True)
class ClassTable:
    """All classes of one file, in its order; ``source`` names it."""

    source: str
    entries: tuple[Entry, ...]

    @property
    def names(self) -> list[str]:
        return [entry.name for entry in self.entries]


def hex_of(colour: Sequence[int]) -> str:
    return '#{:02x}{:02x}{:02x}'.format(*colour)


def colour_of(text: object) -> Colour | None:
    """(R, G, B) of '#fa3253', '250,50,83', '(250, 50, 83)' or a list; None for anything else."""
    if isinstance(text, Sequence) and not isinstance(text, str):
        numbers = [str(part) for part in text]
    elif re.fullmatch(r'#[0-9a-fA-F]{6}', str(text).strip()):
        digits = str(text).strip()[1:]
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
    else:
        numbers = re.split(r'[\s,;]+', str(text).strip(' ()[]'))
    if len(numbers) != 3 or not all(n.isdigit() and int(n) < 256 for n in numbers):
        return None
    return int(numbers[0]), int(numbers[1]), int(numbers[2])


def read_lines(path: Path) -> list[str]:
    """Lines without blank ones, of UTF-8 or UTF-16 with or without a mark, else of Latin-1."""
    data = path.read_bytes()
    codes = ['utf-16'] if data[:2] in (b'\xff\xfe', b'\xfe\xff') else ['utf-8-sig', 'latin-1']
    for code in codes:
        try:
            text = data.decode(code)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise UserError(f'{path}: this is no text. Save it as UTF-8.')
    return [line.strip() for line in text.splitlines() if line.strip()]


def find_table(root: Path, folders: Iterable[Path]) -> tuple[ClassTable | None, list[str]]:
    """The first file of names in the root or in one of the folders, and sentences about others.

    Raises:
        ValueError: two splits name other classes.
    """
    notes: list[str] = []
    found: list[ClassTable] = []
    for folder in dict.fromkeys([root, *folders]):
        here = {p.name.lower(): p for p in sorted(folder.iterdir()) if p.is_file()}
        for name in FILES:
            if name not in here:
                continue
            try:
                found.append(read_table(here[name], str(here[name].relative_to(root))))
            except ValueError as error:
                notes.append(f'{error} It is not used.')
    if not found:
        return None, notes
    best = found[0]
    for other in found[1:]:
        if Path(other.source).name == Path(best.source).name and other.entries != best.entries:
            raise UserError(
                f'{other.source} and {best.source} name other classes: {other.names} and '
                f'{best.names}. Name those of all splits with --classes FILE.'
            )
        if other.entries != best.entries:
            notes.append(f'{other.source} is not used, since {best.source} names the classes.')
    return best, notes


def read_table(path: Path, source: str | None = None) -> ClassTable:
    """The classes of one file.

    Raises:
        ValueError: nothing in it reads as names of classes, or a name or value stands there twice.
    """
    source = source or str(path)
    reader = {'.json': _read_json, '.csv': _read_csv}.get(path.suffix.lower(), _read_text)
    try:
        entries = reader(path)
    except (KeyError, TypeError, csv.Error, JsonError):
        entries = []
    if not entries:
        raise UserError(f'{source}: no names of classes are read from it.')
    for what in ('name', 'value', 'colour'):
        values = [told for entry in entries if (told := getattr(entry, what)) is not None]
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise UserError(f'{source}: the {what} {twice} stands there for two classes.')
    return ClassTable(source, tuple(entries))


def parse_given(text: str) -> ClassTable:
    """``--classes``: 'a,b,c', 'a=#fa3253,b=#33ddff' or 'a=7,b=9'."""
    entries = []
    for part in (part.strip() for part in text.split(',')):
        name, sign, meaning = part.rpartition('=')
        colour = colour_of(meaning) if sign else None
        if sign and colour:
            entries.append(Entry(name.strip(), colour=colour))
        elif sign and meaning.strip().isdigit():
            entries.append(Entry(name.strip(), int(meaning)))
        elif part:
            entries.append(Entry(part))
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names) or not names:
        raise UserError(f'--classes {text}: give each class one name.')
    return ClassTable('--classes', tuple(entries))


# -- text ------------------------------------------------------------------------------------------

_RGB = r'(?P<colour>\d+[\s,]+\d+[\s,]+\d+)'
_FORMS = (
    r'(?P<name>[^:]+):(?P<colour>\d+,\s*\d+,\s*\d+)(:.*)?',
    rf'{_RGB}[\s,]+(?P<name>.+)',
    rf'(?P<name>.*[^\s,\d].*?)[\s,]+{_RGB}',
    r'(?P<name>.+?)[\s,=:]+(?P<colour>#[0-9a-fA-F]{6})',
    r'(?P<value>\d+)\s*[:,=\t ]\s*(?P<name>.+)',
    r'(?P<name>.+?)\s*[:=,\t]\s*(?P<value>\d+)',
    r'(?P<name>.+)',
)


def _read_text(path: Path) -> list[Entry]:
    """All lines in the first form that fits every one of them."""
    if path.stat().st_size > _LARGEST:
        return []
    lines = [line for line in read_lines(path) if not re.match(r'#(?![0-9a-fA-F]{6})|//', line)]
    for form in _FORMS:
        entries = [_of_line(form, line) for line in lines]
        found = [entry for entry in entries if entry is not None]
        if found and len(found) == len(lines):
            return found
    return []


def _of_line(form: str, line: str) -> Entry | None:
    matched = re.fullmatch(form, line)
    if not matched:
        return None
    parts = matched.groupdict()
    colour = colour_of(parts['colour']) if 'colour' in parts else None
    if 'colour' in parts and colour is None:
        return None
    return Entry(parts['name'].strip(), int(parts['value']) if 'value' in parts else None, colour)


# -- tables ----------------------------------------------------------------------------------------


def _read_csv(path: Path) -> list[Entry]:
    lines = read_lines(path)
    dialect = ';' if lines and lines[0].count(';') > lines[0].count(',') else ','
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=dialect)]
    heading = [re.sub(r'[^a-z]+', '_', cell.lower()).strip('_') for cell in rows[0]]
    name = _column(heading, _NAME)
    if name is None:
        return _read_text(path)
    value, colour = _column(heading, _VALUE), _column(heading, _COLOUR)
    channels = [_column(heading, words) for words in _CHANNELS]
    entries = []
    for row in rows[1:]:
        found = colour_of(row[colour]) if colour is not None else None
        if all(channel is not None for channel in channels):
            found = colour_of([row[channel] for channel in channels if channel is not None])
        entries.append(Entry(row[name], int(row[value]) if value is not None else None, found))
    return entries


def _column(heading: Sequence[str], words: Sequence[str]) -> int | None:
    return next((heading.index(word) for word in words if word in heading), None)


def _read_json(path: Path) -> list[Entry]:
    if path.stat().st_size > 4 * _LARGEST:
        return []
    content = read_json(path)
    for key in ('categories', 'classes', 'labels', 'names'):
        if isinstance(content, dict) and isinstance(content.get(key), list | dict):
            content = content[key]
            break
    if isinstance(content, dict):
        pairs = list(content.items())
        if all(str(key).isdigit() for key, _ in pairs):
            return [Entry(str(name), int(key)) for key, name in pairs if isinstance(name, str)]
        if all(isinstance(value, int) for _, value in pairs):
            return [Entry(str(name), value) for name, value in pairs]
        return [Entry(str(n), colour=colour_of(v)) for n, v in pairs if colour_of(v)]
    if all(isinstance(item, str) for item in content):
        return [Entry(name) for name in content]
    return [_of_object(item) for item in content]


def _of_object(item: dict) -> Entry:
    """One object of a list, whose keys have the names that headings have."""
    name = next(item[key] for key in _NAME if key in item)
    value = next((item[key] for key in _VALUE if isinstance(item.get(key), int)), None)
    colour = next((colour_of(item[key]) for key in _COLOUR if key in item), None)
    return Entry(str(name), value, colour)
