"""Objects of a store that fsspec knows (``s3://bucket/key``, ``memory://``, ``http://``, ...).

What may pass by itself (a reset connection, 503, a slow answer, fewer bytes than there are) is
tried again with growing pauses; the rest, and what did not pass, is a sentence that names the
object. Credentials and the address of the service come from the environment alone, as for every
other program (``AWS_PROFILE``, ``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``,
``FSSPEC_S3_ANON=true``), never from a config, which is saved with the run.

    SEGKIT_STORE_TRIES=5        how often an object is asked for
    SEGKIT_STORE_TIMEOUT=30     seconds that one try may take, and one more for each megabyte
"""

import contextlib
import errno
import os
import random
import re
import time
import zlib
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, TypeVar

from segkit.errors import DataError, UserError
from segkit.shared_text import without_secrets
from segkit.storage.object_cache import number_of
from segkit.whole_file import whole_file

_T = TypeVar('_T')
_PAUSE, _LONGEST_PAUSE = 0.25, 8.0  # seconds
_PART = 1 << 25  # bytes
_BUSY, _LOST = ('EBUSY', 'EREMOTEIO', 'EIO', 'EAGAIN'), ('ENETUNREACH', 'ENETDOWN', 'ETIMEDOUT')
_PASSING = {getattr(errno, name, None) for name in (*_BUSY, *_LOST, 'EHOSTUNREACH')} - {None}
_CLIENTS = ('aiohttp', 'botocore', 'aiobotocore', 'aiobotocore.httpchecksum')
_NO_CREDENTIALS = ('Credential', 'Token', 'ProfileNotFound')
# A process that was forked makes its own: connections and the thread that serves them stay behind.
# Those of the parent are kept, since to close them would ask that thread.
_open: dict[tuple[int, str, str], Any] = {}
_chance = random.SystemRandom()  # for pauses; leaves the generators of training alone


class StoreError(UserError):
    """A store cannot be reached, or refuses; the message names the object and what to do."""


class _DamagedError(Exception):
    """Fewer or more bytes came than the object has, or others."""


def tries() -> int:
    """How often an object is asked for."""
    return max(1, int(number_of('SEGKIT_STORE_TRIES', 5)))


def seconds_for(nbytes: int = 0) -> float:
    """How long one try may take, for so many bytes."""
    return number_of('SEGKIT_STORE_TIMEOUT', 30) + nbytes / 1e6


def read(address: str, start: int, stop: int, crc: int | None = None) -> bytes:
    """The bytes from ``start`` to before ``stop`` of an object, with the CRC-32 ``crc`` if given.

    Raises:
        DataError: the object has fewer, or others. FileNotFoundError: it is not there.
        StoreError: the store cannot be reached, or refuses.
    """
    if stop <= start:
        return b''

    def once() -> bytes:
        data = _call(address, 'cat_file', stop - start, start=start, end=stop)
        if len(data) != stop - start:
            raise _DamagedError(f'{len(data)} bytes came where {stop - start} were asked for')
        if crc is not None and zlib.crc32(data) != crc:
            raise _DamagedError(f'the bytes from {start} to {stop} are not those of the index')
        return data

    return patiently(address, once)


def read_all(address: str) -> bytes:
    """All bytes of an object whose size the store does not tell."""
    return patiently(address, lambda: _call(address, 'cat_file', 1 << 26))


def version_of(address: str) -> str:
    """Size of an object and a hash of its tag, ``'1234-0a1b2c3d4e5f'``; ``'1234-'`` where the store
    gives no tag, '' where it does not tell sizes."""
    return _version(patiently(address, lambda: _call(address, 'info')))


def has_tag(version: str) -> bool:
    """Whether it changes with every change of an object, and not with the size alone."""
    return bool(version.partition('-')[2])


def size_of(version: str) -> int:
    """Bytes, of what `version_of` and `find` give."""
    return int(version.partition('-')[0])


def find(address: str) -> dict[str, str]:
    """The objects below a folder: path from there -> version, in no order."""

    def once() -> dict[str, str]:
        try:
            found = _call(address, 'find', 1 << 28, detail=True)
        except FileNotFoundError as error:
            if _code(error) == 'NoSuchBucket':
                raise
            return {}
        return {_below(root, path): _version(info) for path, info in found.items()}

    _, root = _system(address)
    return patiently(address, once)


