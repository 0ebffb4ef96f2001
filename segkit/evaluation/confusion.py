"""Confusion matrices of label maps: the one thing every score here is computed from.

``matrix[i, j]`` counts the pixels labelled ``i`` and predicted ``j``. It is int64 from the first
pixel on: float32 sums lose counts above 2**24 pixels, and their total depends on the order.

Shapes: H, W picture; K classes.
    label (H, W), pred (H, W)  ->  (K, K) int64

On the CPU the two uint8 maps are one two-dimensional histogram (24 times the speed of masking
and three ``histc``); on a device they are one ``bincount`` in which ignored and stray pixels have
rows of their own, so that nothing is gathered.
"""

from __future__ import annotations

import sys
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from segkit.errors import EvaluationError
from segkit.models.losses.stray_labels import stray_message

UNKNOWN = 255  # what segkit.models.inference.certainty writes
# cv2.calcHist hands its counts over as float32, exact up to here.
_EXACT_FLOAT32 = 2**24


class Sample(Protocol):
    """A dict or a SegDataSample: what is read of it is its metainfo."""

    def get(self, key: str, default: object, /) -> object: ...


class StrayLabelError(EvaluationError):
    """A label that is neither a class nor ignored, or a prediction that is no class."""


def confusion_matrix(
    label: Tensor,
    pred: Tensor,
    num_classes: int,
    ignore_index: int = 255,
    name: str = 'this image',
    sample: Sample | None = None,
) -> Tensor:
    """Count (label, prediction) pairs of one image.

    Args:
        label: (H, W) or (1, H, W) integer map; ``ignore_index`` marks pixels that do not count.
        pred: as ``label``, with values in [0, num_classes).
        num_classes: K.
        ignore_index: label that is left out, whatever was predicted there.
        name: what to call the image in an error, where there is no sample.
        sample: whose metainfo (``get``) names the files, and whether ``reduce_zero_label`` shifted
            what is stored in the label: a stray one is reported in its words.

    Returns:
        (K, K) int64 on the device of ``pred``; rows are labels, columns predictions.

    Raises:
        StrayLabelError: a label outside [0, K) that is not ``ignore_index``, or a prediction
            outside [0, K) on a pixel that counts.
        EvaluationError: the two maps differ in size, or hold floating-point numbers.
    """
    meta: Sample = {'img_path': name} if sample is None else sample
    name = str(meta.get('img_path', None) or 'an image without img_path')
    label, pred = flat_map(label), flat_map(pred)
    if label.shape != pred.shape:
        raise EvaluationError(
            f'{name}: the label map is {_size(label)} but the prediction is {_size(pred)}; '
            'predictions are scored at the size of the label map. Have the image and its label '
            'file the same size? Then LoadAnnotations stands before a step of the test pipeline '
            'that changes it, such as Resize: put it after.'
        )
    if label.is_floating_point() or pred.is_floating_point():
        raise EvaluationError(
            f'{name}: label map and prediction must hold integers, not {label.dtype} and '
            f'{pred.dtype}; round or argmax them first.'
        )
    if pred.device.type == 'cpu':
        label = label.cpu()
    small = num_classes <= 256 and _fits_uint8(label) and _fits_uint8(pred)
    count = _histogram if small else _bincount
    matrix, strays, others = count(label.to(pred.device), pred, num_classes, ignore_index)
    if strays:
        raise StrayLabelError(stray_message(label, num_classes, ignore_index, meta))
    if others:
        raise StrayLabelError(
            f'{name}: {others} pixel(s) are predicted as a class outside 0 to {num_classes - 1}; '
            "the network's num_classes and the dataset's classes differ."
        )
    return matrix


def known_pixels(label: Tensor, pred: Tensor, ignore_index: int, sample: Sample) -> Tensor:
    """``label`` with ``ignore_index`` where the network was asked to say that it is unsure, and did
    (``unknown_below`` in the metainfo of the sample, 255 in ``pred``): scores are of the rest."""
    if sample.get('unknown_below', None) is None:
        return label
    unknown = (flat_map(pred) == UNKNOWN).to(label.device).reshape(label.shape)
    return label.masked_fill(unknown, ignore_index)


def flat_map(x: Tensor) -> Tensor:
    """(1, H, W) or (H, W) -> (H, W). Not ``squeeze``: H or W may be 1."""
    return x.reshape(x.shape[-2:])


def _size(x: Tensor) -> str:
    return ' x '.join(str(n) for n in x.shape)


def _fits_uint8(x: Tensor) -> bool:
    """Whether OpenCV can count it as bytes; it counts on the CPU only."""
    if x.device.type != 'cpu':
        return False
    if x.dtype in (torch.uint8, torch.bool) or x.numel() == 0:
        return True
    # One pass instead of a minimum and a maximum: bits above the eighth, the sign among them.
    return 0 <= np.bitwise_or.reduce(x.numpy(), axis=None) <= 255


def _low_bytes(x: Tensor) -> np.ndarray:
    """(H W, 1, bytes of an element): a wider integer is a picture whose first channel counts."""
    if sys.byteorder != 'little' or x.dtype == torch.bool:
        x = x.to(torch.uint8)
    return x.contiguous().numpy().reshape(-1, 1).view(np.uint8)[:, None]


def _histogram(label: Tensor, pred: Tensor, k: int, ignore_index: int) -> tuple[Tensor, int, int]:
    """(K, K) counts, number of stray labels, number of predictions that are no class."""
    import cv2

    matrix, strays, others = np.zeros((k, k), np.int64), 0, 0
    pictures = _low_bytes(label), _low_bytes(pred)
    channels = [0, pictures[0].shape[2]]  # numbered through both pictures
    for start in range(0, len(pictures[0]), _EXACT_FLOAT32):
        part = [a[start : start + _EXACT_FLOAT32] for a in pictures]
        counts = cv2.calcHist(part, channels, None, [256, 256], [0, 256, 0, 256])
        counts = counts.reshape(256, 256)
        if 0 <= ignore_index < 256:
            counts[ignore_index] = 0
        # Sums in float32 are exact too: they are of integers and no larger than the part.
        strays += int(counts[k:].sum())
        others += int(counts[:k, k:].sum())
        matrix += counts[:k, :k].astype(np.int64)
    return torch.from_numpy(matrix), strays, others


def _bincount(label: Tensor, pred: Tensor, k: int, ignore_index: int) -> tuple[Tensor, int, int]:
    """The same by one bincount, without gathering: runs on any device, with any K.

    Row K collects ignored pixels, row K + 1 stray labels, column K predictions that are no class.
    """
    row = _index(label)
    stray = (row < 0) | (row >= k)
    # Order matters: ignore_index is usually outside [0, K), hence also stray.
    row = torch.where(row == ignore_index, k, row.masked_fill(stray, k + 1))
    column = _index(pred)
    column = column.masked_fill((column < 0) | (column >= k), k)
    size = (k + 2) * (k + 1)
    table = torch.bincount(row * (k + 1) + column, minlength=size).reshape(k + 2, k + 1)
    strays, others = torch.stack([table[k + 1].sum(), table[:k, k].sum()]).tolist()
    return table[:k, :k].clone(), strays, others


def _index(x: Tensor) -> Tensor:
    """Flat, wide enough to compute with; int64 stays, as cutting it could make a class of a stray
    value."""
    return x.reshape(-1) if x.dtype == torch.int64 else x.reshape(-1).to(torch.int32)
