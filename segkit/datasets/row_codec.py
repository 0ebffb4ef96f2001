"""Lossless compression of pictures by bands of rows.

Each band holds the differences of its rows to the row above (the first row as it is), modulo 256,
compressed on its own. Differences of neighbouring rows are small numbers, which a fast general
compressor packs as well as PNG does; undoing them is one addition a row.

Block layout: number of bands (int32), end of each band (int32 each), bands. ``zstd`` (the optional
package ``zstandard``) decompresses several times faster than the standard library's ``zlib``.
"""

import zlib

import numpy as np

from segkit.datasets.errors import DataError

try:
    import zstandard
except ImportError:
    zstandard = None

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


def encode_rows(array: np.ndarray, codec: str) -> bytes:
    """(H, W) or (H, W, C) uint8 -> one block."""
    rows = np.ascontiguousarray(array).reshape(len(array), -1)
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
    body = memoryview(block[4 + 4 * header :])
    width = int(np.prod(shape[1:]))
    out = np.empty((stop, width), np.uint8)
    begin = 0
    for start, end in zip(range(0, stop, BAND), ends.tolist()):
        full = min(BAND, shape[0] - start)
        raw = _decompress(body[begin:end], full * width, codec)
        rows = min(BAND, stop - start)
        band = np.frombuffer(raw, np.uint8, rows * width).reshape(rows, width)
        _add_up(band, out[start : start + rows])
        begin = end
    return out.reshape(stop, *shape[1:])
