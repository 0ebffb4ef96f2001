"""The one place where stored label values become class indices: a table, applied once.

Order (a published-weights quirk): first ``reduce_zero_label`` (0 becomes the ignored label, 255
unless the dataset says otherwise, which itself stays; the rest shift down by one), then
``label_map`` on the result. Both are one table of 256 entries (65536 for 16-bit files), so their
cost is one look-up.
"""

import contextlib
from collections.abc import Mapping, Sequence

import numpy as np

from segkit.errors import UserError

IGNORE = 255


def label_table(
    reduce_zero_label: bool,
    label_map: Mapping[int, int] | None,
    size: int = 256,
    ignore: int = IGNORE,
) -> np.ndarray | None:
    """Stored value -> class index; None if it changes nothing. uint8 when all results fit."""
    if not reduce_zero_label and not label_map:
        return None
    table = np.arange(size)
    if reduce_zero_label:
        keep = table == ignore
        table = np.where(table == 0, ignore, table - 1)
        table[keep] = ignore
    if label_map:
        mapped = table.copy()
        for old, new in label_map.items():
            mapped[table == int(old)] = int(new)
        table = mapped
    return table.astype(np.uint8 if fit_a_byte(table) else np.int64)


def whole_map(given: object) -> dict[int, int]:
    """``label_map`` as a dict of whole numbers, which a JSON or YAML file has as texts.

    Raises ValueError for what is none.
    """
    with contextlib.suppress(TypeError, ValueError):
        if isinstance(given, Mapping):
            return {int(old): int(new) for old, new in given.items()}
    raise UserError(
        f'label_map is {given!r}: a dict from each stored value to a class index is wanted, '
        'as in label_map={7: 0, 8: 1}.'
    )


def fit_a_byte(label: np.ndarray) -> bool:
    """Whether uint8 holds all values."""
    return not label.size or bool(label.min() >= 0 and label.max() <= 255)


def subset_label_map(
    old_classes: Sequence[str], new_classes: Sequence[str], ignore: int = IGNORE
) -> dict[int, int] | None:
    """Old index -> index in ``new_classes``, classes left out -> ignored; None if all the same."""
    if tuple(old_classes) == tuple(new_classes):
        return None
    position = {name: index for index, name in enumerate(new_classes)}
    return {index: position.get(name, ignore) for index, name in enumerate(old_classes)}


def colours_to_indices(
    label: np.ndarray,
    palette: Sequence[Sequence[int]],
    ignored: Sequence[Sequence[int]] = (),
    ignore: int = IGNORE,
) -> np.ndarray:
    """(H, W, 3) BGR colours -> (H, W) positions in ``palette`` (of RGB triples), uint8 if they fit.

    ``ignored`` colours become ``ignore``. Raises ValueError naming up to three colours that are
    neither in the palette nor ``ignored``.
    """
    rows = [(r << 16 | g << 8 | b, i) for i, (r, g, b) in enumerate(palette)]
    rows += [(r << 16 | g << 8 | b, ignore) for r, g, b in ignored]
    keys, first = np.unique([key for key, _ in rows], return_index=True)
    values = np.array([value for _, value in rows])[first]
    values = values.astype(np.uint8 if fit_a_byte(values) else np.int64)
    packed = label[..., :3].astype(np.int32) @ np.array([1, 1 << 8, 1 << 16], np.int32)
    place = np.minimum(np.searchsorted(keys, packed), len(keys) - 1)
    unknown = packed[keys[place] != packed]
    if unknown.size:
        shown = [(int(k) >> 16, int(k) >> 8 & 255, int(k) & 255) for k in np.unique(unknown)[:3]]
        raise UserError(f'{unknown.size} pixels have RGB colours outside the palette, e.g. {shown}')
    return values[place]
