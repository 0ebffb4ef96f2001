"""Bytes of an image file -> array, by the fastest decoder that gives OpenCV's very pixels.

Most of the time of a Cityscapes sample is PNG decoding. ``pyspng`` (libspng) decodes 8-bit RGB and
gray PNGs 1.4 times faster than OpenCV to the same bytes, and stops after the rows that are
wanted; it is used when it is installed, and only for such files. Everything else goes to OpenCV,
or, for palette images, to Pillow: OpenCV expands a palette into colours, Pillow keeps the indices,
which are the labels.

Pictures stand upright: OpenCV turns them as EXIF says (``orientation``, 1 to 8, 1 upright), and
what it leaves as stored, pictures read unchanged and labels, is turned here by their own.
``picture_header`` says of a file without decoding it how many bits it has, and which way it stands.
"""

import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import cv2
import numpy as np
from PIL import ExifTags, Image

from segkit import storage
from segkit.datasets.tiff import TIFF, bits_of_tiff, unread_tiff

try:
    import pyspng
except ImportError:
    pyspng = None

PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_GRAY, _RGB = 0, 2
# An escape hatch, and what the benchmark uses to measure the stock decoder.
FAST_PNG = pyspng is not None and os.environ.get('SEGKIT_FAST_PNG', '1') != '0'

_LARGEST = 1 << 28  # pixels of a picture that is decoded however tightly it is packed
_MOST = 1 << 30  # pixels, of OpenCV
_TIGHTEST = 100  # pixels that a byte of a larger one may stand for

IMAGE_FLAGS = {
    'color': cv2.IMREAD_COLOR,
    'grayscale': cv2.IMREAD_GRAYSCALE,
    'unchanged': cv2.IMREAD_UNCHANGED,
}


def png_kind(data: bytes) -> tuple[int, int] | None:
    """(bits of a sample, colour type) from a PNG's header, or None for other files."""
    if data[:8] != PNG_SIGNATURE or len(data) < 26:
        return None
    return data[24], data[25]


def exif_of_png(file: BinaryIO) -> bytes | None:
    """Its eXIf chunk, found from chunk to chunk: the name alone may stand among compressed bytes,
    by chance in one of some hundred large files."""
    file.seek(len(PNG_SIGNATURE))
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack('>I4s', head)
        if name == b'eXIf':
            return file.read(length)
        file.seek(length + 4, os.SEEK_CUR)
    return None


def _has_exif(data: bytes) -> bool:
    if data[:2] == b'\xff\xd8':
        return b'Exif\0\0' in data[: 1 << 17]
    if data[:8] == PNG_SIGNATURE:
        return b'eXIf' in data and exif_of_png(io.BytesIO(data)) is not None
    return data[:4] in TIFF or (data[:4] == b'RIFF' and b'EXIF' in data)


class DecodeError(ValueError):
    """Bytes that are no picture to read as asked; ``cure`` says what to do about it."""

    def __init__(self, problem: str, cure: str) -> None:
        super().__init__(problem)
        self.cure = cure


def orientation(data: bytes) -> int | None:
    """The EXIF orientation of a JPEG, PNG, WebP or TIFF, None without one."""
    if not _has_exif(data):
        return None
    try:
        file = io.BytesIO(data)
        return _turn(_parsed(exif_of_png(file)) if png_kind(data) else Image.open(file).getexif())
    except Exception:  # damaged headers raise whatever their bytes happen to mean
        return None


def _parsed(chunk: bytes | None) -> Image.Exif:
    """An eXIf chunk. Asked for it, Pillow decodes a PNG."""
    exif = Image.Exif()
    exif.load(chunk or b'')
    return exif


def _turn(exif: Image.Exif) -> int | None:
    turn = exif.get(ExifTags.Base.Orientation)
    return turn if turn in _TURNS else None


# To an upright picture (H, W[, C]), by orientation.
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}


def _upright(stored: np.ndarray, data: bytes) -> np.ndarray:
    """What was decoded as it is stored, turned as EXIF says; TIFFs have been by their decoders."""
    turn = (orientation(data) or 1) if data[:4] not in TIFF else 1
    return stored if turn == 1 else np.ascontiguousarray(_TURNS[turn](stored))


def _spng(data: bytes, colour: int) -> np.ndarray | None:
    """An 8-bit PNG of this colour type by pyspng; None for any other file or a damaged one."""
    if not FAST_PNG or png_kind(data) != (8, colour) or _has_exif(data):
        return None
    try:
        img = pyspng.load(data)
    except (RuntimeError, ValueError):  # damaged: let OpenCV judge, for one answer everywhere
        return None
    # A transparency chunk adds a channel, which OpenCV drops.
    channels = 3 if colour == _RGB else 1
    return img if img.size == img.shape[0] * img.shape[1] * channels else None


