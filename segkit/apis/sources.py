"""Where pictures come from: array, path, list, folder, glob, object store, shards, video, camera,
stream or generator.

Everything becomes one lazy stream of `Picture`, so that a folder of a million images or a long
video is never in memory at once.
"""

import codecs
import glob
import os
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from segkit import storage
from segkit.datasets.scan import is_hidden, is_new
from segkit.errors import UserError

IMAGE_SUFFIXES = {'.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm'}
LIST_SUFFIX = '.txt'  # of paths, one a line
VIDEO_SUFFIXES = {'.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg'}

_TENSOR_CURE = ' Of a (3, H, W) RGB tensor of 0-255: t.permute(1, 2, 0).flip(2).byte().numpy().'

if TYPE_CHECKING:
    from PIL.Image import Image
    from typing_extensions import TypeIs
_STREAM = re.compile(r'(rtsp|rtsps|rtmp|http|https|udp|tcp|srt)://', re.I)

Source = str | Path | np.ndarray | Iterable[object]


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
    if _is_picture(source):
        return True
    if isinstance(source, np.ndarray):
        return source.ndim < 4
    return isinstance(source, (str, Path)) and not _is_many(str(source))


def pictures(source: Source) -> Iterator[Picture]:
    """The pictures of ``source``, one at a time, in order (files sorted by name).

    Arrays and lists are looked at now, folders, videos and generators as they are read.

    Raises:
        FileNotFoundError: a path that is not there, a folder or a glob without images.
        ValueError: a file that is neither an image nor a video by its suffix; a video, a camera
            ('0') or a stream ('rtsp://...') that cannot be opened; what is no source at all.
    """
    if isinstance(source, (str, Path)):
        return _from_path(str(source))
    if _is_picture(source):
        return iter([Picture('000000', None, _array(source, 'the image'))])
    if isinstance(source, np.ndarray):
        return _numbered(list(source) if source.ndim == 4 else [source])
    if not isinstance(source, Iterable) or isinstance(source, (bytes, dict)) or _is_tensor(source):
        raise UserError(
            f'A {type(source).__name__} is no source of images: give a path, an (H, W, 3) uint8 '
            f'array in BGR order, a PIL image, or a list, folder, glob, video or generator of '
            f'those.{_TENSOR_CURE if _is_tensor(source) else ""}'
        )
    return _numbered(source)


def _numbered(items: Iterable[object]) -> Iterator[Picture]:
    """Pictures of many items: those of a list now, of anything else one by one."""
    parts = (_item(i, item) for i, item in enumerate(items))
    return chain.from_iterable(list(parts) if isinstance(items, (list, tuple)) else parts)


def _item(number: int, item: object) -> Iterable[Picture]:
    if _is_picture(item) or (isinstance(item, np.ndarray) and item.ndim != 4):
        return [Picture(f'{number:06d}', None, _array(item, f'image {number}'))]
    return pictures(cast(Source, item))


def _is_picture(item: object) -> 'TypeIs[Image]':
    """Whether it is an image of Pillow, which may not have been imported at all."""
    return hasattr(item, 'getbands') and hasattr(item, 'convert')


def _is_tensor(item: object) -> bool:
    return hasattr(item, 'numpy') and hasattr(item, 'permute')


def _array(item: 'np.ndarray | Image', name: str) -> np.ndarray:
    """(H, W) or (H, W, C) uint8 BGR of an array or a PIL image.

    Raises:
        ValueError: it is none, or has no pixel; says which and what to give instead.
    """
    if _is_picture(item):
        return _of_pillow(item, name)
    shape = item.shape
    if item.dtype != np.uint8 or item.ndim not in (2, 3):
        raise UserError(
            f'{name}: an array of an image is (H, W) or (H, W, C) uint8 in BGR order, got '
            f'{item.dtype} of shape {shape}.'
        )
    if 0 in shape:
        raise UserError(f'{name}: an array of shape {shape} is empty.')
    if item.ndim == 3 and shape[0] in (1, 3, 4) and shape[2] > 4 and shape[1] > 4:
        raise UserError(
            f'{name}: an array of shape {shape} has its channels first; (H, W, C) is wanted: '
            'array.transpose(1, 2, 0).'
        )
    grey = item.ndim == 3 and shape[2] == 1
    return np.ascontiguousarray(item[..., 0] if grey else item)  # a view such as img[..., ::-1]


def _of_pillow(image: 'Image', name: str) -> np.ndarray:
    """As the file it came from would be read: upright, without transparency."""
    from PIL import ImageOps

    if image.mode in ('I', 'F') or image.mode.startswith('I;'):
        raise UserError(
            f'{name}: a PIL image of mode {image.mode} holds other than 8-bit values; give its '
            'path, or an array scaled to uint8.'
        )
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ('1', 'L'):
        return np.asarray(upright.convert('L'))
    return np.ascontiguousarray(np.asarray(upright.convert('RGB'))[..., ::-1])


def is_live(source: object) -> bool:
    """Whether it is the number of a camera or the address of a stream, which may have no end."""
    text = str(source) if isinstance(source, (str, Path)) else ''
    return bool(_STREAM.match(text)) or (text.isdigit() and not Path(text).exists())


def _is_many(path: str) -> bool:
    if is_live(path):
        return True
    if storage.is_remote(path):
        return Path(path).suffix.lower() not in IMAGE_SUFFIXES
    if Path(path).suffix.lower() in {*VIDEO_SUFFIXES, LIST_SUFFIX} or Path(path).is_dir():
        return True
    return glob.has_magic(path) and not Path(path).exists()


