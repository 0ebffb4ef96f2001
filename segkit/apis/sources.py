"""Where pictures come from: an array, a path, a list, a folder, a glob, a video or a generator.

Everything becomes one lazy stream of `Picture`, so that a folder of a million images or a long
video is never in memory at once.
"""

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segkit.datasets.scan import is_hidden

IMAGE_SUFFIXES = {'.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm'}
VIDEO_SUFFIXES = {'.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg'}

Source = str | Path | np.ndarray | Iterable[Any]


class Picture(NamedTuple):
    """One image to predict.

    name: its file name without suffix, or a running number; unique names are the caller's affair.
    path: its file, or None for arrays and video frames.
    array: (H, W, C) uint8 BGR, or None where the file is still to be read.
    folder: the sub-folder of the folder or glob that was given, in which it lies.
    """

    name: str
    path: str | None
    array: np.ndarray | None
    folder: str = ''


def is_single(source: Source) -> bool:
    """Whether ``source`` means one image, so that one result is given and no list."""
    if isinstance(source, np.ndarray):
        return source.ndim < 4
    return isinstance(source, (str, Path)) and not _is_many(str(source))


def pictures(source: Source) -> Iterator[Picture]:
    """The pictures of ``source``, one at a time, in order (files sorted by name).

    Raises:
        FileNotFoundError: a path that is not there, a folder or a glob without images.
        ValueError: a file that is neither an image nor a video by its suffix; a video that cannot
            be opened; something that is no source at all.
    """
    if isinstance(source, np.ndarray):
        arrays = source if source.ndim == 4 else [source]
        yield from (Picture(f'{i:06d}', None, array) for i, array in enumerate(arrays))
    elif isinstance(source, (str, Path)):
        yield from _from_path(str(source))
    elif isinstance(source, Iterable):
        for i, item in enumerate(source):
            if isinstance(item, np.ndarray):
                yield Picture(f'{i:06d}', None, item)
            else:
                yield from pictures(item)
    else:
        raise ValueError(
            f'A {type(source).__name__} is no source of images: give a path, an (H, W, 3) uint8 '
            'array in BGR order, or a list, folder, glob, video or generator of those.'
        )


def _is_many(path: str) -> bool:
    if Path(path).suffix.lower() in VIDEO_SUFFIXES or Path(path).is_dir():
        return True
    return glob.has_magic(path) and not Path(path).exists()


def _from_path(source: str) -> Iterator[Picture]:
    path = Path(source)
    if path.is_dir():
        below = (p for p in path.rglob('*') if not is_hidden(p.relative_to(path).as_posix()))
        yield from _files(below, f"the folder '{source}'", path)
    elif path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
        yield from _frames(path)
    elif path.is_file():
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            known = ', '.join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
            raise ValueError(f"'{source}' is neither an image nor a video; known are {known}.")
        yield Picture(path.stem, source, None)
    elif glob.has_magic(source):
        found = map(Path, glob.iglob(source, recursive=True))
        yield from _files(found, f"the glob '{source}'", _fixed_part(path))
    else:
        raise FileNotFoundError(f"There is no image, folder or video at '{source}'.")


def _fixed_part(pattern: Path) -> Path:
    """The folder of a glob up to its first wildcard."""
    parts = pattern.parts
    count = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return Path(*parts[:count])


def _files(paths: Iterable[Path], where: str, root: Path) -> Iterator[Picture]:
    found = sorted(path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise FileNotFoundError(
            f'No image in {where}; looked for {", ".join(sorted(IMAGE_SUFFIXES))}.'
        )
    for path in found:
        below = path.parent.relative_to(root) if path.is_relative_to(root) else Path()
        yield Picture(path.stem, str(path), None, str(below) if below.parts else '')


def _frames(path: Path) -> Iterator[Picture]:
    import cv2

    video = cv2.VideoCapture(str(path))
    if not video.isOpened():
        raise ValueError(
            f"The video '{path}' cannot be opened; is it complete, is its codec known?"
        )
    number = 0
    while True:
        there, frame = video.read()
        if not there:
            break
        yield Picture(f'{path.stem}_{number:06d}', None, frame)
        number += 1
    video.release()
    if number == 0:
        raise ValueError(f"The video '{path}' has no frame that can be read.")
