"""Decoded pictures on disk, so that training never decodes a PNG again.

Two formats, one folder each (written by ``tools/cache_dataset.py``):

    raw    the bytes of the arrays, memory-mapped: a crop touches only the rows above its end
    rows   differences to the row above, in bands of 64 rows, compressed one by one: lossless, no
           larger than the PNGs, and only the bands that a crop can see are decompressed

    cache.json   version, format, codec, number of samples, how the label files were read, checksum
                 of the index
    index.npy    one record a sample, sorted by key
    data.bin     images and labels, one after the other, with a checksum for each 64 rows

A record holds size and time of the two source files: a sample whose files have changed since is an
error when the dataset is made, not a surprise in its results. Labels are stored as on disk, before
``reduce_zero_label`` and ``label_map``, so that one cache serves every setting of those. What does
enter them, the palette of labels painted in colours, is compared too. What a disk has damaged since
is an error that names the picture, when its rows are read.
"""

import os
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from segkit import storage
from segkit.command import command
from segkit.datasets.row_codec import CODECS, DamagedBlockError, checksum, decode_rows
from segkit.errors import DataError, UserError
from segkit.json_file import read_json
from segkit.table_file import read_table

VERSION = 3  # 2 had no checksums
INDEX_DTYPE = np.dtype(
    [
        ('key', '<u8'),
        ('offset', '<i8', 2),  # image, label
        ('nbytes', '<i8', 2),
        ('shape', '<i4', 3),  # height, width, channels
        ('source_size', '<i8', 2),
        ('source_time', '<i8', 2),  # nanoseconds
    ]
)


def sample_key(img_path: str, data_root: str) -> int:
    """64 bits that name a sample by its path below the data root, wherever that lies."""
    relative = os.path.relpath(img_path, data_root) if data_root else img_path
    return int.from_bytes(
        blake2b(relative.encode('utf-8', 'surrogateescape'), digest_size=8).digest(), 'little'
    )


def source_stamp(info: dict) -> tuple[list[int], list[int]]:
    """Sizes and modification times of the sample's image and label file (0 without a label)."""
    paths = [info['img_path'], info.get('seg_map_path')]
    stamps = [_stamp(path) if path else (0, 0) for path in paths]
    return [size for size, _ in stamps], [time for _, time in stamps]


def _stamp(path: str) -> tuple[int, int]:
    """Size and time of a file; of an object, which has no time to trust, a hash of its version."""
    if storage.is_remote(path):
        size, _, tag = storage.version_of(path).partition('-')
        return int(size or 0), int(tag or '0', 16)
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


def label_reading(info: Mapping[str, Any]) -> dict[str, Any]:
    """How a sample's label file becomes numbers, as ``cache.json`` holds it."""
    if 'label_palette' not in info:
        return dict(label_format='index')
    palette, ignored = (
        [[int(level) for level in colour] for colour in info.get(key) or ()]
        for key in ('label_palette', 'ignored_colours')
    )
    reading = dict(label_format='rgb', palette=palette, ignored_colours=sorted(ignored))
    return {**reading, 'ignore_index': info.get('ignore_index', 255)} if ignored else reading


def file_checksum(path: Path) -> str:
    """Of a file's bytes, as text, since JSON's numbers may lose digits."""
    return f'{checksum(np.fromfile(path, np.uint8)):016x}'


