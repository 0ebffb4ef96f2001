"""Downloads that survive an interruption and prove what they brought.

A transfer goes to ``NAME.part`` and continues there (HTTP Range) after an interruption, in this
call or a later one, as long as the file on the server is still the same: its ETag or date is kept
in ``NAME.part.etag`` and asked for (If-Range), and a hash in the name proves the rest. What arrived
is renamed to its final name, and so enters the cache, only when it is whole: its SHA-256 begins as
its name says, or all of it reads as a checkpoint.

None of the libraries does all of that: torch.hub takes a body that breaks off for a whole one and
waits for ever; pooch starts over each time, without a bound; huggingface_hub continues, but only
from its own servers.
"""

import contextlib
import errno
import http.client
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from segkit.errors import CheckpointError, DownloadError
from segkit.shared_text import without_secrets
from segkit.whole_file import sha256_of

from .addresses import HttpAlone, request_of, sendable
from .formats import read_file, recognise
from .integrity import expected_hash, verify

_CHUNK = 1 << 20
_TRIES = 4
LARGEST = 16 << 30  # bytes; the largest published checkpoint of this kind takes under one GiB
_SLOWEST = 1000  # bytes a second, over a minute


def fetch(url: str, target: Path, timeout: float = 30, largest: int = LARGEST) -> Path:
    """Download ``url`` to ``target`` unless it is there already; returns ``target``.

    Args:
        timeout: seconds without an answer or a byte after which a try is given up.
        largest: bytes that are taken at most.
        whole: raises ``CheckpointError`` if the file it is given is not what it should be; by
            default its name's hash, and without one that it reads as a checkpoint.

    Raises:
        DownloadError: the server does not have it, the transfer keeps breaking off or is too
            large, or what arrived is not whole.
    """
    if _is_there(target):
        return target
    request = request_of(url)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(target.parent, os.W_OK):
            raise PermissionError('no permission to write')
    except OSError as error:
        raise DownloadError(
            f'{target.parent}: downloads cannot be kept there ({error}); set SEGKIT_CACHE to a '
            'folder that can be written.'
        ) from None
    shown = without_secrets(url)
    try:
        with _only_one(target.with_name(target.name + '.lock')):
            if not _is_there(target):  # another process may have been faster
                _bring(_Transfer(request, shown, target, timeout, largest))
    except OSError as error:
        if isinstance(error, CheckpointError):
            raise
        raise DownloadError(
            f'{shown}: cannot be kept as {target} ({error.strerror or error}); move away what is '
            'there, or set SEGKIT_CACHE to another folder.'
        ) from error
    return target


def _bring(transfer: '_Transfer') -> None:
    """Transfer the file and put it in its place once it is found to be whole."""
    target = transfer.target
    resumed = transfer.part.is_file()
    transfer.run()
    if resumed and _wrong(transfer.part, target.name):
        # The old beginning may belong to another file: once more, from the start.
        transfer.forget()
        transfer.run()
    try:
        _prove(transfer.part, target.name, transfer.url)
    except CheckpointError as error:
        transfer.forget()
        raise _not_whole(transfer.url, target, error) from None
    os.replace(transfer.part, target)
    transfer.forget()


def _is_there(target: Path) -> bool:
    """Whether the cache has it. What an older release left under the name may be no checkpoint."""
    if not target.is_file():
        return False
    if expected_hash(target.name) or target.suffix not in ('.pth', '.pt', '.safetensors', '.bin'):
        return True
    try:
        recognise(target)
    except CheckpointError:
        return False  # and what takes its place is written whole
    return True


def _wrong(part: Path, name: str) -> bool:
    promised = expected_hash(name)
    return promised is not None and not sha256_of(part).startswith(promised)


def _prove(part: Path, name: str, url: str) -> None:
    """Raise unless all of the file is there, as the hash in its final name or its content says."""
    promised = expected_hash(name)
    if _wrong(part, name):
        raise CheckpointError(
            f'{url}: the SHA-256 of what arrived begins with {sha256_of(part)[:8]}, but the file '
            f'name promises {promised}'
        )
    if promised is None:
        verify(part)
        read_file(part, mmap=True)


def _not_whole(url: str, target: Path, error: CheckpointError) -> CheckpointError:
    part = f'{target}.part'
    said = str(error).replace(f'{part}: ', '').replace(part, 'it').replace(f'{url}: ', '')
    kind = DownloadError if type(error) is CheckpointError else type(error)
    return kind(
        f'{url}: what the server sent was discarded: {said.rstrip(".")}. Try again, or fetch the '
        'file by other means and give its path.'
    )