def _opencv(data: bytes, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:  # a header with a size that no picture has
        return None


def _refuse_bomb(data: bytes, label: bool = False) -> None:
    """A PNG of a megabyte may say to be a picture of gigabytes; a label may be all of one class."""
    if png_kind(data) is not None:
        _refuse_size(data, struct.unpack('>II', data[16:24]), label)


def _refuse_size(data: bytes, size: tuple[int, int], label: bool) -> None:
    width, height = size
    if width * height > (_MOST if label else max(_LARGEST, min(_MOST, _TIGHTEST * len(data)))):
        raise DecodeError(
            f'its {len(data)} bytes would unpack to a picture of {width} x {height} pixels',
            'Leave it out, or cut it into tiles.',
        )


def _pillow(data: bytes, label: bool = False) -> Image.Image:
    """Opened, not decoded. Pillow's own limit is off where a program set MAX_IMAGE_PIXELS."""
    image = Image.open(io.BytesIO(data))
    _refuse_size(data, image.size, label)
    return image


def decode_image(
    data: bytes, flag: str = 'color', on_loss: Callable[[np.dtype], None] | None = None
) -> np.ndarray:
    """(H, W, 3) BGR uint8 for ``'color'``, (H, W) for ``'grayscale'``, any for ``'unchanged'``.

    Args:
        on_loss: is told the type of the stored values where they are cut to 8 bits.

    Raises DecodeError when the bytes are no image that OpenCV reads so.
    """
    _refuse_bomb(data)
    rgb = _spng(data, _RGB) if flag == 'color' else None
    if rgb is not None:
        return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    _refuse_unread(data)
    deep = 0 if flag == 'unchanged' else cv2.IMREAD_ANYDEPTH
    img = _opencv(data, IMAGE_FLAGS[flag] | deep)
    if img is not None and deep and img.dtype != np.uint8:
        if on_loss is not None:
            on_loss(img.dtype)
        img = _opencv(data, IMAGE_FLAGS[flag])
    if img is None:
        raise _why_not(data)
    return _upright(img, data) if flag == 'unchanged' else img


def _why_not(data: bytes) -> DecodeError:
    """Why OpenCV gave nothing: values that colours cannot hold, a format it lacks, or damage."""
    img = _opencv(data, cv2.IMREAD_UNCHANGED)
    if img is not None:
        return DecodeError(
            f'it holds {img.dtype} values, which 8-bit colours cannot show',
            "Set color_type='unchanged' in LoadImageFromFile, and mean and std of the "
            'data_preprocessor to fit.',
        )
    try:
        with _pillow(data) as picture:
            picture.load()
            problem = f'OpenCV does not read {picture.format} files of mode {picture.mode}'
            return DecodeError(problem, 'Save it as PNG.')
    except DecodeError as error:
        return error
    except Exception:  # damaged headers raise whatever their bytes happen to mean
        skipping = "Replace the file. Training passes over it with on_error='skip' in the dataset."
        return DecodeError('not an image, or truncated', skipping)


def decode_top(data: bytes, rows: int) -> tuple[np.ndarray, tuple[int, int]] | None:
    """The first ``rows`` of a colour PNG and the (height, width) of the whole, or None.

    A header that promises fewer rows makes the decoder stop there. None where that does not pay or
    cannot be done: another kind of file or decoder, an interlaced PNG.
    """
    if not FAST_PNG or png_kind(data) != (8, _RGB) or data[28] != 0:
        return None
    width, height = struct.unpack('>II', data[16:24])
    if rows >= height:
        return None
    header = data[12:20] + struct.pack('>I', rows) + data[24:29]
    check = struct.pack('>I', zlib.crc32(header))
    rgb = _spng(b''.join([data[:12], header, check, data[33:]]), _RGB)
    if rgb is None or len(rgb) != rows:
        return None
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), (height, width)


def _gray_step(data: bytes) -> int:
    """By what Pillow multiplies the stored values: it spreads gray of 2 and 4 bits over a byte."""
    bits, colour = png_kind(data) or (bits_of_tiff(io.BytesIO(data)) or 8, _GRAY)
    return 255 // ((1 << bits) - 1) if colour == _GRAY and bits < 8 else 1


def _refuse_lossy(data: bytes) -> None:
    """JPEG, and WebP but for its lossless kind, change the values that they are given."""
    webp = data[:4] == b'RIFF' and data[8:12] == b'WEBP' and b'VP8L' not in data[:64]
    if webp or data[:2] == b'\xff\xd8':
        raise DecodeError(
            'its format is lossy (JPEG, WebP): compression has changed label values',
            'Write the labels again, from where they came, as PNG; a JPEG saved as PNG keeps the '
            'changed values.',
        )


