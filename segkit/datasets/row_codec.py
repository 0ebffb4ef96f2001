"""Lossless compression of pictures by bands of rows.

A row of a colour picture is written plane after plane, blue and red as their difference to green:
the planes of a photograph resemble each other, which PNG does not use. Each band then holds the
differences of its rows to the row above (the first row as it is), compressed on its own. All
differences are modulo 256; undoing them is one addition a row and one a plane. A fast general
compressor packs such rows of photographs into 0.8 to 1.0 of the size of their PNGs.

Block layout: number of bands (int32), end of each band (int32 each), bands. ``zstd`` (the optional
package ``zstandard``) decompresses several times faster than the standard library's ``zlib``.
"""

import zlib

import cv2
import numpy as np

from segkit.datasets.errors import DataError

try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]  # what is asked for later

BAND = 64
_decompressors: dict = {}


def best_codec() -> str:
    """``'zstd'`` where it is installed, else ``'zlib'``."""
    return 'zlib' if zstandard is None else 'zstd'


def _compress(data: bytes, codec: str) -> bytes:
    return zstandard.compress(data, 1) if codec == 'zstd' else zlib.compress(data, 6)


def _decompress(data: memoryview, size: int, codec: str) -> bytes:
    if codec == 'zlib':
        return zlib.decompress(data, bufsize=size)
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


def encode_rows(array: np.ndarray, codec: str) -> bytes:
    """(H, W) or (H, W, C) uint8 -> one block."""
    rows = _to_rows(array)
    bands = []
    for start in range(0, len(rows), BAND):
        band = rows[start : start + BAND].copy()
        band[1:] -= rows[start : start + BAND][:-1]
        bands.append(_compress(band.tobytes(), codec))
    ends = np.cumsum([len(band) for band in bands]).astype('<i4')
    return b''.join([np.int32(len(bands)).astype('<i4').tobytes(), ends.tobytes(), *bands])


def _add_up(differences: np.ndarray, out: np.ndarray) -> None:
    """Running sum over rows, modulo 256. Row by row: np.add.accumulate is 70 times slower."""
    out[0] = differences[0]
    for row in range(1, len(out)):
        np.add(out[row - 1], differences[row], out=out[row])


def decode_rows(
    block: np.ndarray, shape: tuple[int, ...], stop: int | None, codec: str
) -> np.ndarray:
    """The first ``stop`` rows (all by default) of a block of :func:`encode_rows`."""
    stop = shape[0] if stop is None else min(stop, shape[0])
    header = block[:4].view('<i4')[0]
    ends = block[4 : 4 + 4 * header].view('<i4')
    body = block[4 + 4 * header :].data
    width = int(np.prod(shape[1:]))
    out = np.empty((stop, *shape[1:]), np.uint8)
    sums = np.empty((BAND, width), np.uint8)  # of one band: stays in the processor's cache
    begin = 0
    for start, end in zip(range(0, stop, BAND), ends.tolist()):
        full = min(BAND, shape[0] - start)
        raw = _decompress(body[begin:end], full * width, codec)
        rows = min(BAND, stop - start)
        band = np.frombuffer(raw, np.uint8, rows * width).reshape(rows, width)
        _add_up(band, sums[:rows])
        _from_rows(sums[:rows], out[start : start + rows])
        begin = end
    return out
