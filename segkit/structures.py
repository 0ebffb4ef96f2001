"""What travels with one image: its labels, its prediction and where it came from.

Legend: H, W height and width; K number of classes.

    gt_sem_seg    (1, H, W) uint8 or int64   class indices, 255 = ignore
    seg_logits    (K, H, W) float            by far the largest: computed when it is asked for, and
                                             kept on request
    pred_sem_seg  (1, H, W) uint8 or int64   class indices; 255 = unknown, on request
    confidence    (1, H, W) float32          probability of the predicted class, on request
    probabilities (K, H, W) float32          of all classes, on request

Metainfo: img_path, seg_map_path; ori_shape, img_shape, pad_shape, each (H, W); scale_factor (w, h);
flip, flip_direction, reduce_zero_label; padding_size or img_padding_size (left, right, top,
bottom).
"""

from collections.abc import Callable, Sequence
from operator import attrgetter

import torch
from mmengine.structures import BaseDataElement, PixelData
from torch import Tensor
from torch.utils.data import get_worker_info

from segkit.old_names import serve

__all__ = ['ImageViews', 'PixelData', 'SegDataSample']


_NO_LOGITS = (
    'seg_logits are not kept of many images or views, or once a result was copied or moved: they '
    'are by far the largest part of it. Ask for them with '
    "keep_logits=True: init_model(..., cfg_options={'model.test_cfg.keep_logits': True}), or "
    "model.test_cfg['keep_logits'] = True."
)


def _missing(name: str) -> str:
    return (
        f'{name} is kept on request alone: inference_model(..., {name}=True), or '
        f"model.test_cfg['keep_{name}'] = True."
    )


def _field(name: str, doc: str, missing: str | None = None) -> property:
    """A ``PixelData`` attribute of a data element, with type check, under its public name.

    ``missing``: what the AttributeError says where it was not set.
    """
    private = f'_{name}'

    def getter(self: BaseDataElement) -> PixelData:
        later = self.__dict__.pop(f'{private}_later', None)
        if private not in self.__dict__:
            if later is None:
                raise AttributeError(missing)
            self.set_field(PixelData(data=later()), private, dtype=PixelData)
        return getattr(self, private)

    def setter(self: BaseDataElement, value: PixelData) -> None:
        self.set_field(value, private, dtype=PixelData)

    def deleter(self: BaseDataElement) -> None:
        delattr(self, private)

    read = attrgetter(private) if missing is None else getter
    return property(read, setter, deleter, doc)


class SegDataSample(BaseDataElement):
    """Labels, logits and prediction of one image; see the legend above.

    Example:
        >>> sample = SegDataSample(metainfo=dict(ori_shape=(4, 4)))
        >>> sample.gt_sem_seg = PixelData(data=torch.zeros(1, 4, 4, dtype=torch.uint8))
    """

    gt_sem_seg = _field('gt_sem_seg', 'Labels, (1, H, W).')
    pred_sem_seg = _field('pred_sem_seg', 'Predicted classes, (1, H, W).')
    confidence = _field(
        'confidence', 'Probability of the predicted class, (1, H, W).', _missing('confidence')
    )
    probabilities = _field('probabilities', 'Of all classes, (K, H, W).', _missing('probabilities'))
    seg_logits = _field('seg_logits', 'Scores at the original size, (K, H, W).', _NO_LOGITS)

    def logits_later(self, scores: Callable[[], Tensor] | None) -> None:
        """Have ``scores()``, (K, H, W), become `seg_logits` when they are asked for; or nothing. No
        field, so that a copy, another device or process does not take it along."""
        self.__dict__['_seg_logits_later'] = scores

    def __getstate__(self) -> dict[str, object]:
        return {k: v for k, v in self.__dict__.items() if k != '_seg_logits_later'}


class ImageViews:
    """Views of one image for multi-scale testing; not a sequence, so collating leaves it whole.

    Attributes:
        tensors: one (C, h, w) uint8 image for each scale.
        flip: 'horizontal', 'vertical', 'diagonal' or None: the direction in which the model is to
            mirror each view as well.
    """

    def __init__(self, tensors: Sequence[Tensor], flip: str | None = None) -> None:
        self.tensors, self.flip = list(tensors), flip

    def __len__(self) -> int:
        return len(self.tensors)

    def __reduce__(self) -> tuple:
        return _rebuild_views, (*pack_tensors(self.tensors), self.flip)

    def pin_memory(self) -> 'ImageViews':
        """Called by the data loader."""
        return ImageViews([tensor.pin_memory() for tensor in self.tensors], self.flip)


def _rebuild_views(flat: Tensor, shapes: Sequence[torch.Size], flip: str | None) -> ImageViews:
    return ImageViews(unpack_tensors(flat, shapes), flip)


def pack_tensors(
    tensors: Sequence[Tensor], pinned: bool = False
) -> tuple[Tensor, list[torch.Size]]:
    """Tensors of one dtype in one flat buffer (in pinned memory if asked), and their shapes.

    Between processes each tensor would cost a shared-memory segment, a file descriptor and a
    message; the buffer is one of each.
    """
    flat = _buffer(sum(t.numel() for t in tensors), tensors[0].dtype, pinned)
    for part, tensor in zip(flat.split([t.numel() for t in tensors]), tensors):
        part.view(tensor.shape).copy_(tensor)
    return flat, [t.shape for t in tensors]


def unpack_tensors(flat: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """Views into ``flat``, in the order in which they were packed."""
    parts = flat.split([torch.Size(s).numel() for s in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes)]


def _buffer(numel: int, dtype: torch.dtype, pinned: bool) -> Tensor:
    """A flat tensor, in shared memory when in a worker: written once, never copied again."""
    if pinned or get_worker_info() is None:
        return torch.empty(numel, dtype=dtype, pin_memory=pinned)
    storage = torch.empty(0, dtype=dtype).untyped_storage()._new_shared(numel * dtype.itemsize)
    return torch.empty(0, dtype=dtype).set_(storage, 0, (numel,), (1,))


serve(__name__)
