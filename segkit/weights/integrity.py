"""Whether a file is still what was written: checksums inside the file, none beside it.

    .pth, written here       the CRC-32 of the whole file, in the comment of the zip archive
    .pth, of torch           the CRC-32 of each record, which torch writes and never looks at
    .safetensors, ours       the SHA-256 of the whole file, its own digits counted as zeros, under
                             ``segkit_sha256`` in the metadata
    NAME-1a2b3c4d.pth        begins with that SHA-256, as published files do

Plain ``torch.load`` and the safetensors library read all of them as ever. Checking is one pass over
the file from front to back: for a GiB in memory 1.1 s by CRC-32, 2.4 s by SHA-256 (one busy core).
"""

import hashlib
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, cast

import torch

from segkit.errors import CheckpointError
from segkit.whole_file import sha256_of

_HASH = re.compile(r'-([0-9a-f]{8,64})\.(?:pth|pt|safetensors)$')
_CHUNK = 1 << 20
_END = 22  # bytes of a zip archive's last record, without its comment
_TAG = b'segkit-crc32:'
_COMMENT = len(_TAG) + 8
_KEY = b'segkit_sha256'
_DIGITS = re.compile(rb'"([^"]{%d})"\s*:\s*"([^"]{64})"' % len(_KEY))
UNVERIFIED = 'unverified: the file holds no checksum'


def checking() -> bool:
    """Whether files are checked when nobody says otherwise: ``--no-verify`` turns it off."""
    return not os.environ.get('SEGKIT_NO_VERIFY')


def expected_hash(name: str) -> str | None:
    """The SHA-256 prefix a file name promises, or None."""
    found = _HASH.search(name)
    return found[1] if found else None


def verify(path: Path) -> str:
    """How the file was found to be whole, in a few words; ``UNVERIFIED`` where nothing tells.

    Raises:
        CheckpointError: it is not what was written.
    """
    promised = expected_hash(path.name)
    if promised:
        found = sha256_of(path)
        if found.startswith(promised):
            return 'verified by the SHA-256 in its name'
        if not _is_date(promised):
            raise CheckpointError(
                f'{path}: its SHA-256 begins with {found[:8]} and its name promises {promised}: it '
                'is damaged or another file. Fetch it again; if it was changed on purpose, rename '
                'it, or pass --no-verify.'
            )
    with path.open('rb') as file:
        head = file.read(9)
        if head[:4] == b'PK\x03\x04':
            return _verify_zip(path, file)
        if head[8:] == b'{':
            return _verify_safetensors(path, file)
    return UNVERIFIED


def _is_date(digits: str) -> bool:
    """net-20240131.pth is dated, not hashed."""
    try:
        return 1990 < datetime.strptime(digits, '%Y%m%d').year < 2100
    except ValueError:
        return False


def damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f'{path}: is damaged: {what}. Fetch or copy it again, or use another.')


# -- zip ---------------------------------------------------------------------------------------


class _Summed:
    """Writes to ``file``, holding the last record back, and sums what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.crc, self.tail = file, 0, b''

    def write(self, data: bytes | memoryview) -> int:
        view = memoryview(data).cast('B')
        if len(view) >= _END:
            self._put(self.tail)
            self._put(view[:-_END])
            self.tail = bytes(view[-_END:])
        else:
            joined = self.tail + bytes(view)
            self._put(joined[:-_END])
            self.tail = joined[-_END:]
        return len(view)

    def _put(self, data: bytes | memoryview) -> None:
        self.crc = zlib.crc32(data, self.crc)
        self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def write_checkpoint(content: object, file: BinaryIO) -> None:
    """``torch.save`` with the checksum of the whole file as the archive's comment."""
    summed = _Summed(file)
    torch.save(content, cast(BinaryIO, summed))
    last = summed.tail
    assert last[:4] == b'PK\x05\x06', 'a zip archive without a comment ends so'
    assert last[-2:] == b'\0\0', 'and says that its comment has no bytes'
    summed._put(last[:-2] + struct.pack('<H', _COMMENT) + _TAG)
    file.write(b'%08x' % summed.crc)


