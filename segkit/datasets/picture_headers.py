"""What the first bytes of a picture file say, without decoding it: bits, channels, orientation."""

import struct
from dataclasses import dataclass
from typing import BinaryIO

from PIL import ExifTags, Image

from segkit.datasets.decode import png_kind

_BITS_PER_SAMPLE = 258  # a tag of TIFF
_BITS_OF_MODE = {'I': 32, 'F': 32, 'I;16': 16, 'I;16B': 16, 'I;16L': 16}


@dataclass(frozen=True)
class Header:
    """Of one file. orientation: EXIF's, 1 to 8; 1 is upright and what a file without one has."""

    path: str
    bits: int
    orientation: int


def picture_header(path: str) -> Header | None:
    """The header of a local picture, None for what is none."""
    bits = 0
    try:
        with open(path, 'rb') as file:
            kind = png_kind(file.read(26))
            bits = kind[0] if kind else _bits_of_tiff(file)
        with Image.open(path) as image:
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            bits = bits or _BITS_OF_MODE.get(image.mode, 8)
    except (OSError, ValueError, SyntaxError, struct.error):
        # Pillow does not know 16-bit colour TIFF, which OpenCV reads.
        return Header(path, bits, 1) if bits else None
    return Header(path, bits, orientation if orientation in range(1, 9) else 1)


def _bits_of_tiff(file: BinaryIO) -> int:
    """BitsPerSample of the first image of a TIFF; 0 for other files (TIFF 6.0, section 2)."""
    file.seek(0)
    start = file.read(8)
    order = {b'II*\0': '<', b'MM\0*': '>'}.get(start[:4])
    if order is None:
        return 0
    file.seek(struct.unpack(order + 'I', start[4:])[0])
    for _ in range(struct.unpack(order + 'H', file.read(2))[0]):
        tag, _, count, place = struct.unpack(order + 'HHI4s', file.read(12))
        if tag == _BITS_PER_SAMPLE and count > 2:
            file.seek(struct.unpack(order + 'I', place)[0])
            place = file.read(2)
        if tag == _BITS_PER_SAMPLE:
            return struct.unpack(order + 'H', place[:2])[0]
    return 8
