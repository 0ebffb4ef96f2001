"""What a long prediction has done so far, so that a restart skips it.

    OUT_DIR/.predict/settings.json           what everything there was predicted with
    OUT_DIR/.predict/1-00002-of-00004.jsonl  start 1, rank 2 of 4: a line for each finished picture

A line is written when all files of its picture are there, with their sizes and checksums: at a
restart a picture counts as done if they still are so. Lines are in the order of the pictures, so
that no list of them is ever in memory. With ``predictions.json`` the folder goes.
"""

import heapq
import json
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from segkit.errors import UserError
from segkit.json_file import JsonError, parse_json, read_json
from segkit.outputs import output_file
from segkit.whole_file import remove_leftovers, write_text

FOLDER = '.predict'
_PATIENCE = 1800.0  # seconds in which another rank must have finished a picture
Record = dict[str, object]


class Entry(NamedTuple):
    """A finished picture. files: path in the folder -> (size, CRC-32)."""

    position: int
    name: str
    path: str | None
    files: dict[str, list[int]]
    record: Record


class Journal:
    """Of one start of one rank; ``number`` counts the starts."""

    def __init__(self, out_dir: Path, number: int, rank: int, ranks: int) -> None:
        self.out_dir, self.folder = out_dir, out_dir / FOLDER
        self.number, self.rank, self.ranks = number, rank, ranks
        self.file = self._file(rank)
        self._stream: BinaryIO | None = None

    def _file(self, rank: int) -> Path:
        return self.folder / f'{self.number}-{rank:05d}-of-{self.ranks:05d}.jsonl'

    def add(self, entry: Entry) -> None:
        """A picture whose files are all there."""
        if self._stream is None:
            self._stream = open(self.file, 'wb', buffering=0)  # noqa: SIM115  (closed by `done`)
        self._stream.write(json.dumps(entry).encode() + b'\n')

    def done(self) -> None:
        """This rank has come to its end."""
        if self._stream is not None:
            self._stream.close()
        self.file.touch()
        write_text(self.file.with_suffix('.done'), '')

    def wait(self) -> None:
        """For all ranks to come to their ends, as long as they go on."""
        for rank in range(self.ranks):
            file = self._file(rank)
            size, since = -1, time.monotonic()
            while not file.with_suffix('.done').exists():
                now = file.stat().st_size if file.exists() else 0
                if now != size:
                    size, since = now, time.monotonic()
                if time.monotonic() - since > _PATIENCE:
                    raise UserError(
                        f'{self.out_dir}: rank {rank} has finished no picture for '
                        f'{_PATIENCE:.0f} s. Look at its log, and start again with --resume.'
                    )
                time.sleep(0.2)

    def entries(self) -> Iterator[Entry]:
        """The finished pictures of this start, of all ranks, in order."""
        parts = (_lines(self._file(rank)) for rank in range(self.ranks))
        return heapq.merge(*parts, key=_position)


def start(out_dir: Path, settings: Mapping[str, object], resume: bool) -> int:
    """The number of this start, after what was there has been looked at; on one rank alone.

    Raises:
        UserError: what is there was predicted with other settings, and is to be gone on with.
    """
    folder = out_dir / FOLDER
    file = folder / 'settings.json'
    if resume and file.is_file():
        try:
            before = read_json(file)
        except JsonError:
            before = {}
        before = before if isinstance(before, dict) else {}
        changed = [key for key, value in settings.items() if before.get(key) != value]
        if changed:
            raise UserError(
                f'--resume: {out_dir} was begun with another {" and ".join(changed)}. Go on as it '
                'was begun, or predict into another folder.'
            )
        remove_leftovers(out_dir, below=True)
        numbers = [int(p.name.partition('-')[0]) for p in folder.glob('[0-9]*-*-of-*.jsonl')]
        return max(numbers, default=0) + 1
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_text(file, json.dumps(dict(settings), indent=1))
    return 1


def earlier(out_dir: Path, number: int) -> Iterator[Entry]:
    """What the starts before ``number`` finished, in the order of the pictures."""
    files = sorted((out_dir / FOLDER).glob('[0-9]*-*-of-*.jsonl'))
    before = [file for file in files if int(file.name.partition('-')[0]) < number]
    return heapq.merge(*map(_lines, before), key=_position)


def _position(entry: Entry) -> int:
    return entry.position


def _lines(file: Path) -> Iterator[Entry]:
    """The whole lines of a journal; the last one may have been cut by a kill."""
    with suppress(FileNotFoundError), open(file, 'rb') as stream:
        for line in stream:
            with suppress(ValueError, TypeError):
                entry = Entry(*cast(list, parse_json(line.decode(), file)))
                kinds = zip(entry, (int, str, str | None, dict, dict))
                if line.endswith(b'\n') and all(isinstance(part, kind) for part, kind in kinds):
                    yield entry


def stamps(out_dir: Path, files: Sequence[str]) -> dict[str, list[int]]:
    """Sizes and checksums of files."""
    data = ((name, (out_dir / name).read_bytes()) for name in files)
    return {name: [len(content), zlib.crc32(content)] for name, content in data}


class Done:
    """Whether an earlier start finished a picture; asked in the order of the pictures."""

    def __init__(self, out_dir: Path, entries: Iterator[Entry]) -> None:
        self.out_dir, self._entries = out_dir, entries
        self._next = next(entries, None)

    def find(self, position: int, name: str, path: str | None) -> Entry | None:
        """The entry of a picture, whose files are as they were written."""
        while self._next is not None and self._next.position < position:
            self._next = next(self._entries, None)
        while self._next is not None and self._next.position == position:
            entry, self._next = self._next, next(self._entries, None)
            if (entry.name, entry.path) == (name, path) and self._whole(entry):
                return entry
        return None

    def _whole(self, entry: Entry) -> bool:
        try:
            # Files alone: a stranger's journal may name what never ends.
            files = list(entry.files)
            there = files and all((self.out_dir / name).is_file() for name in files)
            return bool(there) and stamps(self.out_dir, files) == entry.files
        except (OSError, ValueError, TypeError, LookupError):
            return False


def write_records(file: Path, entries: Iterator[Entry], writer: str) -> int:
    """The records as a JSON list, one at a time; how many there are."""
    count = 0
    with output_file(file, writer) as target:
        target.write(b'[')
        for entry in entries:
            text = json.dumps(entry.record, indent=1).replace('\n', '\n ')
            target.write(f'{"," if count else ""}\n {text}'.encode())
            count += 1
        target.write(b'\n]' if count else b']')
    return count


def finish(out_dir: Path) -> None:
    """All is done: results alone stay."""
    shutil.rmtree(out_dir / FOLDER, ignore_errors=True)
