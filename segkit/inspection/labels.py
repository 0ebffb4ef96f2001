"""What label files hold: the values or colours of all of them together."""

import io
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from segkit import storage
from segkit.datasets.decode import decode_image, decode_label, orientation, png_kind
from segkit.errors import UserError
from segkit.visualization.class_tables import Colour

from .examine import value_counts

_MAX_COLOURS = 256
_PALETTE = 3  # the colour type of a PNG that holds indices into a palette
_LOSSY = (b'\xff\xd8', b'RIFF')  # how files of JPEG and WebP begin


@dataclass
class Pair:
    """What one image and its label hold: values of an index label, or colours (R, G, B).

    palette: of a palette PNG, the colours of the values in it. turned: the image's EXIF
    orientation, where it is not upright and the label has none.
    """

    size: tuple[int, int]
    label_size: tuple[int, int] | None
    channels: int
    image_dtype: str
    values: dict[int, int] = field(default_factory=dict)
    colours: dict[Colour, int] = field(default_factory=dict)
    palette: dict[int, Colour] = field(default_factory=dict)
    turned: int = 1


def look(paths: tuple[str, str | None]) -> Pair:
    """Read an image and, where it has one, its label as they are stored.

    Raises ValueError naming the file that is no image, or a label in a lossy format.
    """
    image = _decoded(paths[0], lambda data: decode_image(data, 'unchanged'))
    channels = 1 if image.ndim == 2 else image.shape[2]
    pair = Pair(image.shape[:2], None, channels, str(image.dtype))
    if paths[1] is None:
        return pair
    data = storage.read(paths[1])
    if data.startswith(_LOSSY):
        raise UserError(
            f'{paths[1]}: the label is a JPEG or WebP, a lossy format: compression has changed its '
            'values. Write the labels again from where they came, as PNG; a JPEG saved as PNG '
            'keeps the changed values.'
        )
    if orientation(data) is None:
        pair.turned = orientation(storage.read(paths[0])) or 1
    label = _decoded(paths[1], decode_label)
    pair.label_size = label.shape[:2]
    if label.ndim == 3:
        pair.colours = _colours(label)
    else:
        pair.values = value_counts(label)
        pair.palette = _palette(data, pair.values)
    return pair


def _decoded(path: str, decode: Callable[[bytes], np.ndarray]) -> np.ndarray:
    try:
        return decode(storage.read(path))
    except ValueError as error:
        raise UserError(f'{path}: {error}') from None


def _colours(label: np.ndarray) -> dict[Colour, int]:
    packed = label[..., :3].astype(np.int64) @ np.array([1, 1 << 8, 1 << 16])  # BGR
    keys, counts = np.unique(packed, return_counts=True)
    if len(keys) > _MAX_COLOURS:
        keys, counts = keys[:_MAX_COLOURS], counts[:_MAX_COLOURS]
    return {(int(k) >> 16, int(k) >> 8 & 255, int(k) & 255): int(n) for k, n in zip(keys, counts)}


def _palette(data: bytes, values: Iterable[int]) -> dict[int, Colour]:
    kind = png_kind(data)
    if kind is None or kind[1] != _PALETTE:
        return {}
    with Image.open(io.BytesIO(data)) as image:
        flat = image.getpalette('RGB') or []
    return {
        v: (flat[3 * v], flat[3 * v + 1], flat[3 * v + 2]) for v in values if len(flat) >= 3 * v + 3
    }


@dataclass
class Stored:
    """All labels together: value or colour -> pixels, and the palette if they agree on one.

    two_codings: some files hold 1 and no 255, others 255 and no 1, beside 0.
    """

    values: Counter[int] = field(default_factory=Counter)
    colours: Counter[Colour] = field(default_factory=Counter)
    palette: dict[int, Colour] = field(default_factory=dict)
    two_codings: bool = False


def gather(pairs: Iterable[Pair]) -> Stored:
    """The sums over all pairs.

    Raises:
        ValueError: the labels are photographs, or some are colours and some indices.
    """
    stored, agree = Stored(), True
    held = set()
    for pair in pairs:
        held.add(frozenset(pair.values))
        stored.values.update(pair.values)
        stored.colours.update(pair.colours)
        if pair.values:
            known = {v: stored.palette.get(v, colour) for v, colour in pair.palette.items()}
            agree = agree and set(pair.values) <= set(pair.palette) and known == pair.palette
            stored.palette.update(pair.palette)
    both = any({1, 255} <= values for values in held)
    stored.two_codings = set(stored.values) == {0, 1, 255} and not both
    if not agree or all(len(set(colour)) == 1 for colour in stored.palette.values()):
        stored.palette = {}  # greys say nothing that the values do not
    if len(stored.colours) >= _MAX_COLOURS:
        raise UserError(
            f'the labels have {_MAX_COLOURS} colours or more: photographs, or labels blurred by a '
            'lossy format. Labels need flat colours or class indices in a lossless format.'
        )
    if stored.colours and stored.values:
        raise UserError(
            'some labels are colour images and others hold indices. Convert the one kind into the '
            'other, or name folders of one kind with --labels.'
        )
    return stored
