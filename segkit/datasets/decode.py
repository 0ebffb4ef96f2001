"""Bytes of an image file -> array, by the fastest decoder that gives OpenCV's very pixels.

Most of the time of a Cityscapes sample is PNG decoding. ``pyspng`` (libspng) decodes 8-bit RGB and
gray PNGs 1.4 times faster than OpenCV to the same bytes, and stops after the rows that are
wanted; it is used when it is installed, and only for such files. Everything else goes to OpenCV,
or, for palette images, to Pillow: OpenCV expands a palette into colours, Pillow keeps the indices,
which are the labels.
"""

import io
import os
import struct
import zlib

import cv2
import numpy as np
from PIL import Image

try:
    import pyspng
except ImportError:
    pyspng = None

PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_GRAY, _RGB, _PALETTE = 0, 2, 3
# An escape hatch, and what the benchmark uses to measure the stock decoder.
FAST_PNG = pyspng is not None and os.environ.get('SEGKIT_FAST_PNG', '1') != '0'

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


def _spng(data: bytes, colour: int) -> np.ndarray | None:
    """An 8-bit PNG of this colour type by pyspng; None for any other file or a damaged one."""
    if not FAST_PNG or png_kind(data) != (8, colour):
        return None
    try:
        img = pyspng.load(data)
    except (RuntimeError, ValueError):  # damaged: let OpenCV judge, for one answer everywhere
        return None
    # A transparency chunk adds a channel, which OpenCV drops.
    channels = 3 if colour == _RGB else 1
    return img if img.size == img.shape[0] * img.shape[1] * channels else None


def decode_image(data: bytes, flag: str = 'color') -> np.ndarray:
    """(H, W, 3) BGR for ``'color'``, (H, W) for ``'grayscale'``, as stored for ``'unchanged'``.

    Raises ValueError when the bytes are no image that OpenCV reads.
    """
    rgb = _spng(data, _RGB) if flag == 'color' else None
    if rgb is not None:
        return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    img = cv2.imdecode(np.frombuffer(data, np.uint8), IMAGE_FLAGS[flag]) if data else None
    if img is None:
        raise ValueError('not an image, or truncated')
    return img


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
    bits, colour = png_kind(data) or (8, _GRAY)
    return 255 // ((1 << bits) - 1) if colour == _GRAY else 1


def decode_label(data: bytes) -> np.ndarray:
    """(H, W) of the stored indices: uint8 or uint16; (H, W, 3) BGR for a colour image.

    Raises ValueError when the bytes are no image.
    """
    if not data:
        raise ValueError('the file is empty')
    label = _spng(data, _GRAY)
    if label is not None:
        return label.reshape(label.shape[:2])
    if png_kind(data) in ((8, _GRAY), (16, _GRAY)):
        return decode_image(data, 'unchanged')
    try:
        with Image.open(io.BytesIO(data)) as label:
            if label.mode in ('P', 'L'):
                step = _gray_step(data)
                return np.array(label) if step == 1 else np.array(label) // step
            if label.mode == '1':  # two-colour masks read as {0, 1} from booleans
                return np.array(label, dtype=np.uint8)
    except (OSError, SyntaxError) as error:
        raise ValueError('not an image, or truncated') from error
    return decode_image(data, 'unchanged')
