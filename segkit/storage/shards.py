"""Pictures and labels in a few large tar files, read at their places through an index.

    ade20k-shards/
      train-00000.tar, ...   the webdataset layout: the files of one sample follow one another,
                             under one key; splits.tar holds the split files
      index.npy              a record a file: hash of its path, shard, offset, size, CRC-32
      names.txt              its path below the data root, in the same order, that of the hashes
      index.json             the shards with their sizes, checksums of the two above; written last

To all who read, ``shards://ade20k-shards`` is the folder that was packed: the paths below it are
those of the original files, so that data sets keep their prefixes, suffixes, split files and
classes, and the one sampler serves. A read is one ``pread`` (or one request for a range) and shares
no place in a file with anybody. What is not as it was written is an error that names shard and
file.
"""

import io
import os
import re
import zlib
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate
from typing import cast

import numpy as np

from segkit.command import command
from segkit.errors import DataError
from segkit.json_file import parse_json
from segkit.storage import stores
from segkit.storage.object_cache import through_cache
from segkit.storage.stores import StoreError
from segkit.table_file import read_table

SCHEME = 'shards://'
VERSION = 1
INDEX_DTYPE = np.dtype(
    [('key', '<u8'), ('shard', '<u4'), ('crc', '<u4'), ('offset', '<u8'), ('size', '<u8')]
)
_OPEN_FILES = 256  # shards that stay open; others are opened for each read
_open: dict[str, int] = {}
_roots: set[str] = set()  # folders that are known to have an index


def is_shards(path: str) -> bool:
    """Whether it is an address of shards, or of a file in them."""
    return path.startswith(SCHEME)


def path_key(path: str) -> int:
    """64 bits that name a file by its path below the data root."""
    name = path.encode('utf-8', 'surrogateescape')
    return int.from_bytes(blake2b(name, digest_size=8).digest(), 'little')


def read(address: str) -> bytes:
    """The content of a file of the shards; raises as ``segkit.storage.read`` does."""
    index, path = _index_of(address)
    return index.read(index.record(path, address), address)


def version_of(address: str) -> str:
    """Size and checksum of a file of the shards."""
    index, path = _index_of(address)
    return _version(index.record(path, address))


def find(address: str) -> dict[str, str]:
    """The files below a folder of the shards: path from there -> version."""
    index, folder = _index_of(address)
    start = f'{folder}/' if folder else ''
    return {
        name[len(start) :]: _version(index.table[place])
        for place, name in enumerate(index.names())
        if name.startswith(start)
    }


def _is_below(name: str) -> bool:
    """Whether a path stays in the folder that it starts from, on any system."""
    parts = re.split(r'[/\\]', name)
    return not any(part in ('', '.', '..') for part in parts) and ':' not in parts[0]


def _version(record: np.void) -> str:
    return f'{record["size"]}-{record["crc"]:08x}'


