"""The picture that belongs to a prediction: from its file, else from what the network was fed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from segkit import storage
from segkit.errors import UserError
from segkit.structures import ImageViews, SegDataSample


class ImageReadError(UserError):
    """There is no picture where one was expected."""


def read_rgb(path: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an image file.

    Raises:
        ImageReadError: there is no such file, or it is no image.
    """
    import cv2

    # imread does not read paths with non-ASCII letters everywhere; bytes it always does.
    there = storage.exists(str(path))
    data = np.frombuffer(storage.read(str(path)), np.uint8) if there else None
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data is not None and data.size else None
    if image is None:
        why = 'is not an image that OpenCV reads' if data is not None else 'does not exist'
        raise ImageReadError(f'{path} {why}.')
    return np.ascontiguousarray(image[..., ::-1])


def image_of(sample: SegDataSample, data_batch: dict | None, index: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB of ``data_batch``'s image ``index``.

    The file is preferred, at full size. Generated pictures have none and arrays (.npy) are no
    image files: then the network's input, without the padding that a crop may have added.
    """
    path = str(sample.get('img_path', None) or '')
    inputs = (data_batch or {}).get('inputs')
    if path and storage.exists(path):
        try:
            return read_rgb(path)
        except ImageReadError:
            if inputs is None:
                raise
    if inputs is None:
        raise ImageReadError(f'{path or "A sample"}: neither an image file nor a network input.')
    return input_rgb(inputs[index])


def input_rgb(image: Tensor | ImageViews) -> np.ndarray:
    """(h, w, 3) uint8 RGB of a network's input (C, h, w), or of its views the largest."""
    if isinstance(image, ImageViews):
        image = max(image.tensors, key=lambda view: view.shape[-1])
    return viewable(image.permute(1, 2, 0).cpu().numpy())


def viewable(image: np.ndarray) -> np.ndarray:
    """(H, W[, C]) BGR of any dtype -> (H, W, 3) uint8 RGB; further channels are left out."""
    if image.ndim == 2:
        image = image[..., None]
    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        image = ((image - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
    if image.shape[2] < 3:
        image = np.repeat(image[..., :1], 3, axis=2)
    return np.ascontiguousarray(image[..., 2::-1])
