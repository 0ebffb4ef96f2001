"""The list of a dataset's pairs kept in a file, for folders that are slow to list (network disks).

The file holds the settings it was made with and the modification time of every folder read and
of the split file; a folder's time changes when a file is added or removed. If anything differs the
folders are listed again and the file is replaced.
"""

import json
import os
from collections.abc import Callable

from mmengine.logging import print_log

from segkit.whole_file import write_text


def _times(paths: list[str]) -> dict[str, int]:
    return {path: os.stat(path).st_mtime_ns for path in paths}


def _load(path: str, settings: dict) -> list[str] | None:
    """The stored stems if they are still those of these settings."""
    try:
        with open(path, encoding='utf-8') as file:
            stored = json.load(file)
        if stored['settings'] == settings and stored['times'] == _times(list(stored['times'])):
            return stored['stems']
    except (OSError, ValueError, KeyError, TypeError):
        pass  # missing, damaged or of another shape: listing again is always right
    return None


def stems_through_cache(
    path: str | None, settings: dict, find: Callable[[list[str]], list[str]]
) -> list[str]:
    """``find(folders)``, or what it gave last time if nothing has changed since.

    Args:
        path: of the file; ``None`` always searches.
        settings: what the result depends on; ``ann_file`` among them is watched too.
        find: lists the stems, appending the folders it reads to its argument.
    """
    stems = _load(path, settings) if path else None
    if stems is not None:
        return stems
    folders: list[str] = []
    stems = find(folders)
    if path and folders:
        watched = folders + ([settings['ann_file']] if settings['ann_file'] else [])
        try:
            content = dict(settings=settings, times=_times(watched), stems=stems)
            write_text(path, json.dumps(content))
        except OSError as error:
            print_log(f'{path}: the index cache cannot be written ({error}).', 'current', 30)
    return stems