def _from_path(source: str) -> Iterator[Picture]:
    path = Path(source)
    if is_live(source):
        yield from _frames(int(source) if source.isdigit() else source, 'frame')
    elif storage.is_remote(source):
        yield from _of_store(source)
    elif path.is_dir():
        below = _below(str(path), '', {os.path.realpath(path)})
        yield from _some(below, f"the folder '{source}'")
    elif path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
        yield from _frames(str(path), path.stem)
    elif path.suffix.lower() == LIST_SUFFIX and path.is_file():
        yield from _some(_listed(path), f"the list '{source}'")
    elif path.is_file():
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            known = ', '.join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
            raise UserError(f"'{source}' is neither an image nor a video; known are {known}.")
        yield Picture(path.stem, source, None)
    elif glob.has_magic(source):
        yield from _some(_of_glob(path), f"the glob '{source}'")
    else:
        raise FileNotFoundError(f"There is no image, folder or video at '{source}'.")


def _below(root: str, folder: str, seen: set[str]) -> Iterator[Picture]:
    """The pictures of a folder in the order of their paths; the names of one folder at a time are
    in memory. A folder that a link leads to is read as well, once: ``seen`` holds real paths."""
    with os.scandir(os.path.join(root, folder)) as entries:
        # Hidden names are no pictures.
        names = sorted(
            entry.name + ('/' if _is_folder(entry, seen) else '')
            for entry in entries
            if entry.name[0] != '.'
        )
    if any(name[-1] == '/' for name in names):  # sorted as paths: by the name without the slash
        names.sort(key=lambda name: name.removesuffix('/'))
    for name in names:
        if name[-1] == '/':
            yield from _below(root, folder + name, seen)
        elif is_picture(name):
            yield _picture(os.path.join(root, folder + name), folder)


def _is_folder(entry: os.DirEntry, seen: set[str]) -> bool:
    """Whether it is a folder to read; a link to one that is read anyway is not."""
    if not entry.is_symlink():
        return entry.is_dir()
    return entry.is_dir() and is_new(os.path.realpath(entry.path), seen)


def is_picture(name: str) -> bool:
    """By its suffix."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _picture(path: str, folder: str) -> Picture:
    """Its folder leads nowhere else: results are written into folders of the same names."""
    parts = [part for part in folder.split('/') if part not in ('', '.', '..')]
    return Picture(os.path.splitext(path.rpartition('/')[2])[0], path, None, '/'.join(parts))


def _listed(file: Path) -> Iterator[Picture]:
    """The pictures that a text file names, a path or an address a line, in its order.

    Their folders are kept as the lines have them.
    """
    with open(file, 'rb') as start:
        wide = start.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    code = ('utf-16', 'strict') if wide else ('utf-8-sig', 'surrogateescape')
    with open(file, encoding=code[0], errors=code[1]) as lines:
        for number, line in enumerate(lines, 1):
            path = line.strip()
            if not path:
                continue
            if not is_picture(path):
                known = ', '.join(sorted(IMAGE_SUFFIXES))
                raise UserError(f'{file}:{number}: {path} is no picture; known are {known}.')
            yield _picture(path, path.rpartition('://')[2].rpartition('/')[0])


def _of_store(address: str) -> Iterator[Picture]:
    """The pictures below an address of a store or of shards, or the one that it is."""
    if is_picture(address):
        yield _picture(address, '')
        return
    names = sorted(n for n in storage.list_folder(address) if is_picture(n) and not is_hidden(n))
    root = address.rstrip('/')
    found = (_picture(f'{root}/{name}', name.rpartition('/')[0]) for name in names)
    yield from _some(found, address)


def _some(found: Iterator[Picture], where: str) -> Iterator[Picture]:
    """``found``, of which there must be one."""
    first = next(found, None)
    if first is None:
        raise FileNotFoundError(
            f'No image in {where}; looked for {", ".join(sorted(IMAGE_SUFFIXES))}.'
        )
    yield first
    yield from found


def _of_glob(pattern: Path) -> Iterator[Picture]:
    """Folders count from the one of the pattern that has its first wildcard."""
    fixed = next((i for i, part in enumerate(pattern.parts) if glob.has_magic(part)), None)
    root = Path(*pattern.parts[:fixed])
    found = map(Path, glob.iglob(str(pattern), recursive=True))
    for path in sorted(path for path in found if is_picture(path.name)):
        below = path.parent.relative_to(root) if path.is_relative_to(root) else Path()
        yield Picture(path.stem, str(path), None, str(below) if below.parts else '')


def _frames(place: str | int, name: str) -> Iterator[Picture]:
    """The frames of a video's file, of a stream by its address, or of a camera by its number."""
    import cv2

    what = f"The video '{place}'" if isinstance(place, str) else f'The camera {place}'
    video = cv2.VideoCapture(place)
    if not video.isOpened():
        raise UserError(
            f'{what} cannot be opened; is it there and complete, is its codec known to OpenCV?'
        )
    number = 0
    try:
        while True:
            there, frame = video.read()
            if not there:
                break
            yield Picture(f'{name}_{number:06d}', None, frame)
            number += 1
    finally:
        video.release()
    if number == 0:
        raise UserError(f'{what} has no frame that can be read.')


def frame_rate(source: object) -> float | None:
    """Frames a second of a video's file; None where it is none, or does not say."""
    import cv2

    if is_live(source) or not isinstance(source, (str, Path)) or not Path(source).is_file():
        return None
    video = cv2.VideoCapture(str(source))
    rate = video.get(cv2.CAP_PROP_FPS)
    video.release()
    return rate if 0 < rate < 1000 else None
