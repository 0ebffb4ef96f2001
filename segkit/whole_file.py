"""Files that exist whole or not at all.

A file is written beside its place under a temporary name of this process and renamed at the end. A
process killed at any instant, or a disk that fills, leaves the previous file as it was.
"""

import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_NAME = 200  # bytes of a name, so that what stands around it fits into 255


@contextlib.contextmanager
def whole_file(path: str | os.PathLike, durable: bool = False) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of ``path`` if the block ends without an error.

    Args:
        path: its folder is made if it is not there.
        durable: wait until the disk has it, so that a power cut does not take it either.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{_short(path.name)}.{os.getpid()}.tmp')
    try:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()  # of a process that died; a link to elsewhere, in a folder of many
        with open(temporary, 'xb') as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # which a full disk does not say
        raise
    if durable:
        _fsync_directory(path.parent)


def write_text(path: str | os.PathLike, text: str, durable: bool = False) -> None:
    """Write a text file (UTF-8), whole or not at all; names of files whose bytes are no text are
    shown as escapes in it."""
    with whole_file(path, durable) as file:
        file.write(text.encode(errors='backslashreplace'))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 hex digits."""
    with path.open('rb') as file:
        if sys.version_info >= (3, 11):
            return hashlib.file_digest(file, 'sha256').hexdigest()
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def remove_leftovers(folder: str | os.PathLike, below: bool = False) -> list[str]:
    """Delete the temporary files that processes killed while writing left in ``folder``, and in
    folders ``below``; gives their names. Those of a process that is alive on this machine stay."""
    found = []
    for path in sorted(Path(folder).glob('**/.*.tmp' if below else '.*.tmp')):
        match = re.fullmatch(r'\..+\.(\d+)\.tmp', path.name)
        if match and not _alive(int(match[1])) and path.is_file():
            path.unlink(missing_ok=True)
            found.append(path.name)
    return found


def _short(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:_NAME])


def _alive(process: int) -> bool:
    if os.name == 'nt':  # where signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _fsync_directory(folder: Path) -> None:
    if os.name == 'nt':  # knows no such thing
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
