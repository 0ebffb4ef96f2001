"""The published rows, and choosing among them."""

import csv
import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from segkit.engine.config_files import named
from segkit.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Line = TypeVar('Line', bound='DataclassInstance')
PUBLISHED = Path(__file__).with_name('published.csv')
ABSENT = '-'
# A catalogue of someone else's must not name options or places of this machine.
_PLAIN_NAMES = {
    'config': re.compile(r'[^-].*'),
    'checkpoint': re.compile(r'\w[\w.-]*|-'),
    'url': re.compile(r'https?://[^\s/-][^\s]*|-'),
}


@dataclass(frozen=True)
class Row:
    """One published model; every value is the text of the page, so that no digit is lost.

    crop is HEIGHTxWIDTH, schedule in iterations, mem_gb and fps as measured then on one V100 when
    training and testing, miou and miou_ms_flip in percent, licence that of the weights.
    """

    dataset: str
    method: str
    backbone: str
    crop: str
    schedule: str
    mem_gb: str
    fps: str
    miou: str
    miou_ms_flip: str
    config: str
    checkpoint: str
    url: str
    log: str
    licence: str = ABSENT

    def figure(self, ms_flip: bool = False) -> float | None:
        """The published mIoU in percent, or None where the page has a dash."""
        text = self.miou_ms_flip if ms_flip else self.miou
        return None if text == ABSENT else float(text)


def read_rows(path: str | Path = PUBLISHED) -> list[Row]:
    """The rows of a catalogue file, in its order.

    Raises:
        ValueError: it is no such table, or names something else than a config and a file on a
            server; the message names the file and the column.
    """
    rows = read_texts(path, Row)
    for row in rows:
        for key, pattern in _PLAIN_NAMES.items():
            if not pattern.fullmatch(getattr(row, key)):
                raise UserError(
                    f'{path}: {key}: {getattr(row, key)[:80]!r} is refused. A catalogue names '
                    'configs, files without a folder, and http addresses'
                )
    return rows


def read_texts(path: str | Path, line: type[Line]) -> list[Line]:
    """The lines of a CSV file whose columns are (at least) the fields of a dataclass of texts.

    A field with a default may be missing.

    Raises:
        ValueError: a column is missing, or it is no table; the message names the file.
    """
    try:
        with open(path, newline='', encoding='utf-8') as file:
            reader, names = csv.DictReader(file), [field.name for field in fields(line)]
            needed = [field.name for field in fields(line) if field.default is MISSING]
            missing = [name for name in needed if name not in (reader.fieldnames or [])]
            if missing:
                raise UserError(f'{path}: the columns {", ".join(missing)} are missing.')
            return [line(**{name: row.get(name) or ABSENT for name in names}) for row in reader]
    except UnicodeDecodeError:
        raise UserError(f'{path}: is no table of text in UTF-8.') from None
    except csv.Error as error:
        raise UserError(f'{path}: cannot be read as a table: {error}.') from None


def _plain(text: str) -> str:
    """'R-101-D8', 'r101', 'Pascal VOC 2012 + Aug' -> letters and digits alone."""
    return ''.join(c for c in text.lower() if c.isalnum())


def select(
    rows: Iterable[Row],
    dataset: str | None = None,
    method: str | None = None,
    backbone: str | None = None,
) -> list[Row]:
    """The rows whose dataset, method and backbone contain what is asked for, whatever the case."""
    wanted = {'dataset': dataset, 'method': method, 'backbone': backbone}
    return [
        row
        for row in rows
        if all(_plain(text) in _plain(getattr(row, key)) for key, text in wanted.items() if text)
    ]


def find(rows: Sequence[Row], name: str) -> Row:
    """The row of a config, given by its name (or that of 1.x), its file or its checkpoint's.

    Raises:
        KeyError: no row has that name; the message gives the nearest.
    """
    stem = Path(name).name.removesuffix('.py')
    for row in rows:
        if stem in (Path(row.config).stem, row.config, row.checkpoint):
            return row
    config = named(stem, dict.fromkeys(row.config for row in rows))
    if config is not None:
        return next(row for row in rows if row.config == config)
    near = difflib.get_close_matches(stem, [row.config for row in rows], n=1, cutoff=0.3)
    hint = f'the nearest is {near[0]}' if near else 'the catalogue is empty'
    raise UserError(f'No row of the model zoo is named {name!r}; {hint}.')
