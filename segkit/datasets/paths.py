"""Where the files of a data set lie."""

import os
from collections.abc import Iterator
from typing import Any


def parts_of(dataset: object) -> Iterator[object]:
    """The data sets that wrappers are made of; a plain one is its only part."""
    inner = getattr(dataset, 'datasets', None)
    wrapped = getattr(dataset, 'dataset', None)
    if inner is None and wrapped is not None:
        inner = [wrapped]
    if inner is None:
        yield dataset
        return
    for part in inner:
        yield from parts_of(part)


def files_of(dataset: Any) -> Iterator[tuple[str, str | None]]:
    """(picture, label) of every sample, in order; no label where the data set names none."""
    if not hasattr(dataset, 'get_data_info'):
        return
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        if info.get('img_path'):
            yield str(info['img_path']), info.get('seg_map_path')


def scanned_folders(dataset: object) -> Iterator[str]:
    """Folders whose every file is taken for a picture or a label: those read without a list."""
    for part in parts_of(dataset):
        prefix = getattr(part, 'data_prefix', None) or {}
        if not getattr(part, 'ann_file', ''):
            yield from (str(prefix[k]) for k in ('img_path', 'seg_map_path') if prefix.get(k))


def image_root(dataset: object) -> str | None:
    """The folder below which all pictures lie; of parts in several folders, what these share."""
    prefixes = [getattr(part, 'data_prefix', None) or {} for part in parts_of(dataset)]
    roots = {
        os.path.abspath(str(prefix['img_path'])) for prefix in prefixes if 'img_path' in prefix
    }
    try:
        return os.path.commonpath(roots) if roots else None
    except ValueError:  # on several drives
        return None
