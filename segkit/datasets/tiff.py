"""What the tags of a TIFF say of it, read without decoding (TIFF 6.0, sections 2 and 8).

OpenCV reads the first page alone, of several grey bands the first alone, and mixes up bands of
more than 8 bits that are stored one after the other; it says nothing of it. ``unread_tiff`` does.
"""

import io
import struct
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

TIFF = (b'II*\0', b'MM\0*')  # how files begin
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC = 254, 256, 257, 258, 262
_SAMPLES, _PLANAR, _EXTRA = 277, 284, 338
_TAGS = frozenset((_SUBFILE, _WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _EXTRA))
_LONG = 4  # a type of 32 bits
_MOST = 4  # channels that OpenCV reads
_GREY, _SEPARATE, _ALPHA = (0, 1), 2, (1, 2)


def bits_of_tiff(file: BinaryIO) -> int:
    """BitsPerSample of the first image of a TIFF; 0 for other files."""
    first = next(pages_of_tiff(file), None)
    return 0 if first is None else first.get(_BITS, 8)


def unread_tiff(data: bytes) -> str:
    """What of a TIFF OpenCV would not give, or not as it is stored; '' of other files as well."""
    if data[:4] not in TIFF:
        return ''
    try:
        pages = list(islice(pages_of_tiff(io.BytesIO(data)), 2))
    except struct.error:  # damaged: the decoder judges
        return ''
    if not pages:
        return ''
    sizes = [(page.get(_WIDTH), page.get(_HEIGHT), page.get(_SUBFILE, 0)) for page in pages]
    if len(sizes) == 2 and sizes[0] == sizes[1]:
        return 'it is a TIFF of several pages of one size, of which the first alone would be read'
    return _unread_bands(pages[0])


def _unread_bands(page: dict[int, int]) -> str:
    bands, bits = page.get(_SAMPLES, 1), page.get(_BITS, 8)
    if bands > _MOST:
        return f'it is a TIFF of {bands} channels, and up to {_MOST} are read'
    if page.get(_PLANAR) == _SEPARATE and bands > 1 and bits > 8:
        return f'it is a TIFF of {bands} channels of {bits} bits, each stored apart'
    transparent = bands == 2 and bits == 8 and page.get(_EXTRA) in _ALPHA
    if page.get(_PHOTOMETRIC) in _GREY and bands > 1 and not transparent:
        return f'it is a TIFF of {bands} grey channels, of which the first alone would be read'
    return ''


def pages_of_tiff(file: BinaryIO) -> Iterator[dict[int, int]]:
    """Tag -> first value of 16 or 32 bits, of each page of a TIFF; of other files nothing.

    Raises:
        struct.error: the file ends too early.
    """
    file.seek(0)
    start = file.read(8)
    order = dict(zip(TIFF, '<>')).get(start[:4])
    seen: set[int] = set()
    place = struct.unpack(order + 'I', start[4:])[0] if order else 0
    while order and place and place not in seen:
        seen.add(place)
        file.seek(place)
        tags = {}
        for _ in range(struct.unpack(order + 'H', file.read(2))[0]):
            tag, kind, count, value = struct.unpack(order + 'HHI4s', file.read(12))
            if tag in _TAGS:
                tags[tag] = _first_value(file, order, kind, count, value)
        place = struct.unpack(order + 'I', file.read(4).ljust(4, b'\0'))[0]
        yield tags


def _first_value(file: BinaryIO, order: str, kind: int, count: int, value: bytes) -> int:
    """The first of a tag's values, which lie elsewhere where four bytes do not hold them."""
    form, size = ('I', 4) if kind == _LONG else ('H', 2)
    if count * size > 4:
        here = file.tell()
        file.seek(struct.unpack(order + 'I', value)[0])
        value = file.read(size)
        file.seek(here)
    return struct.unpack(order + form, value[:size])[0]