def _verify_zip(path: Path, file: BinaryIO) -> str:
    size = path.stat().st_size
    file.seek(max(size - _END - _COMMENT, 0))
    end = file.read()
    signs = (end[:4] == b'PK\x05\x06', end[_END - 2 : _END] == struct.pack('<H', _COMMENT),
             end[_END:-8] == _TAG)  # fmt: skip
    if sum(signs) < 2:  # one of them may be what is damaged
        return _verify_records(path, size)
    file.seek(0)
    crc, left = 0, size - 8
    while left and (block := file.read(min(_CHUNK, left))):
        crc, left = zlib.crc32(block, crc), left - len(block)
    if not all(signs) or b'%08x' % crc != end[-8:]:
        raise damaged(path, 'the checksum of the file is wrong')
    return 'verified by the CRC-32 of the file'


def _verify_records(path: Path, size: int) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.comment[:6] == _TAG[:6]:  # ours, but not where the file ends
                raise damaged(path, 'bytes are missing at its end, or were added there')
            refuse_bomb(path, archive)
            wrong = archive.testzip()
    except CheckpointError:
        raise
    except Exception as error:  # damaged headers raise whatever the byte happens to mean
        if 'is not a zip file' in str(error):
            raise damaged(path, f'it ends too early, after {size} bytes (truncated)') from None
        raise damaged(path, f'it is no whole zip archive ({error})') from None
    if wrong:
        raise damaged(path, f'the checksum of its part {wrong} is wrong')
    return 'verified by the CRC-32 of its records'


def refuse_bomb(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse a zip archive that would unpack to far more than its size; torch stores, and hardly
    any weights can be packed to a quarter."""
    size = path.stat().st_size
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > 4 * size + _CHUNK:
        raise CheckpointError(
            f'{path}: refused, because its {size} bytes would unpack to {unpacked}; no checkpoint '
            'can be packed so tightly.'
        )


# -- safetensors -------------------------------------------------------------------------------


def write_safetensors(
    state: Mapping[str, torch.Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """A safetensors file with the checksum of itself in its metadata."""
    from safetensors.torch import save_file

    tensors = {name: tensor.contiguous() for name, tensor in state.items()}
    with path.open('wb') as file:  # save_file lets nobody else read what it writes
        mode = os.fstat(file.fileno()).st_mode
    save_file(tensors, path, metadata={**(metadata or {}), _KEY.decode(): '0' * 64})
    with path.open('r+b') as file:
        start, _, _ = _digits_at(file)
        found = sha256_of(path)
        file.seek(start)
        file.write(found.encode())
    path.chmod(stat.S_IMODE(mode))


def _digits_at(file: BinaryIO) -> tuple[int, bytes, bytes]:
    """(offset, 64 digits, the key as it stands) in the header; offset 0 where there are none."""
    file.seek(0)
    (length,) = struct.unpack('<Q', file.read(8))
    header = file.read(min(length, 100 << 20))
    for found in _DIGITS.finditer(header):
        unequal = sum(a != b for a, b in zip(found[1], _KEY))
        if unequal <= 1:  # one character of the key may be what is damaged
            return 8 + found.start(2), found[2], found[1]
    return 0, b'', b''


def _verify_safetensors(path: Path, file: BinaryIO) -> str:
    start, digits, key = _digits_at(file)
    if not start:
        file.seek(0)
        head = file.read(1 << 20)
        if _KEY in head or re.search(rb'[0-9a-f]{63}', head):  # its quotes are damaged
            raise damaged(path, 'its header cannot be read')
        return UNVERIFIED
    digest = hashlib.sha256()
    file.seek(0)
    digest.update(file.read(start) + b'0' * 64)
    file.seek(start + 64)
    while block := file.read(_CHUNK):
        digest.update(block)
    if key != _KEY or digest.hexdigest().encode() != digits:
        raise damaged(path, 'the checksum of the file is wrong')
    return 'verified by the SHA-256 in its metadata'
