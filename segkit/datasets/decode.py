"""Bytes of an image file -> array, by the fastest decoder that gives OpenCV's very pixels.

Most of the time of a Cityscapes sample is PNG decoding. ``pyspng`` (libspng) decodes an 8-bit RGB
PNG 1.5 times faster than OpenCV to the same bytes; it is used when it is installed, and only
for such files. Everything else goes to OpenCV, or, for palette images, to Pillow: OpenCV expands
a palette into colours, Pillow keeps the indices, which are the labels.
"""

import io
import os

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


def decode_image(data: bytes, flag: str = 'color') -> np.ndarray:
    """(H, W, 3) BGR for ``'color'``, (H, W) for ``'grayscale'``, as stored for ``'unchanged'``.

    Raises ValueError when the bytes are no image that OpenCV reads.
    """
    if FAST_PNG and flag == 'color' and png_kind(data) == (8, _RGB):
        try:
            rgb = pyspng.load(data)
        except (RuntimeError, ValueError):  # damaged: let OpenCV judge, for one answer everywhere
            rgb = None
        # A transparency chunk makes it four channels; OpenCV drops that one.
        if rgb is not None and rgb.shape[-1] == 3:
            return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    img = cv2.imdecode(np.frombuffer(data, np.uint8), IMAGE_FLAGS[flag]) if data else None
    if img is None:
        raise ValueError('not an image, or truncated')
    return img


def decode_label(data: bytes) -> np.ndarray:
    """(H, W) of the stored indices: uint8 or uint16; (H, W, 3) BGR for a colour image.

    Raises ValueError when the bytes are no image.
    """
    if not data:
        raise ValueError('the file is empty')
    kind = png_kind(data)
    if kind is not None and kind[1] == _GRAY and kind[0] in (8, 16):
        return decode_image(data, 'unchanged')
    try:
        with Image.open(io.BytesIO(data)) as label:
            if label.mode in ('P', 'L'):
                return np.array(label)
            if label.mode == '1':  # two-colour masks read as {0, 1} from booleans
                return np.array(label, dtype=np.uint8)
    except (OSError, SyntaxError) as error:
        raise ValueError('not an image, or truncated') from error
    return decode_image(data, 'unchanged')