class CacheEntry:
    """One sample of a cache."""

    color_types = ('color',)  # of LoadImageFromFile, for which this is the image as stored

    def __init__(
        self, img_path: str, data: np.ndarray, record: np.void, codec: str | None, folder: Path
    ) -> None:
        self._img_path, self._folder = img_path, folder
        self._data, self._record, self._codec = data, record, codec

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return int(self._record['shape'][0]), int(self._record['shape'][1])

    def image(self, stop: int | None = None) -> np.ndarray:
        """The first ``stop`` rows, or all: (h, W, 3) uint8 BGR, read-only when memory-mapped."""
        return self._read(0, tuple(int(n) for n in self._record['shape']), stop)

    def label(self) -> np.ndarray:
        """(H, W) uint8 as stored in the label file."""
        return self._read(1, self.shape, None)

    def _read(self, which: int, shape: tuple[int, ...], stop: int | None) -> np.ndarray:
        offset, nbytes = int(self._record['offset'][which]), int(self._record['nbytes'][which])
        try:
            return decode_rows(self._data[offset : offset + nbytes], shape, stop, self._codec)
        except DamagedBlockError as error:
            what = ('image', 'label')[which]
            problem = f'its {what} in the cache {self._folder}/data.bin is not what was written'
            raise DataError(self._img_path, f'{problem} ({error})', _rebuild()) from error


class DecodedCache:
    """A folder of decoded samples; looks them up by path.

    Args:
        folder: what ``tools/cache_dataset.py`` wrote.
        data_root: of the dataset; samples are named relative to it.
    """

    def __init__(self, folder: str, data_root: str) -> None:
        self.folder, self.data_root = Path(folder), data_root
        try:
            self.meta = read_json(self.folder / 'cache.json')
            version, codec = self.meta['version'], self.meta['codec']
            sound = codec in CODECS and file_checksum(self.folder / 'index.npy') == self.meta.get(
                'index'
            )
            if not (self.folder / 'data.bin').stat().st_size:
                raise UserError('data.bin is empty')
            if not isinstance(self.meta.setdefault('labels', {}), dict):
                raise UserError('cache.json does not say how labels were read')
            self.index = read_table(self.folder / 'index.npy', INDEX_DTYPE)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                str(folder), f'this is no complete cache ({error})', _rebuild()
            ) from error
        if version != VERSION or not sound:
            problem = 'its index is damaged' if version == VERSION else 'it is of another version'
            raise DataError(str(folder), f'this cache cannot be used: {problem}', _rebuild())
        # Mapped on first use, so that each worker has its own mapping of the same pages.
        self._data: np.ndarray | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_data': None}

    def _position(self, img_path: str) -> int:
        key = sample_key(img_path, self.data_root)
        place = int(np.searchsorted(self.index['key'], np.uint64(key)))
        if place == len(self.index) or int(self.index['key'][place]) != key:
            raise DataError(img_path, f'this image is not in the cache {self.folder}', _rebuild())
        return place

    def entry(self, img_path: str) -> CacheEntry:
        """The sample with this image path."""
        if self._data is None:
            self._data = np.memmap(self.folder / 'data.bin', np.uint8, mode='r')
        record = self.index[self._position(img_path)]
        return CacheEntry(img_path, self._data, record, self.meta['codec'], self.folder)

    def check(self, infos: Iterable[dict], reading: dict[str, object]) -> None:
        """Every sample is in the cache, with source files as they were when it was written.

        Args:
            reading: ``label_reading`` of the dataset, which must be that of the cache.
        """
        self._check_reading(reading)
        for info in infos:
            record = self.index[self._position(info['img_path'])]
            sizes, times = source_stamp(info)
            labelled = 2 if info.get('seg_map_path') else 1
            same = np.array_equal(record['source_size'][:labelled], sizes[:labelled])
            if not same or not np.array_equal(record['source_time'][:labelled], times[:labelled]):
                changed = f'image or label changed after the cache {self.folder} was written'
                raise DataError(info['img_path'], changed, _rebuild())

    def _check_reading(self, reading: dict[str, object]) -> None:
        written = self.meta['labels']
        for name, wanted in reading.items():
            if written.get(name) != wanted:
                found = (
                    f'with {name}={written[name]}' if name in written else f'with an unknown {name}'
                )
                raise DataError(
                    str(self.folder),
                    f'the labels of this cache were read {found}, and this dataset reads them with '
                    f'{name}={wanted}',
                    _rebuild(),
                )


def _rebuild() -> str:
    return f'Write the cache again with `{command("cache_dataset", "CONFIG FOLDER")}`.'