class _Transfer:
    """One file on its way: the part that is here, and what the server calls its content."""

    def __init__(
        self, request: urllib.request.Request, url: str, target: Path, timeout: float, largest: int
    ) -> None:
        self.asked, self.url, self.target = request, url, target
        self.timeout, self.largest = timeout, largest
        self._opener = urllib.request.build_opener(HttpAlone)
        self.part = target.with_name(target.name + '.part')
        self.etag = target.with_name(target.name + '.part.etag')
        self.hashed = expected_hash(target.name) is not None

    def forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.etag.unlink(missing_ok=True)

    def run(self) -> None:
        """Fetch into ``part``, continuing after interruptions; four tries, two of silence."""
        reason: Exception | None = None
        tried = 0
        while tried < _TRIES:
            try:
                self._once()
                return
            except urllib.error.HTTPError as error:
                raise DownloadError(
                    f'{self.url}: the server answers {error.code} {error.reason}; check the '
                    'address, or fetch the file by other means and give its path.'
                ) from None
            except (OSError, http.client.HTTPException) as error:
                if getattr(error, 'errno', None) in (errno.ENOSPC, errno.EDQUOT):
                    raise DownloadError(
                        f'{self.part}: the disk is full ({error}); make room, or set SEGKIT_CACHE '
                        'to a folder on another, and start again.'
                    ) from None
                reason = error
                silent = TimeoutError in (type(error), type(getattr(error, 'reason', None)))
                tried += 2 if silent else 1  # which has taken its time
        size = self.part.stat().st_size if self.part.is_file() else 0
        count = _TRIES // 2 if silent else _TRIES
        raise DownloadError(
            f'{self.url}: the transfer failed {count} times ({reason}); {size} bytes are kept in '
            f'{self.part}, and the next call continues there. Without a network, fetch the file '
            f'elsewhere and copy it to {self.part.with_suffix("")}.'
        )

    def _once(self) -> None:
        headers = dict(self.asked.headers)
        known = sendable(self.etag.read_bytes().decode('latin-1')) if self.etag.is_file() else ''
        have = self.part.stat().st_size if self.part.is_file() else 0
        if have and not (known or self.hashed):
            self.forget()  # nothing could tell whether the rest belongs to it
            have = 0
        if have:
            headers['Range'] = f'bytes={have}-'
        if have and known:
            headers['If-Range'] = known
        request = urllib.request.Request(self.asked.full_url, headers=headers)
        try:
            response = self._opener.open(request, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the part is as long as the file, or longer
                self._finish_or_restart(error.headers.get('Content-Range', ''))
                return
            raise
        with response:
            self._take(response, have, known)

    def _take(self, response: http.client.HTTPResponse, have: int, known: str) -> None:
        now = _validator(response)
        continued = response.status == 206
        if continued and not (
            response.headers.get('Content-Range', '').startswith(f'bytes {have}-')
            or (self.hashed and not response.headers.get('Content-Range'))
        ):
            self.forget()
            raise OSError('the server sent another piece than was asked for')
        if continued and known and now and now != known:
            self.forget()
            raise OSError('the file on the server was changed meanwhile')
        length = response.headers.get('Content-Length', '')
        length = length if length.isascii() and length.isdigit() and len(length) < 20 else ''
        total = (have if continued else 0) + int(length or 0)
        if total > self.largest:
            raise DownloadError(
                f'{self.url}: the server offers {total} bytes, more than any checkpoint has '
                f'({self.largest}); fetch it by other means if it is meant so, and give its path.'
            )
        if not continued:
            self.etag.write_text(now)
        with self.part.open('ab' if continued else 'wb') as file:
            self._copy(response, file, total)
            if length and file.tell() < total:
                raise OSError(f'broke off after {file.tell()} of {total} bytes')

    def _finish_or_restart(self, content_range: str) -> None:
        """A 416 says '*/SIZE': a part of just that size is complete, any other is of no use."""
        if content_range.rsplit('/')[-1] != str(self.part.stat().st_size):
            self.forget()
            raise OSError('the partial file does not fit the one on the server')

    def _copy(self, response: http.client.HTTPResponse, file: IO[bytes], total: int) -> None:
        from tqdm import tqdm

        since, taken = time.monotonic(), 0
        shown = tqdm(
            desc=self.part.stem, total=total or None, initial=file.tell(), unit='B',
            unit_scale=True, disable=not sys.stderr.isatty(),
        )  # fmt: skip
        while block := response.read1(_CHUNK):
            file.write(block)
            shown.update(len(block))
            taken += len(block)
            if file.tell() > self.largest:
                raise DownloadError(f'{self.url}: the server sends more than {self.largest} bytes')
            if (seconds := time.monotonic() - since) > 2 * self.timeout:
                if taken < _SLOWEST * seconds:
                    raise TimeoutError(f'only {taken} bytes came in {seconds:.0f} s')
                since, taken = time.monotonic(), 0
        shown.close()


def _validator(response: http.client.HTTPResponse) -> str:
    """What If-Range may ask by: a strong ETag, else the date of the last change."""
    tag = sendable(str(response.headers.get('ETag', '')))
    return tag if tag.startswith('"') else sendable(str(response.headers.get('Last-Modified', '')))


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
