"""Labels that are no class, in the words of the label file: its path, and the values stored there.

``confusion_matrix`` sees maps alone. Where a sample tells from which file its labels come and
whether they were shifted down by ``reduce_zero_label``, the person who has to look into that file
is told what is to be found in it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .confusion import StrayLabelError, confusion_matrix, flat_map

_MOST = 10
# Without and with reduce_zero_label.
_CURES = (
    'If the labels count classes from 1, set reduce_zero_label=True; if they use other ids or '
    '{0, 255} masks, set label_map in the dataset.',
    'If the labels count classes from 0, leave out reduce_zero_label; if they hold further ids, '
    'set label_map in the dataset.',
)


def count_sample(
    label: Tensor, pred: Tensor, num_classes: int, ignore_index: int, sample: Any
) -> Tensor:
    """``confusion_matrix`` of a sample whose metainfo (``get``) names its files.

    Raises:
        StrayLabelError: as there; a stray label with its file and the value that is stored there.
    """
    name = str(sample.get('img_path', None) or 'an image without img_path')
    try:
        return confusion_matrix(label, pred, num_classes, ignore_index, name)
    except StrayLabelError:
        path = sample.get('seg_map_path', None)
        values, count = _strays(flat_map(label), num_classes, ignore_index)
        if not path or not count:
            raise
        shifted = bool(sample.get('reduce_zero_label', False))
        said = _sentence(values, count, num_classes, ignore_index, shifted)
        raise StrayLabelError(f'{path}: {said}') from None


def _strays(label: Tensor, k: int, ignore_index: int) -> tuple[list[int], int]:
    """The values that are no class, and on how many pixels."""
    stray = (label != ignore_index) & ((label < 0) | (label >= k))
    return torch.unique(label[stray]).tolist(), int(stray.sum())


def _sentence(values: list[int], count: int, k: int, ignore_index: int, shifted: bool) -> str:
    shown = ', '.join(str(value + shifted) for value in values[:_MOST])
    shown += ', ...' if len(values) > _MOST else ''
    classes = f'{int(shifted)} to {k - 1 + shifted}'
    zero = ', nor 0, which reduce_zero_label ignores' if shifted else ''
    cure = _CURES[shifted]
    return (
        f'label value(s) {shown} on {count} pixel(s) are neither one of the {k} classes '
        f'({classes}) nor ignore_index={ignore_index}{zero}. {cure}'
    )
