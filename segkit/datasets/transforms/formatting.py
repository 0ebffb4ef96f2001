"""From a results dict to what a network is fed: uint8 tensors and a data sample.

Image and label stay uint8 on their way to the device (a quarter and an eighth of the bytes);
the data preprocessor casts there.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmengine.structures import PixelData

from segkit.datasets.label_maps import fit_a_byte
from segkit.old_names import serve
from segkit.registry import TRANSFORMS
from segkit.structures import SegDataSample

from .loading import Transform, moving_maps

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
    'ignore_index',
)


def image_to_tensor(img: np.ndarray) -> torch.Tensor:
    """(H, W, C) or (H, W) of any dtype torch knows -> (C, H, W), contiguous."""
    if img.ndim == 2:
        img = img[..., None]
    height, width, channels = img.shape
    if channels == 1 or img.dtype != np.uint8:
        return map_to_tensor(img)
    # Splitting straight into the planes of the result is 5 times a strided transpose.
    out = np.empty((channels, height, width), np.uint8)
    cv2.split(np.ascontiguousarray(img), list(out))
    return torch.from_numpy(out)


def label_to_tensor(label: np.ndarray) -> torch.Tensor:
    """(H, W) or (H, W, 1) of any integer dtype -> (1, H, W): uint8 where all values fit, else
    int64."""
    label = label[..., 0] if label.ndim == 3 and label.shape[2] == 1 else label
    dtype = np.uint8 if label.dtype == np.uint8 or fit_a_byte(label) else np.int64
    return torch.from_numpy(np.array(label, dtype, order='C'))[None]


def map_to_tensor(stored: np.ndarray) -> torch.Tensor:
    """(H, W) -> (1, H, W), (H, W, C) -> (C, H, W), of the same dtype where torch has it."""
    if stored.dtype in (np.uint16, np.uint32):  # no arithmetic in torch; these hold their values
        stored = stored.astype(np.int32 if stored.dtype == np.uint16 else np.int64)
    planes = stored[None] if stored.ndim == 2 else stored.transpose(2, 0, 1)
    return torch.from_numpy(np.array(planes, order='C'))


@TRANSFORMS.register_module()
class PackSegInputs(Transform):
    """``dict(inputs=(C, H, W) uint8, data_samples=SegDataSample)`` from a results dict.

    ``gt_seg_map`` becomes the sample's ``gt_sem_seg``, other maps of ``seg_fields``
    (``gt_edge_map``, ``gt_depth_map``) keep name and dtype.

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
        for key in moving_maps(results):
            if key == 'gt_seg_map':
                sample.gt_sem_seg = PixelData(data=label_to_tensor(results[key]))
            else:
                sample.set_field(PixelData(data=map_to_tensor(results[key])), key, dtype=PixelData)
        packed['data_samples'] = sample
        return packed


serve(__name__)
