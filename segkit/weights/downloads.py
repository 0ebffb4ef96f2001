"""Downloads that survive an interruption and prove what they brought.

A transfer goes to ``NAME.part`` and continues there (HTTP Range) after an interruption, in this
call or a later one. The published files carry the first eight hex digits of their SHA-256 in
their names (``-99fac37c.pth``); only a file that has them is renamed to its final name, so what
the cache holds is complete.
"""

import contextlib
import hashlib
import http.client
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

from .errors import DownloadError

_HASH = re.compile(r'-([0-9a-f]{8,64})\.(?:pth|pt|safetensors)$')
_CHUNK = 1 << 20
_TRIES = 4


def expected_hash(name: str) -> str | None:
    """The SHA-256 prefix a file name promises, or None."""
    found = _HASH.search(name)
    return found[1] if found else None


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 hex digits."""
    with path.open('rb') as file:
        if sys.version_info >= (3, 11):
            return hashlib.file_digest(file, 'sha256').hexdigest()
        return _digest(file)


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(_CHUNK):
        digest.update(block)
    return digest.hexdigest()


def fetch(url: str, target: Path, timeout: float = 30) -> Path:
    """Download ``url`` to ``target`` unless it is there already; returns ``target``.

    Raises:
        DownloadError: the server does not have it, the transfer keeps breaking off, or the
            SHA-256 does not begin as the file name says.
    """
    if target.is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(target.parent, os.W_OK):
            raise PermissionError('no permission to write')
    except OSError as error:
        raise DownloadError(
            f'{target.parent}: downloads cannot be kept there ({error}); set SEGKIT_CACHE to a '
            'folder that can be written.'
        ) from None
    with _only_one(target.with_name(target.name + '.lock')):
        if target.is_file():  # another process was faster
            return target
        part = target.with_name(target.name + '.part')
        resumed = part.is_file()
        _transfer(url, part, timeout)
        if resumed and _wrong(part, target.name):
            # The old beginning may belong to another file: once more, from the start.
            part.unlink()
            _transfer(url, part, timeout)
        _verify(url, part, target.name)
        os.replace(part, target)
    return target


def _wrong(part: Path, name: str) -> bool:
    promised = expected_hash(name)
    return promised is not None and not sha256_of(part).startswith(promised)


def _verify(url: str, part: Path, name: str) -> None:
    if not _wrong(part, name):
        return
    found = sha256_of(part)
    part.unlink()
    raise DownloadError(
        f'{url}: the SHA-256 of what arrived begins with {found[:8]}, but the file name promises '
        f'{expected_hash(name)}; it was discarded. Try again, or fetch it by other means and give '
        'its path.'
    )


def _transfer(url: str, part: Path, timeout: float) -> None:
    """Fetch into ``part``, continuing after interruptions as long as each try brings bytes."""
    reason: Exception | None = None
    for _ in range(_TRIES):
        try:
            _one_transfer(url, part, timeout)
            return
        except urllib.error.HTTPError as error:
            raise DownloadError(
                f'{url}: the server answers {error.code} {error.reason}; check the address, or '
                'fetch the file by other means and give its path.'
            ) from None
        except (OSError, http.client.HTTPException) as error:
            reason = error
    size = part.stat().st_size if part.is_file() else 0
    raise DownloadError(
        f'{url}: the transfer failed {_TRIES} times ({reason}); {size} bytes are kept in {part}, '
        'and the next call continues there. Without a network, fetch the file elsewhere and copy '
        f'it to {part.with_suffix("")}.'
    )


def _one_transfer(url: str, part: Path, timeout: float) -> None:
    have = part.stat().st_size if part.is_file() else 0
    headers = {'User-Agent': 'segkit'} | ({'Range': f'bytes={have}-'} if have else {})
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the part is as long as the file, or longer
            _finish_or_restart(part, error.headers.get('Content-Range', ''))
            return
        raise
    with response, part.open('ab' if response.status == 206 else 'wb') as file:
        total = file.tell() + int(response.headers.get('Content-Length') or 0)
        _copy(response, file, total, part.stem)
        if response.headers.get('Content-Length') and file.tell() < total:
            raise OSError(f'broke off after {file.tell()} of {total} bytes')


def _finish_or_restart(part: Path, content_range: str) -> None:
    """A 416 says '*/SIZE': a part of just that size is complete, any other is of no use."""
    if content_range.rsplit('/')[-1] != str(part.stat().st_size):
        part.unlink()
        raise OSError('the partial file does not fit the one on the server')


def _copy(response: http.client.HTTPResponse, file: IO[bytes], total: int, name: str) -> None:
    show = sys.stderr.isatty() and total
    while block := response.read(_CHUNK):
        file.write(block)
        if show:
            print(f'\r{name}: {file.tell() / total:4.0%}', end='', file=sys.stderr)
    if show:
        print(file=sys.stderr)


@contextlib.contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """One download at a time per file: the ranks of a job ask for the same weights at once."""
    try:
        import fcntl
    except ImportError:  # not POSIX: the last rename wins, and all of them are complete
        yield
        return
    with lock.open('w') as file:  # left behind: removing it would let two waiters in
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