class Index:
    """Of one folder of shards. ``table``: its records, in the order of their keys."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        try:
            meta = cast(dict, parse_json(_content(f'{folder}/index.json').decode(), folder))
            data = _content(f'{folder}/index.npy')
            sound = meta['version'] == VERSION and zlib.crc32(data) == meta['index_crc']
            self.shards = [(str(name), int(size)) for name, size in meta['shards']]
            self._names_crc = int(meta['names_crc'])
            self.table = (
                read_table(io.BytesIO(data), INDEX_DTYPE) if sound else np.zeros(0, INDEX_DTYPE)
            )
        except StoreError:
            raise  # a fault on the way there, and none of the shards
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise self._damaged(f'index.json and index.npy cannot be read ({error})') from error
        if not sound or not self._is_ours():
            raise self._damaged('index.npy is not what index.json says, or of another version')
        self._check_sizes()

    def _is_ours(self) -> bool:
        """Whether all shards are of this folder."""
        names = [name for name, _ in self.shards]
        return all(name and name == os.path.basename(name) for name in names)

    def _damaged(self, problem: str) -> DataError:
        return DataError(f'{SCHEME}{self.folder}', problem, _cure())

    def _check_sizes(self) -> None:
        """Every shard is there, as long as it was."""
        remote = '://' in self.folder
        found = (
            {n: stores.size_of(v) for n, v in stores.find(self.folder).items()} if remote else {}
        )
        for name, size in self.shards:
            path = f'{self.folder}/{name}'
            there = found.get(name) if remote else _size(path)
            if there != size:
                said = 'is not there' if there is None else f'has {there} bytes'
                raise DataError(
                    path, f'this shard {said}, and the index says {size} bytes', _cure()
                )

    def names(self) -> list[str]:
        """The paths of all files, in the order of ``table``."""
        try:
            data = _content(f'{self.folder}/names.txt')
        except FileNotFoundError:
            raise self._damaged('names.txt is not there') from None
        names = data.decode('utf-8', 'surrogateescape').split('\n')[:-1]
        if zlib.crc32(data) != self._names_crc or len(names) != len(self.table):
            raise self._damaged('names.txt is not what index.json says')
        beyond = next((name for name in names if not _is_below(name)), None)
        if beyond is not None:
            raise self._damaged(f'names.txt has {beyond!r}, which leads out of the folder')
        return names

    def record(self, path: str, address: str) -> np.void:
        """That of a file; raises FileNotFoundError."""
        key = path_key(path)
        place = int(np.searchsorted(self.table['key'], np.uint64(key)))
        if place == len(self.table) or int(self.table['key'][place]) != key:
            raise FileNotFoundError(f'{address}: the shards in {self.folder} hold no such file.')
        found = self.table[place]
        shard, end = int(found['shard']), int(found['offset']) + int(found['size'])
        if shard >= len(self.shards) or end > self.shards[shard][1]:
            raise self._damaged(f'index.npy says of {path} that it lies outside of its shard')
        return found

    def read(self, record: np.void, address: str) -> bytes:
        """The bytes of a file, which are those that were packed."""
        name, _ = self.shards[int(record['shard'])]
        shard, offset, size = f'{self.folder}/{name}', int(record['offset']), int(record['size'])
        crc = int(record['crc'])
        if '://' in self.folder:
            key = f'{shard} {offset} {size} {crc:08x}'
            return through_cache(key, lambda: stores.read(shard, offset, offset + size, crc))
        data = _pread(shard, size, offset)
        if len(data) != size or zlib.crc32(data) != crc:
            problem = f'{len(data)} of {size} bytes at {offset} of {shard} are not what was packed'
            raise DataError(address, problem, _cure())
        return data


def _index_of(address: str) -> tuple[Index, str]:
    """The index in one of the folders of an address, and the path from there."""
    parts = address[len(SCHEME) :].rstrip('/').split('/')
    first = parts.index('') + 2 if '://' in address[len(SCHEME) :] else 1
    folders = [f for f in list(accumulate(parts, lambda a, b: f'{a}/{b}'))[first - 1 :] if f]
    refused, known = None, next((f for f in folders if f in _roots), '')
    for folder in [known] if known else folders:
        try:
            found = _is_root(folder)
        except StoreError as error:
            # Who may read a folder may not look into those above it, nor, often, be told that
            # something is not there.
            if not isinstance(error.__cause__, PermissionError):
                raise
            refused, found = error, False
        if found:
            _roots.add(folder)
            return _opened(folder), address[len(SCHEME) + len(folder) :].strip('/')
    if refused is not None:
        raise refused
    raise FileNotFoundError(
        f'{address}: there is no index.json with an index.npy in this folder or one above it. '
        f'Write shards with `{command("to_shards")}`, and give their folder as '
        'data_root=shards://FOLDER (shards:///a/b, shards://s3://bucket/b).'
    )


@lru_cache(maxsize=4096)
def _is_root(folder: str) -> bool:
    """By both names: another program's index.json may lie in a folder above."""
    return all(_is_there(f'{folder}/{name}') for name in ('index.json', 'index.npy'))


def _is_there(path: str) -> bool:
    if '://' not in path:
        return os.path.isfile(path)
    try:
        return bool(stores.version_of(path))
    except FileNotFoundError:
        return False


@lru_cache(maxsize=64)
def _opened(folder: str) -> Index:
    return Index(folder)


def forget() -> None:
    """Look anew for indices: shards were written, or moved, while this process ran."""
    _is_root.cache_clear()
    _opened.cache_clear()
    _roots.clear()
    while _open:
        os.close(_open.popitem()[1])


def _content(path: str) -> bytes:
    if '://' in path:
        return stores.read(path, 0, stores.size_of(stores.version_of(path)))
    with open(path, 'rb') as file:
        return file.read()


def _size(path: str) -> int | None:
    return os.path.getsize(path) if os.path.isfile(path) else None


def _pread(path: str, size: int, offset: int) -> bytes:
    """``pread`` leaves no place behind that workers, which share the open file, could trip over."""
    handle = _open.get(path)
    kept = handle is not None
    if handle is None:
        handle = os.open(path, os.O_RDONLY)
        if len(_open) < _OPEN_FILES:
            kept = _open.setdefault(path, handle) == handle
    try:
        if hasattr(os, 'pread'):
            return os.pread(handle, size, offset)
        with open(path, 'rb') as file:  # Windows
            file.seek(offset)
            return file.read(size)
    finally:
        if not kept:
            os.close(handle)


def _cure() -> str:
    return f'Copy the shards anew, or write them again with `{command("to_shards")}`.'
