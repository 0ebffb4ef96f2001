"""Colours of classes from a file of the user's."""

from collections.abc import Sequence
from pathlib import Path

from segkit.errors import UserError
from segkit.visualization.class_tables import Entry, colour_of, read_lines, read_table


def read_palette(file: str | Path, classes: Sequence[str]) -> list[list[int]]:
    """One colour [r, g, b] for each of ``classes``.

    Args:
        file: names with colours in any of the forms that ``segkit new_dataset`` reads (``road 128
            64 128``, ``road #804080``, CSV with a heading, ``{"road": [128, 64, 128]}`` in JSON),
            in any order; or colours alone, one a line, in the order of the classes.

    Raises:
        FileNotFoundError: there is no such file. UserError: a class has no colour in it, by name.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f'{file}: there is no such file of colours.')
    bare = [colour_of(line) for line in read_lines(Path(file))]
    if bare and all(bare):
        if len(bare) != len(classes):
            raise UserError(
                f'{file}: {len(bare)} colours for {len(classes)} classes. Give one a line for each.'
            )
        return [list(colour) for colour in bare if colour]
    entries = {_plain(entry.name): entry for entry in _entries(Path(file))}
    missing = [n for n in classes if _plain(n) not in entries or not entries[_plain(n)].colour]
    if missing:
        raise UserError(
            f'{file}: has no colour for {", ".join(missing)}. Write a line for each class, such as '
            f"'{missing[0]} 128 64 128'."
        )
    return [list(entries[_plain(name)].colour or ()) for name in classes]


def _entries(file: Path) -> tuple[Entry, ...]:
    try:
        return read_table(file).entries
    except UserError:
        raise
    except ValueError as error:  # such as bytes that are no text
        raise UserError(f'{file}: no colours of classes are read from it ({error}).') from None


def _plain(name: str) -> str:
    return name.strip().lower()
