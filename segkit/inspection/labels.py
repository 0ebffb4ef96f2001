"""What stored label values mean, guessed from all the values a dataset holds."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segkit.datasets.decode import decode_image, decode_label

from .examine import histogram

IGNORE = 255
_MAX_COLOURS = 256


@dataclass
class Pair:
    """What one image and its label hold: values of an index label, or colours (R, G, B)."""

    size: tuple[int, int]
    label_size: tuple[int, int]
    channels: int
    image_dtype: str
    values: dict[int, int] = field(default_factory=dict)
    colours: dict[tuple[int, int, int], int] = field(default_factory=dict)


def look(paths: tuple[str, str]) -> Pair:
    """Read an image and its label as they are stored.

    Raises ValueError naming the file that is no image.
    """
    arrays = []
    for path, decode in zip(paths, (lambda data: decode_image(data, 'unchanged'), decode_label)):
        try:
            arrays.append(decode(Path(path).read_bytes()))
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from None
    image, label = arrays
    channels = 1 if image.ndim == 2 else image.shape[2]
    pair = Pair(image.shape[:2], label.shape[:2], channels, str(image.dtype))
    if label.ndim == 3:
        pair.colours = _colours(label)
    else:
        pair.values = histogram(label)
    return pair


def _colours(label: np.ndarray) -> dict[tuple[int, int, int], int]:
    packed = label[..., :3].astype(np.int64) @ np.array([1, 1 << 8, 1 << 16])  # BGR
    keys, counts = np.unique(packed, return_counts=True)
    if len(keys) > _MAX_COLOURS:
        keys, counts = keys[:_MAX_COLOURS], counts[:_MAX_COLOURS]
    return {(int(k) >> 16, int(k) >> 8 & 255, int(k) & 255): int(n) for k, n in zip(keys, counts)}


@dataclass
class Guess:
    """How to read the labels: keyword arguments for the dataset, and why.

    settings: label_map, reduce_zero_label or label_format, as far as they are needed.
    """

    num_classes: int
    reason: str
    settings: dict = field(default_factory=dict)
    palette: list[list[int]] | None = None


def guess(pairs: Iterable[Pair]) -> Guess:
    """The likely meaning of the values of all labels together.

    Raises:
        ValueError: the labels are photographs, or there is no value to go by.
    """
    values: Counter[int] = Counter()
    colours: Counter[tuple[int, ...]] = Counter()
    for pair in pairs:
        values.update(pair.values)
        colours.update(pair.colours)
    if colours:
        return _by_colours(colours)
    classes = sorted(set(values) - {IGNORE})
    if not classes:
        raise ValueError('every label pixel is 255 (ignored): there is no class to learn.')
    return _by_values(classes, IGNORE in values)


def _by_colours(colours: Counter) -> Guess:
    if len(colours) >= _MAX_COLOURS:
        raise ValueError(
            f'the labels have {_MAX_COLOURS} colours or more: photographs, or labels blurred by a '
            'lossy format. Labels need flat colours or class indices in a lossless format.'
        )
    palette = [list(colour) for colour in sorted(colours)]
    shown = ', '.join(map(str, sorted(colours)[:4]))
    reason = f'{len(palette)} flat colours, such as {shown}: each becomes a class'
    return Guess(len(palette), reason, {'label_format': 'rgb'}, palette)


def _by_values(classes: list[int], ignored: bool) -> Guess:
    count, text = len(classes), '255 is ignored' if ignored else 'no pixel is ignored'
    if classes == [0] and ignored:
        return Guess(2, 'masks of 0 and 255: 255 becomes class 1', {'label_map': {IGNORE: 1}})
    if classes == list(range(count)):
        return Guess(count, f'values 0 to {count - 1}, {text}')
    if classes == list(range(1, count + 1)):
        reason = f'values 1 to {count}: they count from 1, {text}'
        return Guess(count, reason, {'reduce_zero_label': True})
    dense = classes[-1] <= IGNORE - 1 and classes[-1] + 1 <= 2 * count
    if dense:
        missing = [value for value in range(classes[-1]) if value not in classes]
        reason = (
            f'values up to {classes[-1]}, of which {_few(missing)} never occur; {text}. Should '
            'they be no classes, map the others with label_map'
        )
        return Guess(classes[-1] + 1, reason)
    reason = f'{count} values from {classes[0]} to {classes[-1]}, {text}: numbered in their order'
    return Guess(count, reason, {'label_map': {value: i for i, value in enumerate(classes)}})


def _few(values: list[int]) -> str:
    return ', '.join(map(str, values[:6])) + (', ...' if len(values) > 6 else '')
