"""Class names and colours by function, batches by hand, arrays from bytes."""

import io
from collections.abc import Callable, Sequence

import numpy as np
import torch.nn.functional as F
from mmengine.structures import PixelData
from torch import Tensor, stack

from segkit.errors import UserError
from segkit.structures import SegDataSample

from .helpers import dataset_aliases as dataset_aliases
from .helpers import get_classes, get_palette


def _functions(name: str) -> tuple[Callable[[], list], Callable[[], list]]:
    def classes() -> list[str]:
        """Names of the classes."""
        return get_classes(name)

    def palette() -> list[list[int]]:
        """The [r, g, b] of each class."""
        return get_palette(name)

    return classes, palette


cityscapes_classes, cityscapes_palette = _functions('cityscapes')
ade_classes, ade_palette = _functions('ade')
voc_classes, voc_palette = _functions('voc')
pcontext_classes, pcontext_palette = _functions('pcontext')
loveda_classes, loveda_palette = _functions('loveda')
potsdam_classes, potsdam_palette = _functions('potsdam')
vaihingen_classes, vaihingen_palette = _functions('vaihingen')
cocostuff_classes, cocostuff_palette = _functions('cocostuff')
isaid_classes, isaid_palette = _functions('isaid')


def stack_batch(
    inputs: list[Tensor],
    data_samples: Sequence[SegDataSample] | None = None,
    size: tuple[int, int] | None = None,
    size_divisor: int | None = None,
    pad_val: float = 0,
    seg_pad_val: float = 255,
) -> tuple[Tensor, list]:
    """Images (C, H, W) padded below and at the right to one batch (N, C, PH, PW), with their maps.

    Args:
        size: (H, W) to pad to; or ``size_divisor``: to the next multiple of it above the largest.

    Returns:
        The batch; the samples, padded in place, with `padding_size`, `img_shape` and `pad_shape`
        (without samples a dict of `img_padding_size` and `pad_shape` for each).
    """
    if (size is None) == (size_divisor is None):
        raise UserError('stack_batch: give size or size_divisor, and one of them only.')
    if not isinstance(inputs, list) or len({(x.dim(), x.shape[0]) for x in inputs}) != 1:
        raise UserError('stack_batch: inputs must be a list of (C, H, W) with equal C.')
    height, width = max(x.shape[1] for x in inputs), max(x.shape[2] for x in inputs)
    if size is not None:
        height, width = size[-2:]
    elif size_divisor and size_divisor > 1:
        height, width = (-(-n // size_divisor) * size_divisor for n in (height, width))
    batch, samples = [], []
    for i, image in enumerate(inputs):
        padding = (0, max(width - image.shape[2], 0), 0, max(height - image.shape[1], 0))
        batch.append(F.pad(image, padding, value=pad_val))
        shape = tuple(batch[-1].shape[-2:])
        if data_samples is None:
            samples.append({'img_padding_size': padding, 'pad_shape': shape})
            continue
        sample = data_samples[i]
        for name, value in sample.items():
            if isinstance(value, PixelData) and value.shape == tuple(image.shape[-2:]):
                maps = {k: F.pad(v, padding, value=seg_pad_val) for k, v in value.items()}
                sample.set_field(value.new(**maps), name, dtype=PixelData)
        sample.set_metainfo(
            {'img_shape': tuple(image.shape[-2:]), 'pad_shape': shape, 'padding_size': padding}
        )
        samples.append(sample)
    return stack(batch), samples


def datafrombytes(content: bytes, backend: str = 'numpy') -> np.ndarray:
    """An array from the bytes of a file: of ``.npy`` ('numpy') or of a picture ('cv2').

    Raises:
        ValueError: another backend: a pickle may run code, NIfTI files are nibabel's to read.
    """
    if backend == 'numpy':
        return np.load(io.BytesIO(content), allow_pickle=False)
    if backend == 'cv2':
        import cv2

        found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if found is None:
            raise UserError('datafrombytes: these bytes are no picture that OpenCV reads.')
        return found
    raise UserError(
        f"datafrombytes(backend={backend!r}): only 'numpy' and 'cv2' are read here. A pickle may "
        'run code: save the array as .npy; for NIfTI use nibabel.'
    )
