"""Writing a decoded cache; the formats are described in ``cache.py``."""

import json
import os
import shutil
from pathlib import Path

import numpy as np

from segkit.datasets.base import BaseSegDataset
from segkit.datasets.cache import (
    INDEX_DTYPE,
    VERSION,
    file_checksum,
    label_reading,
    sample_key,
    source_stamp,
)
from segkit.datasets.parallel import Failure, parallel
from segkit.datasets.row_codec import best_codec, encode_rows
from segkit.datasets.transforms.loading import LoadAnnotations, LoadImageFromFile, check_same_size
from segkit.errors import DataError, UserError
from segkit.outputs import OutputError

FILES = {'cache.json', 'data.bin', 'index.npy'}
FORMATS = ('raw', 'rows')


def _encode_sample(job: tuple[dict, str, str | None]) -> tuple[tuple, list[bytes]]:
    """One sample decoded and encoded: (index fields but for the offsets, two blocks)."""
    info, data_root, codec = job
    stamp = source_stamp(info)
    image = LoadImageFromFile().read(info)
    if image.dtype != np.uint8 or image.ndim != 3:
        cure = 'Leave this dataset uncached.'
        raise DataError(info['img_path'], f'only 8-bit colour is cached, not {image.dtype}', cure)
    arrays = [image]
    if info.get('seg_map_path'):
        label = LoadAnnotations().read(info)
        if label.dtype != np.uint8:
            cure = 'Leave this dataset uncached.'
            raise DataError(info['seg_map_path'], f'labels are {label.dtype}, not bytes', cure)
        check_same_size({**info, 'ori_shape': image.shape[:2]}, label.shape)
        arrays.append(label)
    blocks = [encode_rows(array, codec) for array in arrays]
    return (sample_key(info['img_path'], data_root), image.shape, *stamp), blocks


def write_cache(
    dataset: BaseSegDataset,
    folder: str | Path,
    kind: str = 'raw',
    workers: int | None = 0,
    codec: str | None = None,
) -> int:
    """Decode every sample of a dataset into ``folder``; returns the bytes written.

    Written beside and moved into place at the end: a folder that exists is a complete cache.

    Args:
        kind: ``'raw'`` or ``'rows'``.
        codec: of ``'rows'``: ``'zstd'`` or ``'zlib'``, by default the best installed.
    """
    if kind not in FORMATS:
        raise UserError(f'The format of a cache must be one of {FORMATS}, not {kind!r}.')
    codec = (codec or best_codec()) if kind == 'rows' else None
    folder = Path(folder)
    _refuse_other_folder(folder)
    unfinished = folder.with_name(f'{folder.name}.{os.getpid()}.tmp')
    unfinished.mkdir(parents=True)
    try:
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        for info in infos:
            info.pop('cache_entry', None)
        jobs = [(info, dataset.data_root, codec) for info in infos]
        written = _write_files(unfinished, jobs, workers)
        labels = label_reading(infos[0]) if infos else {}
        meta = dict(version=VERSION, format=kind, codec=codec, samples=len(jobs), labels=labels)
        meta['index'] = file_checksum(unfinished / 'index.npy')
        (unfinished / 'cache.json').write_text(json.dumps(meta))
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return written


def _refuse_other_folder(folder: Path) -> None:
    """Only a cache is taken away for a new one, and a folder without anything in it."""
    if not os.path.lexists(folder):
        return
    found = set(os.listdir(folder)) if folder.is_dir() and not folder.is_symlink() else {'a file'}
    if found and (found - FILES or 'cache.json' not in found):
        raise OutputError(
            f'{folder}: is there already and no cache (it holds {sorted(found - FILES)[:1]}), so '
            'it is left as it is. Choose another folder'
        )


def _write_files(folder: Path, jobs: list, workers: int | None) -> int:
    index = np.zeros(len(jobs), INDEX_DTYPE)
    end = 0
    with open(folder / 'data.bin', 'wb') as file:
        encoded = parallel(_encode_sample, jobs, 'samples', workers)
        for record, result in zip(index, encoded, strict=True):
            if isinstance(result, Failure):
                raise DataError(result.reason.removeprefix('DataError: '))
            fields, blocks = result
            record['key'], record['shape'], record['source_size'], record['source_time'] = fields
            for which, block in enumerate(blocks):
                record['offset'][which], record['nbytes'][which] = end, len(block)
                end += file.write(block + bytes(-len(block) % 8))  # words are read where they lie
        file.flush()
        os.fsync(file.fileno())
    np.save(folder / 'index.npy', np.sort(index, order='key'))
    return end