def _refuse_unread(data: bytes) -> None:
    """TIFFs of which OpenCV gives a part without a word, or other values."""
    problem = unread_tiff(data)
    if problem:
        raise DecodeError(
            problem,
            "Save an array (H, W, C) by np.save, and read that: img_suffix='.npy' in the dataset, "
            "color_type='unchanged' in LoadImageFromFile.",
        )


def decode_colours(data: bytes) -> np.ndarray:
    """(H, W, 3) BGR uint8 of a label painted in colours, whether they lie in a palette or not.

    Raises DecodeError as decode_label does, and for more than 8 bits.
    """
    _refuse_lossy(data)

    def refuse(dtype: np.dtype) -> None:
        raise DecodeError(f'it holds {dtype} colours', 'Save it with 8 bits a channel.')

    return decode_image(data, 'color', refuse)


def decode_label(data: bytes) -> np.ndarray:
    """(H, W) of the stored indices: integers; (H, W, 3) BGR for a colour image.

    Raises DecodeError when the bytes are no image, or one whose format has changed the indices.
    """
    if not data:
        raise DecodeError('the file is empty', _why_not(b'').cure)
    _refuse_lossy(data)
    _refuse_unread(data)
    _refuse_bomb(data, label=True)
    label = _spng(data, _GRAY)
    if label is not None:
        return label.reshape(label.shape[:2])
    if png_kind(data) in ((8, _GRAY), (16, _GRAY)):
        return decode_image(data, 'unchanged')
    try:
        with _pillow(data, label=True) as label:
            if label.mode in ('P', 'L'):
                step = _gray_step(data) if label.mode == 'L' else 1
                return _upright(np.array(label) if step == 1 else np.array(label) // step, data)
            if label.mode == '1':  # two-colour masks read as {0, 1} from booleans
                return _upright(np.array(label, dtype=np.uint8), data)
    except Image.DecompressionBombError as error:
        raise DecodeError(str(error).rstrip('.'), 'Cut it into tiles.') from None
    except DecodeError:
        raise
    except Exception:
        pass  # not all that OpenCV reads is known to Pillow, and it says why it cannot
    return whole_numbers(decode_image(data, 'unchanged'))


def label_of_array(data: bytes) -> np.ndarray:
    """(H, W) of the whole numbers in a ``.npy`` file. Raises DecodeError for what holds none."""
    try:
        label = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DecodeError(f'no array is read from it: {error}', 'Write it by np.save.') from error
    kinds = np.bool_, np.integer, np.floating
    if label.ndim != 2 or not any(np.issubdtype(label.dtype, kind) for kind in kinds):
        raise DecodeError(
            f'it holds {label.dtype} of shape {label.shape}',
            'Save class indices of shape (H, W): of scores (K, H, W), array.argmax(0).',
        )
    return label.astype(np.uint8) if label.dtype == np.bool_ else whole_numbers(label)


def whole_numbers(label: np.ndarray) -> np.ndarray:
    """A label as integers. Raises DecodeError where floating-point values are no whole numbers."""
    if np.issubdtype(label.dtype, np.integer):
        return label
    if np.isfinite(label).all() and (label == np.rint(label)).all() and abs(label).max() < 1 << 31:
        return label.astype(np.int32)
    raise DecodeError(
        f'it holds {label.dtype} values that are no whole numbers',
        'Save it as an 8- or 16-bit image of class indices.',
    )


_BITS_OF_MODE = {'I': 32, 'F': 32, 'I;16': 16, 'I;16B': 16, 'I;16L': 16}


@dataclass(frozen=True)
class Header:
    """Of one file. orientation: EXIF's, 1 to 8; 1 is upright and what a file without one has."""

    path: str
    bits: int
    orientation: int


def picture_header(path: str) -> Header | None:
    """The header of a picture, None for what is none."""
    bits = 0
    try:
        with open_picture(path) as file:
            kind = png_kind(file.read(26))
            if kind and kind[0]:
                bits = kind[0]
                return Header(path, bits, _turn(_parsed(exif_of_png(file))) or 1)
            bits = bits_of_tiff(file)
            file.seek(0)
            image = Image.open(file)
            bits = bits or _BITS_OF_MODE.get(image.mode, 8)
            return Header(path, bits, _turn(image.getexif()) or 1)
    except Exception:  # damaged headers raise whatever their bytes happen to mean
        # Pillow does not know 16-bit colour TIFF, which OpenCV reads.
        return Header(path, bits, 1) if bits else None


def open_picture(path: str) -> BinaryIO:
    """A picture's file to read from; of a store or of shards, its content."""
    return io.BytesIO(storage.read(path)) if storage.is_remote(path) else open(path, 'rb')
