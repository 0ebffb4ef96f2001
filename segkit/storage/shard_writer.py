"""Writing shards: what ``shards.py`` reads. The same files give the same bytes, whoever packs them.

Every shard is read back with ``tarfile`` before it counts, and the index appears when all of them
are there: without it a folder is no folder of shards.
"""

import io
import itertools
import json
import os
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from segkit import storage
from segkit.errors import DataError, UserError
from segkit.outputs import check_outputs, is_own, output_file
from segkit.storage.shards import INDEX_DTYPE, VERSION, path_key

WRITER = 'dataset_converters'
SPLITS = 'splits.tar'
_BLOCK, _RECORD = 512, 10240  # bytes, of the tar format


@dataclass(frozen=True)
class Member:
    """A file to pack: ``path`` below the data root, ``source`` where it is, ``name`` in the tar."""

    path: str
    source: str
    name: str


@dataclass(frozen=True)
class Shard:
    """A shard to write, and the members it holds, in order."""

    file: Path
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Packed:
    """Where a member came to lie."""

    path: str
    offset: int
    size: int
    crc: int


def sample_members(root: str, image: str, label: str | None) -> list[Member]:
    """The files of one sample under one key: its image's path below ``root`` without suffix.

    A reader of the webdataset layout takes all up to the first dot of a file's name for the key, so
    that other dots in it are written as %2E.
    """
    below = [_below(root, path) for path in (image, label) if path]
    folder, _, name = os.path.splitext(below[0])[0].rpartition('/')
    key = name.replace('%', '%25').replace('.', '%2E')
    key = f'{folder}/{key}' if folder else key
    sources = [path for path in (image, label) if path]
    return [
        Member(path, source, key + kind + os.path.splitext(path)[1])
        for path, source, kind in zip(below, sources, ('', '.label'))
    ]


def _below(root: str, path: str) -> str:
    start = root.rstrip('/') + '/' if root else ''
    if not path.startswith(start) or (not start and os.path.isabs(path)):
        raise UserError(
            f'{path}: this file does not lie below data_root={root!r}, so that the shards cannot '
            'take the place of that folder. Set data_root to a folder above all of the data.'
        )
    return path[len(start) :]


def shards_of(
    folder: Path, split: str, samples: Iterable[Sequence[Member]], per_shard: int
) -> Iterator[Shard]:
    """``split-00000.tar`` and so on, of ``per_shard`` samples each."""
    held: list[Sequence[Member]] = []
    number = 0
    for sample in samples:
        held.append(sample)
        if len(held) == per_shard:
            yield _shard(folder, split, number, held)
            held, number = [], number + 1
    if held:
        yield _shard(folder, split, number, held)


def _shard(folder: Path, split: str, number: int, held: Iterable[Sequence[Member]]) -> Shard:
    return Shard(folder / f'{split}-{number:05d}.tar', tuple(m for sample in held for m in sample))


def write_shards(
    folder: Path, shards: Sequence[Shard], work: Callable[[Callable, Sequence], Iterable]
) -> int:
    """Write all shards and their index; the number of files in them.

    Args:
        work: ``work(function, shards)`` gives what the function gives for each, in order.

    Raises:
        OutputError: something else lies where they go. DataError: what was read back is not what
            was written.
    """
    names = ['index.npy', 'names.txt', 'index.json']
    files = [shard.file for shard in shards] + [folder / name for name in names]
    sources = (member.source for shard in shards for member in shard.members)
    check_outputs('--out-dir', WRITER, files, [s for s in sources if not storage.is_remote(s)])
    (folder / 'index.json').unlink(missing_ok=True)  # ours; incomplete from here on
    packed = list(work(write_shard, shards))
    return _write_index(folder, shards, packed)


def write_shard(shard: Shard) -> list[Packed]:
    """Write one shard, read it back, and tell where its members are; one that an earlier start has
    written is kept."""
    kept = _kept(shard)
    if kept is not None:
        return kept
    with output_file(shard.file, WRITER, '--out-dir') as file:
        packed = [_add(file, member) for member in shard.members]
        file.write(bytes(2 * _BLOCK))
        file.write(bytes(-file.tell() % _RECORD))
    _read_back(shard, packed)
    return packed


def _kept(shard: Shard) -> list[Packed] | None:
    """Where its members are, if all of the shard is there as it was written, of the files as they
    are; a file that was changed since is packed again."""
    if not is_own(shard.file, WRITER):
        return None
    written, found = shard.file.stat().st_mtime_ns, []
    with tarfile.open(shard.file) as tar:
        for info, member in itertools.zip_longest(tar, shard.members):
            same = info and member and info.name == member.name
            if not same or not _is_unchanged(member.source, info.size, written):
                return None
            crc = zlib.crc32(_content(tar, info))
            found.append(Packed(member.path, info.offset_data, info.size, crc))
    return found


def _is_unchanged(source: str, size: int, written: int) -> bool:
    """Whether a file has this size, and was not written to after that time in nanoseconds.

    Of an object of a store, whose time nobody can trust, only its content could tell.
    """
    if storage.is_remote(source):
        return False
    now = os.stat(storage.on_disk(source))
    # The time of the last change of any kind, which a copy with an older date has as well.
    return now.st_size == size and max(now.st_mtime_ns, now.st_ctime_ns) < written


def _add(file: BinaryIO, member: Member) -> Packed:
    data = storage.read(member.source)
    info = tarfile.TarInfo(member.name)
    info.size, info.mode = len(data), 0o644  # no time and no owner: they would differ
    file.write(info.tobuf(tarfile.PAX_FORMAT, 'utf-8', 'surrogateescape'))
    offset = file.tell()
    file.write(data)
    file.write(bytes(-len(data) % _BLOCK))
    return Packed(member.path, offset, len(data), zlib.crc32(data))


def _read_back(shard: Shard, packed: Sequence[Packed]) -> None:
    with tarfile.open(shard.file) as tar:
        found = [
            (info.name, info.offset_data, info.size, zlib.crc32(_content(tar, info)))
            for info in tar
        ]
    written = [(m.name, p.offset, p.size, p.crc) for m, p in zip(shard.members, packed)]
    if found != written:
        place = next((i for i, (a, b) in enumerate(zip(found, written)) if a != b), len(found))
        problem = f'member {place} is not what was written'
        raise DataError(str(shard.file), problem, 'Check the disk and write the shards again.')


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(info)
    return b'' if file is None else file.read()


def _write_index(folder: Path, shards: Sequence[Shard], packed: Sequence[list[Packed]]) -> int:
    rows = [(path_key(p.path), number, p) for number, part in enumerate(packed) for p in part]
    rows.sort(key=lambda row: row[0])
    for a, b in zip(rows, rows[1:]):
        if a[0] == b[0]:
            raise UserError(f'{a[2].path} and {b[2].path} have the same key; rename one of them.')
    table = np.array([(key, n, p.crc, p.offset, p.size) for key, n, p in rows], INDEX_DTYPE)
    index = io.BytesIO()
    np.save(index, table, allow_pickle=False)
    names = ''.join(f'{p.path}\n' for _, _, p in rows).encode('utf-8', 'surrogateescape')
    meta = dict(
        version=VERSION,
        shards=[[shard.file.name, shard.file.stat().st_size] for shard in shards],
        index_crc=zlib.crc32(index.getvalue()),
        names_crc=zlib.crc32(names),
    )
    text = json.dumps(meta, indent=1).encode()
    for name, data in (('index.npy', index.getvalue()), ('names.txt', names), ('index.json', text)):
        with output_file(folder / name, WRITER, '--out-dir') as file:
            file.write(data)
    return len(rows)
