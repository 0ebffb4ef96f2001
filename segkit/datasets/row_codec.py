"""Lossless compression of pictures by bands of rows.

A row of a colour picture is written plane after plane, blue and red as their difference to green:
the planes of a photograph resemble each other, which PNG does not use. Each band then holds the
differences of its rows to the row above (the first row as it is), compressed on its own. All
differences are modulo 256; undoing them is one addition a row and one a plane. A fast general
compressor packs such rows of photographs into 0.8 to 1.0 of the size of their PNGs.

Block layout, for a picture of n bands: checksum of what follows up to the bands, end of each band,
checksum of each band as stored (64 bits each), bands. What is read is checked first; what is not
read costs nothing. Without a codec the bands are the rows as they are, so that a picture is one
piece of the file. ``zstd`` (the optional package ``zstandard``) decompresses several times faster
than the standard library's ``zlib``.
"""

import zlib

import cv2
import numpy as np

from segkit.errors import DataError

try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]  # what is asked for later

BAND = 64
CODECS = (None, 'zlib', 'zstd')
_decompressors: dict = {}
_weights = np.arange(1, 2, 2, dtype=np.uint64)


class DamagedBlockError(ValueError):
    """A block does not hold what was written."""


def checksum(data: np.ndarray) -> int:
    """64 bits of bytes: the sum of their 8-byte words, each times an odd weight of its place.

    Any change of one word shows, and any exchange of two; of other damage all but one in 2**64. A
    third of the time of a CRC-32.
    """
    global _weights
    whole = len(data) // 8
    if len(_weights) <= whole:
        _weights = np.arange(1, 2 * (whole + 1024), 2, dtype=np.uint64)
    words = data[: 8 * whole].view('<u8')
    rest = int.from_bytes(data[8 * whole :].tobytes(), 'little')
    total = int(np.dot(words, _weights[:whole])) + rest * int(_weights[whole]) + len(data)
    return total & ((1 << 64) - 1)


def best_codec() -> str:
    """``'zstd'`` where it is installed, else ``'zlib'``."""
    return 'zlib' if zstandard is None else 'zstd'


def _compress(data: bytes, codec: str) -> bytes:
    return zstandard.compress(data, 1) if codec == 'zstd' else zlib.compress(data, 6)


def _decompress(data: np.ndarray, size: int, codec: str) -> bytes:
    """At most ``size`` bytes of a band."""
    if codec == 'zlib':
        return zlib.decompressobj().decompress(data.data, size)
    if zstandard is None:
        cure = "Install it (pip install zstandard), or write the cache again with codec 'zlib'."
        raise DataError('cache', 'it is compressed by zstd, which is not installed', cure)
    if 'zstd' not in _decompressors:  # making one costs more than a band
        _decompressors['zstd'] = zstandard.ZstdDecompressor()
    return _decompressors['zstd'].decompress(data, max_output_size=size)


def _to_rows(array: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, C) -> (H, W * C), colours as planes and less green."""
    if array.ndim == 3 and array.shape[2] == 3:
        array = array.copy()
        array[..., 0] -= array[..., 1]
        array[..., 2] -= array[..., 1]
        array = array.transpose(0, 2, 1)
    return np.ascontiguousarray(array).reshape(len(array), -1)


def _from_rows(rows: np.ndarray, out: np.ndarray) -> None:
    """The inverse of :func:`_to_rows`, into (h, W) or (h, W, C)."""
    if out.ndim < 3 or out.shape[2] != 3:
        out[:] = rows.reshape(out.shape)
        return
    blue, green, red = rows.reshape(len(rows), 3, -1).transpose(1, 0, 2)
    cv2.merge([np.add(blue, green), green, np.add(red, green)], out)


def encode_rows(array: np.ndarray, codec: str | None) -> bytes:
    """(H, W) or (H, W, C) uint8 -> one block."""
    bands = []
    rows = np.ascontiguousarray(array).reshape(len(array), -1) if codec is None else _to_rows(array)
    for start in range(0, len(rows), BAND):
        band = rows[start : start + BAND]
        if codec is None:
            bands.append(band.reshape(-1))
            continue
        band = band.copy()
        band[1:] -= rows[start : start + BAND][:-1]
        bands.append(np.frombuffer(_compress(band.tobytes(), codec), np.uint8))
    ends = np.cumsum([len(band) for band in bands])
    table = np.concatenate([ends.astype('<u8'), np.array([*map(checksum, bands)], '<u8')])
    whole = np.array([checksum(table.view(np.uint8))], '<u8')
    return b''.join([whole.tobytes(), table.tobytes(), *(band.tobytes() for band in bands)])


def _add_up(differences: np.ndarray, out: np.ndarray) -> None:
    """Running sum over rows, modulo 256. Row by row: np.add.accumulate is 70 times slower."""
    out[0] = differences[0]
    for row in range(1, len(out)):
        np.add(out[row - 1], differences[row], out=out[row])


def _table(block: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ends and checksums of the bands of a block, and the bands."""
    size = 8 + 16 * count
    table = block[8:size]
    if len(block) < size or checksum(table) != int(block[:8].view('<u8')[0]):
        raise DamagedBlockError('its table of contents is damaged')
    ends, sums = table.view('<u8').reshape(2, count)
    return ends.astype(np.int64), sums, block[size:]


def decode_rows(
    block: np.ndarray, shape: tuple[int, ...], stop: int | None, codec: str | None
) -> np.ndarray:
    """The first ``stop`` rows (all by default) of a block of :func:`encode_rows`.

    Without a codec they are a view of the block. Raises DamagedBlockError, naming the rows.
    """
    stop = shape[0] if stop is None else min(stop, shape[0])
    ends, sums, body = _table(block, -(-shape[0] // BAND))
    width = int(np.prod(shape[1:]))
    out = None if codec is None else np.empty((stop, *shape[1:]), np.uint8)
    running = np.empty((BAND, width), np.uint8)  # of one band: stays in the processor's cache
    begin = 0
    for start, end, wanted in zip(range(0, stop, BAND), ends.tolist(), sums.tolist()):
        band = body[begin:end]
        if checksum(band) != wanted:
            raise DamagedBlockError(f'its rows from {start} on are damaged')
        begin = end
        if codec is None or out is None:
            continue
        size = min(BAND, shape[0] - start) * width
        raw = _decompress(band, size, codec)
        if len(raw) != size:
            raise DamagedBlockError(f'its rows from {start} on are damaged')
        rows = min(BAND, stop - start)
        _add_up(np.frombuffer(raw, np.uint8, rows * width).reshape(rows, width), running[:rows])
        _from_rows(running[:rows], out[start : start + rows])
    return body[: stop * width].reshape(stop, *shape[1:]) if out is None else out
