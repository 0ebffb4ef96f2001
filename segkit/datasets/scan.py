"""Listing image-label pairs of a folder tree, by directory entries alone.

``os.scandir`` tells file from folder without a stat call, so a tree of 20,000 pairs is listed in
the time its directories take to read. Paths are relative, with '/' between parts, and sorted.
"""

import os
from collections.abc import Iterable

from mmengine import fileio


def is_local(path: str) -> bool:
    """Whether a path is of the local file system rather than of a storage service."""
    return '://' not in path


def list_files(root: str, suffix: str) -> list[str]:
    """Relative paths of all files below ``root`` that end in ``suffix``, unsorted."""
    found: list[str] = []
    pending = ['']
    while pending:
        folder = pending.pop()
        with os.scandir(os.path.join(root, folder) if folder else root) as entries:
            for entry in entries:
                name = folder + entry.name
                if name.endswith(suffix) and entry.is_file():
                    found.append(name)
                elif entry.is_dir():
                    pending.append(name + '/')
    return found


def list_stems(root: str, suffix: str, backend_args: dict | None = None) -> list[str]:
    """Sorted relative paths without the suffix, local or from a storage service."""
    if is_local(root) and backend_args is None:
        names: Iterable[str] = list_files(root, suffix)
    else:
        names = fileio.list_dir_or_file(
            dir_path=root, list_dir=False, suffix=suffix, recursive=True, backend_args=backend_args
        )
    cut = -len(suffix) or None
    return sorted(name[:cut] for name in names)


def read_split(ann_file: str, backend_args: dict | None = None) -> list[str]:
    """Stems listed in a split file, one a line; blank lines are skipped.

    Lines may hold several columns (VOC's class splits): the first is the stem.
    """
    text = fileio.get_text(ann_file, backend_args=backend_args)
    return [line.split()[0] for line in text.splitlines() if line.strip()]