def put(address: str, data: bytes) -> None:
    """Write an object, in the place of what was there."""
    patiently(address, lambda: _call(address, 'pipe_file', len(data), data))


def put_file(address: str, path: str) -> None:
    """Write an object from a local file, in parts where it is large."""
    size = os.path.getsize(path)
    patiently(address, lambda: _call(address, 'put_file', size, path, reversed_arguments=True))


def get_file(address: str, version: str, path: str | os.PathLike) -> None:
    """An object as a local file, which appears whole; in parts where it is large."""
    size = size_of(version)
    with whole_file(path) as file:
        for start in range(0, size, _PART):
            file.write(read(address, start, min(start + _PART, size)))


def create(address: str, data: bytes) -> bool:
    """Write an object unless there is one; whether it was written. Asks the store to decide."""

    def once() -> bool:
        try:
            _call(address, 'pipe_file', len(data), data, mode='create')
        except FileExistsError:
            return False
        except OSError as error:
            if _code(error) in ('PreconditionFailed', '412', 'ConditionalRequestConflict'):
                return False
            raise
        return True

    return patiently(address, once)


def remove(address: str) -> None:
    """Remove an object, if it is there."""

    def once() -> None:
        with contextlib.suppress(FileNotFoundError):
            _call(address, 'rm_file')

    patiently(address, once)


# -- one try ---------------------------------------------------------------------------------------


def _call(
    address: str,
    name: str,
    nbytes: int = 0,
    *args: object,
    reversed_arguments: bool = False,
    **kwargs: object,
) -> Any:
    """A method of the file system of ``address``, given its path there, within its time."""
    system, path = _system(address)
    given = (*args, path) if reversed_arguments else (path, *args)
    if getattr(system, 'async_impl', False):
        from fsspec.asyn import sync

        method = getattr(system, f'_{name}')
        return sync(system.loop, method, *given, timeout=seconds_for(nbytes), **kwargs)
    return getattr(system, name)(*given, **kwargs)


def _system(address: str) -> tuple[Any, str]:
    """The file system of an address, one for each process, and the path there."""
    protocol = address.partition('://')[0]
    try:
        import fsspec

        for part in address.split('::'):
            _refuse_password(part, part.partition('://')[0])
        if '::' in address:
            return fsspec.core.url_to_fs(address)
        of_address = fsspec.get_filesystem_class(protocol)._get_kwargs_from_urls(address)
        key = os.getpid(), protocol, repr(sorted(of_address.items()))  # a host, of some
        if key not in _open:
            _open[key] = fsspec.filesystem(protocol, **{**_settings(protocol), **of_address})
    except ImportError as error:
        raise StoreError(
            f'{address}: {protocol}:// needs a package that is not installed ({error}): '
            "pip install 'segkit[s3]'"
            + ('' if protocol in ('s3', 's3a', 'http', 'https') else ", and fsspec's part for it")
        ) from None
    except StoreError:
        raise
    except ValueError as error:
        raise StoreError(
            f'{address}: {protocol}:// is no address that fsspec knows ({error})'
        ) from None
    system = _open[key]
    if protocol in ('s3', 's3a'):
        system.retries = 1  # how often to try is decided here
    return system, system._strip_protocol(address)


def _refuse_password(address: str, protocol: str) -> None:
    """Addresses are in configs, logs and cards of runs, which people hand on."""
    match = re.match(r'[^/]*://([^/@]*:[^/@]*)@(.*)', address, re.S)
    if match:
        raise StoreError(
            f'{protocol}://...@{match[2]}: an address with a password in it would be saved with '
            f'the run. Take it out, and give it by the environment: AWS_ACCESS_KEY_ID and '
            f'AWS_SECRET_ACCESS_KEY of s3, FSSPEC_{protocol.upper()}_PASSWORD of others'
        )


def _settings(protocol: str) -> dict[str, object]:
    fresh: dict[str, object] = dict(skip_instance_cache=True, use_listings_cache=False)
    if protocol in ('s3', 's3a'):
        wait = seconds_for()
        once = dict(retries=dict(total_max_attempts=1), connect_timeout=wait, read_timeout=wait)
        return dict(fresh, config_kwargs=once)
    return fresh


def _below(root: str, path: str) -> str:
    return path[len(root) :].lstrip('/') if path.startswith(root) else path


