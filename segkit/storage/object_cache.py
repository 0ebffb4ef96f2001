"""Objects that were fetched, on the local disk, within a bound: what was used longest ago goes.

    SEGKIT_OBJECT_CACHE=DIR      where; 0 for none (default: segkit/objects in the user's caches)
    SEGKIT_OBJECT_CACHE_GB=8     how much

Any number of processes share a folder. An entry is a file that appears whole, with a checksum of
its content before it: one that a disk has damaged is fetched again. Its name holds the version of
the object, so that a changed object is another entry. A disk that is full, or a folder that cannot
be written to, only means that nothing is kept.
"""

import contextlib
import math
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path

from segkit.errors import UserError
from segkit.whole_file import whole_file

try:
    import fcntl
except ImportError:  # Windows: the bound is kept less exactly
    fcntl = None  # type: ignore[assignment]

_HEAD = struct.Struct('<4sIQ')  # mark, CRC-32 and length of the content
_MARK = b'sgk1'
_ROOM = 0.9  # of the bound, what is left after entries went


def cache_folder(name: str) -> Path:
    """A folder of ours among the user's caches."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'segkit' / name


def number_of(name: str, default: float) -> float:
    """The number in a variable of the environment, 0 or more."""
    text = os.environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise UserError(f'{name}={text}: must be a number, 0 or more, such as {default:g}')
    return value


def through_cache(key: str, fetch: Callable[[], bytes]) -> bytes:
    """The content of ``key`` from the cache of the environment, or fetched and kept there."""
    place = os.environ.get('SEGKIT_OBJECT_CACHE', '')
    if place == '0':
        return fetch()
    bound = int(number_of('SEGKIT_OBJECT_CACHE_GB', 8) * 1e9)
    cache = ObjectCache(Path(place) if place else cache_folder('objects'), bound)
    data = cache.get(key)
    if data is None:
        data = fetch()
        with contextlib.suppress(OSError):
            cache.put(key, data)
    return data


class ObjectCache:
    """A folder of entries. ``bound``: bytes of all of them, with their heads."""

    def __init__(self, folder: Path, bound: int) -> None:
        self.folder, self.bound = folder, bound

    def _place(self, key: str) -> Path:
        name = blake2b(key.encode('utf-8', 'surrogateescape'), digest_size=20).hexdigest()
        return self.folder / name[:2] / name

    def get(self, key: str) -> bytes | None:
        """The content; None where there is none, or it is damaged."""
        place = self._place(key)
        try:
            stored = place.read_bytes()
            os.utime(place)  # when it was last used
        except OSError:
            return None
        if len(stored) >= _HEAD.size:
            mark, check, length = _HEAD.unpack_from(stored)
            data = stored[_HEAD.size :]
            if mark == _MARK and length == len(data) and check == zlib.crc32(data):
                return data
        with contextlib.suppress(OSError):
            place.unlink()
        return None

    def put(self, key: str, data: bytes) -> None:
        """Keep ``data``, once there is room for it; what is larger than the bound is not kept."""
        size = _HEAD.size + len(data)
        if size > self.bound:
            return
        place = self._place(key)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._counted() as counter:
            if place.exists():
                return
            held = counter.read()
            if held is None or held + size > self.bound:
                held = self._make_room(size)
            counter.write(held + size)
            with whole_file(place) as file:
                file.write(_HEAD.pack(_MARK, zlib.crc32(data), len(data)))
                file.write(data)

    def _make_room(self, size: int) -> int:
        """Remove the entries used longest ago until ``size`` more fit; what is held then."""
        entries = []
        for path in self.folder.glob('??/*'):
            with contextlib.suppress(OSError):
                found = path.stat()
                entries.append((found.st_mtime_ns, found.st_size, path))
        held = sum(entry[1] for entry in entries)
        allowed = min(self.bound - size, int(self.bound * _ROOM))
        for _, nbytes, path in sorted(entries, key=lambda entry: entry[0]):
            if held <= allowed:
                break
            path.unlink(missing_ok=True)
            held -= nbytes
        return held

    @contextlib.contextmanager
    def _counted(self) -> Iterator['_Counter']:
        """The number of bytes held, while no other process looks at it."""
        flags = os.O_RDWR | os.O_CREAT | getattr(os, 'O_BINARY', 0)
        handle = os.open(self.folder / 'bytes', flags, 0o644)
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield _Counter(handle)
        finally:
            os.close(handle)


class _Counter:
    def __init__(self, handle: int) -> None:
        self.handle = handle

    def read(self) -> int | None:
        os.lseek(self.handle, 0, os.SEEK_SET)
        stored = os.read(self.handle, 8)
        return int.from_bytes(stored, 'little') if len(stored) == 8 else None

    def write(self, value: int) -> None:
        os.lseek(self.handle, 0, os.SEEK_SET)
        os.write(self.handle, value.to_bytes(8, 'little'))
