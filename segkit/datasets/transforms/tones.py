"""Tones of a picture by fixed rules, nothing drawn: equalised, grey, gamma, range of values.

Legend: img (H, W, C). Labels are untouched.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from segkit.errors import DataError, UserError
from segkit.registry import TRANSFORMS

from .loading import Transform


@TRANSFORMS.register_module()
class CLAHE(Transform):
    """Histogram equalisation in tiles with limited contrast, channel by channel, on 8 bits.

    Zuiderveld, Contrast limited adaptive histogram equalization, Graphics Gems IV, 1994.

    Args:
        clip_limit: threshold of the contrast. tile_grid_size: tiles in a row and in a column.
    """

    def __init__(self, clip_limit: float = 40.0, tile_grid_size: tuple[int, int] = (8, 8)) -> None:
        if len(tile_grid_size) != 2 or min(tile_grid_size) < 1:
            raise UserError(f'tile_grid_size of CLAHE must be two counts, not {tile_grid_size}.')
        self.clip_limit, self.tile_grid_size = clip_limit, tuple(tile_grid_size)

    def transform(self, results: dict) -> dict:
        img = results['img']
        equalise = cv2.createCLAHE(self.clip_limit, self.tile_grid_size).apply
        planes = np.atleast_3d(img).astype(np.uint8).transpose(2, 0, 1)
        done = np.stack([equalise(np.ascontiguousarray(plane)) for plane in planes], axis=-1)
        results['img'] = done.reshape(img.shape).astype(img.dtype)
        return results


@TRANSFORMS.register_module()
class RGB2Gray(Transform):
    """The weighted sum of the channels, float64, in every channel.

    Args:
        out_channels: how many channels have it; None for as many as there were.
        weights: of the channels in the order in which they lie, which is BGR as loaded.
    """

    def __init__(
        self,
        out_channels: int | None = None,
        weights: Sequence[float] = (0.299, 0.587, 0.114),
    ) -> None:
        if out_channels is not None and out_channels < 1:
            raise UserError(f'out_channels of RGB2Gray must be positive, not {out_channels}.')
        self.out_channels, self.weights = out_channels, tuple(weights)

    def transform(self, results: dict) -> dict:
        img = results['img']
        if img.ndim != 3 or img.shape[2] != len(self.weights):
            raise DataError(
                results.get('img_path') or 'an image',
                f'RGB2Gray has {len(self.weights)} weights for an image of the shape {img.shape}',
                'Give one weight a channel.',
            )
        grey = (img * np.array(self.weights)).sum(axis=2, keepdims=True)
        results['img'] = grey.repeat(self.out_channels or img.shape[2], axis=2)
        return results


@TRANSFORMS.register_module()
class AdjustGamma(Transform):
    """255 (x / 255) ** (1 / gamma) of every byte: above 1 brightens."""

    def __init__(self, gamma: float = 1.0) -> None:
        if not gamma > 0:
            raise UserError(f'gamma of AdjustGamma must be positive, not {gamma}.')
        self.gamma = gamma
        # One by one: a power of an array may differ in its last bit, and so by a grey level.
        values = [(i / 255.0) ** (1.0 / gamma) * 255 for i in np.arange(256)]
        self._table = np.array(values).astype(np.uint8)

    def transform(self, results: dict) -> dict:
        results['img'] = cv2.LUT(results['img'].astype(np.uint8), self._table)
        return results


@TRANSFORMS.register_module()
class Rerange(Transform):
    """The picture's smallest value to ``min_value``, its largest to ``max_value``, as float64."""

    def __init__(self, min_value: float = 0, max_value: float = 255) -> None:
        if not min_value < max_value:
            raise UserError(f'Rerange: min_value={min_value} must be below max_value={max_value}.')
        self.min_value, self.max_value = min_value, max_value

    def transform(self, results: dict) -> dict:
        img = results['img']
        low, high = np.min(img), np.max(img)
        if not low < high:
            raise DataError(
                results.get('img_path') or 'an image',
                f'Rerange spreads the values of a picture, and all of this one are {low}',
                "Leave it out of the data set; training passes over it with on_error='skip'.",
            )
        shares = (img - low) / (high - low)
        results['img'] = shares * (self.max_value - self.min_value) + self.min_value
        return results
