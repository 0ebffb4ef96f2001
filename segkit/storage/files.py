"""Listing and reading files by their address."""

import os
from urllib.parse import unquote

from segkit.storage import shards, stores
from segkit.storage.object_cache import through_cache

_LOCAL = ('file://', 'local://')


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path is an address of a store or of shards, and no path of this machine."""
    text = str(path)
    return '://' in text and not text.startswith(_LOCAL)


def on_disk(path: str) -> str:
    """``file:///a/b`` as ``/a/b``; every other path as it is."""
    scheme = next((start for start in _LOCAL if path.startswith(start)), None)
    return path if scheme is None else unquote(path[len(scheme) :])


def join(root: str, *parts: str) -> str:
    """A path below ``root``; the last part that is absolute, or an address, begins anew."""
    for part in parts:
        if '://' in part or os.path.isabs(part) or not root:
            root = part
        elif part:
            root = f'{root.rstrip("/")}/{part}' if is_remote(root) else os.path.join(root, part)
    return root


def read(path: str, version: str = '') -> bytes:
    """The content of a file.

    Args:
        version: of the object, where a listing has told it: it then need not be asked for.

    Raises:
        FileNotFoundError: it is not there. DataError: it is not whole. StoreError: its store cannot
            be reached, or refuses.
    """
    if not is_remote(path):
        with open(on_disk(path), 'rb') as file:
            return file.read()
    if shards.is_shards(path):
        return shards.read(path)
    version = version or stores.version_of(path)
    if not version:
        return stores.read_all(path)
    size = stores.size_of(version)
    if not stores.has_tag(version):  # another object of that size could not be told from it
        return stores.read(path, 0, size)
    return through_cache(f'{path} {version}', lambda: stores.read(path, 0, size))


def version_of(path: str) -> str:
    """What changes when an object does; of shards, the checksum of the content."""
    return shards.version_of(path) if shards.is_shards(path) else stores.version_of(path)


def list_folder(root: str) -> dict[str, str]:
    """All files below a folder of a store or of shards: path from there -> version."""
    return shards.find(root) if shards.is_shards(root) else stores.find(root)


def exists(path: str) -> bool:
    """Whether there is a file."""
    if not is_remote(path):
        return os.path.isfile(on_disk(path))
    try:
        version_of(path)
    except FileNotFoundError:
        return False
    return True
