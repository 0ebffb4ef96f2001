"""From a results dict to what a network is fed: uint8 tensors and a data sample.

Image and label stay uint8 on their way to the device (a quarter and an eighth of the bytes);
the data preprocessor casts there.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import PixelData

from segkit.registry import TRANSFORMS
from segkit.structures import SegDataSample

META_KEYS = (
    'img_path',
    'seg_map_path',
    'ori_shape',
    'img_shape',
    'pad_shape',
    'scale_factor',
    'flip',
    'flip_direction',
    'reduce_zero_label',
)


def image_to_tensor(img: np.ndarray) -> torch.Tensor:
    """(H, W, C) or (H, W) of any dtype torch knows -> (C, H, W), contiguous."""
    if img.ndim == 2:
        img = img[..., None]
    if img.dtype == np.uint16:  # no arithmetic in torch; int32 holds its values
        img = img.astype(np.int32)
    height, width, channels = img.shape
    if channels == 1 or img.dtype != np.uint8:
        return torch.from_numpy(np.ascontiguousarray(img.transpose(2, 0, 1)))
    # Splitting straight into the planes of the result is 5 times a strided transpose.
    out = np.empty((channels, height, width), np.uint8)
    cv2.split(np.ascontiguousarray(img), list(out))
    return torch.from_numpy(out)


def label_to_tensor(label: np.ndarray) -> torch.Tensor:
    """(H, W) -> (1, H, W): uint8 where it fits, else int64."""
    if label.dtype != np.uint8:
        label = label.astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(label))[None]


@TRANSFORMS.register_module()
class PackSegInputs(BaseTransform):
    """``dict(inputs=(C, H, W) uint8, data_samples=SegDataSample)`` from a results dict.

    Args:
        meta_keys: entries of the results kept as the sample's metainfo, where present.
    """

    def __init__(self, meta_keys: Sequence[str] = META_KEYS) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        packed = {}
        if 'img' in results:
            packed['inputs'] = image_to_tensor(results['img'])
        sample = SegDataSample(
            metainfo={key: results[key] for key in self.meta_keys if key in results}
        )
        if results.get('gt_seg_map') is not None:
            sample.gt_sem_seg = PixelData(data=label_to_tensor(results['gt_seg_map']))
        packed['data_samples'] = sample
        return packed

    def __repr__(self) -> str:
        return f'{type(self).__name__}(meta_keys={self.meta_keys})'
