"""What a tool may write over: a file that it wrote itself and nobody changed since, nothing else.

What was written into a folder is listed, a line a file (the hash of its content, who wrote it, its
name), in the user's own state folder, ``~/.local/state/segkit/written``: a folder of results holds
results alone. A file that is there already is written over only if a line says so; the pictures and
labels of the data set, the inputs of the tool (also those it wrote itself, under whatever other
name, link or letter case) and everything else is left as it is. Without the list, on another
machine or under another home, nothing is the tool's own.

    check_outputs('--out', 'test --out', paths, inputs)     before the work starts
    with output_file(path, 'test --out') as file: ...       writes, whole or not at all, and notes
    with own_outputs('--out', 'export', [path], inputs):    both, for files that others write
"""

import contextlib
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from segkit.errors import UserError
from segkit.whole_file import sha256_of, whole_file

_STAMP = re.compile(r'\d{8}_\d{6}(_\d+)?')

AnyPath = str | os.PathLike


class OutputError(UserError):
    """Something of the user's would be written over; the message names it and where else to go."""


def check_outputs(
    place: str, writer: str, paths: Iterable[AnyPath], inputs: Iterable[AnyPath] = ()
) -> None:
    """Refuse, before anything is written, what must not be written over.

    Args:
        place: the option or key that names the place, for the message ('--out').
        writer: who writes; its own files of earlier times may be replaced.
        paths: the files that will be written. inputs: files and folders that are read.

    Raises:
        OutputError: naming the first such file; also if two of ``paths`` are one file.
    """
    counts = Counter(str(os.fspath(path)) for path in paths)
    for path in (path for path, count in counts.items() if count > 1):
        raise OutputError(
            f'{place}: two pictures of one name would both be written as {path}. Rename one of them'
        )
    existing = sorted(path for path in counts if os.path.lexists(path))
    if not existing:
        return
    refuse_inputs(place, existing, inputs)
    for path in existing:
        _refuse_foreign(place, Path(path), writer)


def refuse_inputs(place: str, paths: Iterable[AnyPath], inputs: Iterable[AnyPath]) -> None:
    """Refuse to write over what is read; whatever else is there is the caller's affair."""
    given = {key: name for name in inputs if (key := _identity(name))}
    for path in paths:
        if (identity := _identity(path)) in given:
            raise OutputError(
                f'{place}: {path} is read ({given[identity]}) and would be written over. Choose '
                'another place'
            )


def refuse_inside(place: str, folder: AnyPath, data: Iterable[AnyPath]) -> None:
    """Refuse to write into ``data``, folders whose every file is taken for a picture or a label."""
    whole = Path(folder).resolve()
    parents = {_identity(parent) for parent in (whole, *whole.parents)}
    for source in data:
        if (identity := _identity(source)) and identity in parents:
            raise OutputError(
                f'{place}: {folder} lies in {source}, where the data set looks for its files. '
                'Choose another place'
            )


def picture_png(img_path: str, root: str | None = None) -> str:
    """The PNG made of a picture: its path below ``root``, so that sub-folders are kept apart."""
    path = Path(os.path.normpath(img_path))
    if root is not None and Path(os.path.abspath(path)).is_relative_to(root):
        path = Path(os.path.abspath(path)).relative_to(root)
    else:
        path = Path(path.name)
    return str(path.with_name(f'{path.stem}.png'))


def is_own(path: AnyPath, writer: str) -> bool:
    """Whether ``path`` is a file as ``writer`` wrote it."""
    path = Path(path)
    if path.is_symlink() or not path.is_file():
        return False
    return _line(path, writer, path) in _lines(path.parent)


def is_run(folder: AnyPath) -> bool:
    """Whether a run has worked in ``folder``: its files there are a run's own."""
    folder = Path(folder)
    if (folder / 'last_checkpoint').is_file():
        return True
    return folder.is_dir() and any(map(_STAMP.fullmatch, os.listdir(folder)))


@contextlib.contextmanager
def output_file(path: AnyPath, writer: str, place: str = '') -> Iterator[BinaryIO]:
    """A file to write to, that appears whole at the end of the block and is noted.

    Raises:
        OutputError: there is one already that ``writer`` did not write.
    """
    path = Path(path)
    there = os.path.lexists(path)
    if there:
        _refuse_foreign(place or writer, path, writer)
    with whole_file(path) as file:
        yield file
        file.flush()
        _append(path, writer, Path(file.name), there)


@contextlib.contextmanager
def own_outputs(
    place: str, writer: str, paths: Iterable[AnyPath | None], inputs: Iterable[AnyPath | None] = ()
) -> Iterator[None]:
    """``check_outputs`` before the block, ``note`` after it; None stands for what was not asked
    for."""
    wanted = [path for path in paths if path]
    check_outputs(place, writer, wanted, [path for path in inputs if path])
    try:
        yield
    finally:
        for path in wanted:
            if os.path.isfile(path):
                note(path, writer)


def note(path: AnyPath, writer: str) -> None:
    """Note a file that is there now as written by ``writer``."""
    _append(Path(path), writer, Path(path))


def _refuse_foreign(place: str, path: Path, writer: str) -> None:
    if not is_own(path, writer):
        raise OutputError(
            f'{place}: {path} is there already, and is no file that this wrote, or was changed '
            'since. It is left as it is: choose another place, or move it away'
        )


def _identity(path: AnyPath) -> tuple[int, int] | None:
    """What is one file under all its names; None for what is not there."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _line(path: Path, writer: str, content: Path) -> bytes:
    """``content``: the file, which may still have another name."""
    return f'{sha256_of(content)[:32]} {json.dumps([writer, path.name])}\n'.encode()


def _list_of(folder: Path) -> Path:
    """The list of a folder, under whatever path it is reached."""
    home = os.environ.get('XDG_STATE_HOME') or os.path.expanduser('~/.local/state')
    name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:32]
    return Path(home) / 'segkit' / 'written' / name


_read: dict[Path, tuple[int, set[bytes]]] = {}  # list -> bytes read so far, its lines


def _lines(folder: Path) -> set[bytes]:
    """The lines of the list of ``folder``; only what is new since the last time is read."""
    path = _list_of(folder)
    done, lines = _read.get(path, (0, set()))
    try:
        with open(path, 'rb') as file:
            if os.fstat(file.fileno()).st_size < done:
                done, lines = 0, set()
            file.seek(done)
            new = file.read()
    except OSError:
        return set()
    lines.update(new.splitlines(keepends=True))
    _read[path] = done + len(new), lines
    return lines


def _append(path: Path, writer: str, content: Path, listed: bool = True) -> None:
    """In one write, as several processes may write into one folder. A home that cannot be written
    to only means that the file will not be known again.

    ``listed``: whether the line may be there; the lines of a million new files are not looked at.
    """
    line = _line(path, writer, content)
    if listed and line in _lines(path.parent):
        return
    with contextlib.suppress(OSError):
        target = _list_of(path.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, 'ab', buffering=0) as file:
            file.write(line)
