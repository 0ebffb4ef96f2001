"""The picture that belongs to a prediction: from its file, else from what the network was fed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from segkit.structures import ImageViews


class ImageReadError(ValueError):
    """There is no picture where one was expected."""


def read_rgb(path: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an image file.

    Raises:
        ImageReadError: there is no such file, or it is no image.
    """
    import cv2

    # imread does not read paths with non-ASCII letters everywhere; bytes it always does.
    data = np.fromfile(path, np.uint8) if Path(path).is_file() else None
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data is not None and data.size else None
    if image is None:
        why = 'is not an image that OpenCV reads' if data is not None else 'does not exist'
        raise ImageReadError(f'{path} {why}.')
    return np.ascontiguousarray(image[..., ::-1])


def image_of(sample: Any, data_batch: dict | None, index: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB of ``data_batch``'s image ``index``.

    The file is preferred, at full size. Generated pictures have none: then the network's input,
    (3, h, w) uint8 BGR, without the padding that a crop may have added.
    """
    path = str(sample.get('img_path', None) or '')
    if path and Path(path).is_file():
        return read_rgb(path)
    inputs = (data_batch or {}).get('inputs')
    if inputs is None:
        raise ImageReadError(f'{path or "A sample"}: neither an image file nor a network input.')
    image = inputs[index]
    if isinstance(image, ImageViews):  # of several scales the largest shows most
        image = max(image.tensors, key=lambda view: view.shape[-1])
    return np.ascontiguousarray(image.permute(1, 2, 0).flip(-1).cpu().numpy())