def _version(info: Mapping[str, object]) -> str:
    if info.get('size') is None:
        return ''
    names = ('ETag', 'etag', 'md5Hash', 'LastModified', 'mtime', 'created')
    tag = next((str(info[name]) for name in names if info.get(name)), '')
    return f'{info["size"]}-{blake2b(tag.encode(), digest_size=6).hexdigest() if tag else ""}'


# -- again, or a sentence --------------------------------------------------------------------------


def patiently(address: str, once: Callable[[], _T]) -> _T:
    """What ``once`` gives, tried again while its errors may pass."""
    count = tries()
    for number in range(count):
        try:
            return once()
        except Exception as error:
            passing = _is_damage(error) or _may_pass(error)
            if not passing or number + 1 == count:
                _raise(address, error, count if passing else 1)
        time.sleep(min(_PAUSE * 2**number, _LONGEST_PAUSE) * _chance.uniform(0.5, 1.5))
    raise AssertionError('tries() is at least 1')


def _is_damage(error: BaseException) -> bool:
    """Ours, and what botocore says where the store sent a checksum."""
    return isinstance(error, _DamagedError) or type(error).__name__ == 'FlexibleChecksumError'


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, (FileNotFoundError, PermissionError, FileExistsError)):
        return False
    status = _status(error)
    if status is not None:
        return status in (408, 425, 429) or status >= 500
    if isinstance(error, (TimeoutError, ConnectionError)) or _times_out(error):
        return True
    if isinstance(error, OSError) and type(error).__module__ == 'builtins':
        return error.errno in _PASSING
    return _of_client(error) and not _is_credentials(error)


def _times_out(error: BaseException) -> bool:
    """asyncio's own until Python 3.11, and fsspec's."""
    return 'Timeout' in type(error).__name__


def _of_client(error: BaseException) -> bool:
    return type(error).__module__.partition('.')[0] in _CLIENTS


def _is_credentials(error: BaseException) -> bool:
    return _of_client(error) and any(word in type(error).__name__ for word in _NO_CREDENTIALS)


def _code(error: BaseException) -> str:
    """The code that the store gave, such as 'NoSuchBucket'; '' without one."""
    for part in (error, error.__cause__):
        response = getattr(part, 'response', None)
        if isinstance(response, Mapping):
            return str(response.get('Error', {}).get('Code', ''))
    return ''


def _status(error: BaseException) -> int | None:
    """The status of HTTP that the answer had, if there was one."""
    for part in (error, error.__cause__):
        response = getattr(part, 'response', None)
        if isinstance(response, Mapping):
            return response.get('ResponseMetadata', {}).get('HTTPStatusCode')
        status = getattr(part, 'status', None)
        if isinstance(status, int) and part is not None and _of_client(part):
            return status
    return None


def _raise(address: str, error: Exception, times: int) -> None:
    """The error as a sentence; as it is where nobody foresaw it."""
    code = _code(error)
    said = ' '.join(f'{code or type(error).__name__}: {error}'.split())[:300].rstrip('. ')
    if isinstance(error, FileNotFoundError):
        what = 'the bucket does not exist' if code == 'NoSuchBucket' else 'there is no such object'
        raise FileNotFoundError(
            f'{without_secrets(address)}: {what}. Check the address, and AWS_ENDPOINT_URL if the '
            "store is not Amazon's"
        ) from error
    if _is_damage(error):
        raise DataError(
            address,
            f'{error}, {times} times'.replace('\n', ' '),
            'Upload the object again; if it was replaced while this ran, start again.',
        ) from error
    if isinstance(error, PermissionError) or _is_credentials(error) or _status(error) in (401, 403):
        raise StoreError(
            f'{address}: the store does not let us in ({said}). Set AWS_PROFILE, or '
            'AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, to credentials that may use this bucket; '
            'for a public one FSSPEC_S3_ANON=true'
        ) from error
    if _may_pass(error):
        raise StoreError(
            f'{address}: the store did not answer in {times} tries ({said}). Check the network and '
            'AWS_ENDPOINT_URL; SEGKIT_STORE_TRIES and SEGKIT_STORE_TIMEOUT (seconds) make it wait '
            'longer'
        ) from error
    if code or _of_client(error):
        raise StoreError(f'{address}: the store refuses this ({said})') from error
    raise error
