"""From samples to a batch that crosses from the worker to the trainer as few, large buffers.

A tensor handed over by a worker costs a shared-memory segment, a file descriptor and a message.
So the images of a batch travel as one flat buffer and the labels as another. What the trainer
receives is what it would have received one by one, a list of images and a list of samples, which
are views into those: data preprocessors from elsewhere stack and pad such lists themselves.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import PixelData

from segkit.registry import FUNCTIONS
from segkit.structures import ImageViews, SegDataSample, pack_tensors, unpack_tensors


class PackedTensors(list):
    """A list of tensors of one dtype that is pickled as one flat buffer."""

    def __reduce__(self) -> tuple:
        return _rebuild_tensors, pack_tensors(self)

    def pin_memory(self) -> 'PackedTensors':
        """Called by the data loader: one pinned buffer instead of one for each image."""
        return _rebuild_tensors(*pack_tensors(self, pinned=True))


class PackedSamples(list):
    """A list of data samples that is pickled as one label buffer and the rest."""

    def __reduce__(self) -> tuple:
        return _rebuild_samples, self._take_apart()

    def pin_memory(self) -> 'PackedSamples':
        """Called by the data loader: one pinned label buffer."""
        return _rebuild_samples(*self._take_apart(pinned=True))

    def _take_apart(self, pinned: bool = False) -> tuple[list, torch.Tensor, list]:
        rest = []
        for sample in self:
            bare = sample.new()
            del bare.gt_sem_seg
            rest.append(bare)
        return rest, *pack_tensors([sample.gt_sem_seg.data for sample in self], pinned)


def _rebuild_tensors(flat: torch.Tensor, shapes: list) -> PackedTensors:
    return PackedTensors(unpack_tensors(flat, shapes))


def _rebuild_samples(rest: list, flat: torch.Tensor, shapes: list) -> PackedSamples:
    for sample, label in zip(rest, unpack_tensors(flat, shapes)):
        sample.gt_sem_seg = PixelData(data=label)
    return PackedSamples(rest)


def _collate_samples(samples: list) -> list:
    """Labelled samples of one dtype packed; others (tests without labels) as they are."""
    if not all(isinstance(s, SegDataSample) and 'gt_sem_seg' in s for s in samples):
        return samples
    dtypes = {sample.gt_sem_seg.data.dtype for sample in samples}
    return PackedSamples(samples) if len(dtypes) == 1 else samples


@FUNCTIONS.register_module()
def seg_collate(batch: Sequence[dict]) -> dict[str, Any]:
    """Collate the results of ``PackSegInputs``; anything else is left as lists of values.

    ``inputs``: a list of (C, H, W), or a list of ImageViews.
    """
    first = batch[0]
    inputs = first.get('inputs') if isinstance(first, dict) else None
    if not isinstance(inputs, torch.Tensor | ImageViews):
        return pseudo_collate(batch)
    out: dict[str, Any] = {key: [sample[key] for sample in batch] for key in first}
    if isinstance(inputs, torch.Tensor) and len({t.dtype for t in out['inputs']}) == 1:
        out['inputs'] = PackedTensors(out['inputs'])
    if 'data_samples' in out:
        out['data_samples'] = _collate_samples(out['data_samples'])
    return out
