"""Calls of mmsegmentation 0.x on the models and heads of today.

There a model took ``img``, ``img_metas`` (a dict an image) and ``gt_semantic_seg`` (N, 1, H, W);
for testing a list of batches, one a view of the same images, and a list of ``img_metas`` for each.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mmengine.structures import PixelData
from torch import Tensor, nn

from segkit.models.inference.logits import Geometry, as_deferred, next_step
from segkit.structures import SegDataSample

if TYPE_CHECKING:
    from segkit.models.decode_heads import BaseDecodeHead
    from segkit.models.segmentors import EncoderDecoder

Metas = Sequence[Mapping[str, Any]]


def samples_of(img_metas: Metas, gt_semantic_seg: Tensor | None = None) -> list[SegDataSample]:
    """Samples of a batch; sizes are (H, W), whatever channels stood behind."""
    samples = []
    for i, meta in enumerate(img_metas):
        sizes = {key: tuple(meta[key])[:2] for key in _SIZES if meta.get(key) is not None}
        sample = SegDataSample(metainfo={**meta, **sizes})
        if gt_semantic_seg is not None:
            label = gt_semantic_seg[i]
            sample.gt_sem_seg = PixelData(data=label.reshape(1, *label.shape[-2:]))
        samples.append(sample)
    return samples


_SIZES = ('ori_shape', 'img_shape', 'pad_shape')


def forward(
    model: Any,
    img: object,
    img_metas: Any,
    return_loss: bool = True,
    gt_semantic_seg: Tensor | None = None,
    rescale: bool = True,
) -> dict[str, Tensor] | list[np.ndarray]:
    """The losses of a batch, or without ``return_loss`` the classes (H, W) of each image, at its
    original size with ``rescale``. Several views are averaged as probabilities."""
    if return_loss:
        return model.loss(img, samples_of(img_metas, gt_semantic_seg))
    with torch.no_grad():
        return _classes(model, img, img_metas, rescale)


def _classes(model: 'EncoderDecoder', views: Any, metas: Any, rescale: bool) -> list[np.ndarray]:
    views, metas = ([views], [metas]) if isinstance(views, Tensor) else (views, metas)
    scores: list[Tensor] = []
    for view, batch in zip(views, metas, strict=True):
        size = tuple(view.shape[-2:])
        samples = samples_of(batch)
        if not rescale:
            samples = [_at(s, s.metainfo.get('img_shape', size)) for s in samples]
        given = [_padded(sample, size) for sample in samples]
        logits = as_deferred(next_step(model.inference, view, given), model.align_corners)
        ways = [Geometry.of(meta, size) for meta in given]
        found = [logits.image(i, way).scores() for i, way in enumerate(ways)]
        shares = [f.softmax(0) if len(views) > 1 and len(f) > 1 else f for f in found]
        scores = [a + b for a, b in zip(scores, shares)] if scores else shares
    threshold: Any = getattr(model.decode_head, 'threshold', None)
    return [
        (s.argmax(0) if len(s) > 1 else s[0] / len(views) > threshold).cpu().numpy().astype('int64')
        for s in scores
    ]


def _at(sample: SegDataSample, size: Sequence[int]) -> SegDataSample:
    sample.set_metainfo({'ori_shape': tuple(size)})
    return sample


def _padded(sample: SegDataSample, size: Sequence[int]) -> dict[str, object]:
    """Metainfo, with the padding on the right and below that was told by two sizes there."""
    meta = {'ori_shape': tuple(size), **sample.metainfo, 'pad_shape': tuple(size)}
    shape = meta.setdefault('img_shape', tuple(size))
    return {**meta, 'img_padding_size': (0, size[1] - shape[1], 0, size[0] - shape[0])}


def segmentor_forward_train(
    model: 'EncoderDecoder',
    img: Tensor,
    img_metas: Metas,
    gt_semantic_seg: Tensor,
    **kwargs: object,
) -> dict[str, Tensor]:
    """The losses of a batch, without the call of an override."""
    return model._losses(img, samples_of(img_metas, gt_semantic_seg))


def simple_test(
    model: 'EncoderDecoder', img: Any, img_metas: Any, rescale: bool = True
) -> list[np.ndarray]:
    """The classes (H, W) of each image, of one view or of several."""
    with torch.no_grad():
        return _classes(model, img, img_metas, rescale)


def forward_dummy(model: 'EncoderDecoder', img: Tensor) -> Tensor:
    """Logits (N, K, H, W) at the size of ``img``, for who counts operations."""
    return model.encode_decode(img, [{'img_shape': tuple(img.shape[2:])}] * len(img))


def step(model: Any, data: Mapping[str, Any]) -> dict[str, object]:
    """``train_step`` and ``val_step``: the loss to minimise, what to log and how many images. The
    optimizer's step was a hook's."""
    loss, logged = model.parse_losses(forward(model, **data))
    values = {name: float(value) for name, value in logged.items()}
    return {'loss': loss, 'log_vars': values, 'num_samples': len(data['img_metas'])}


def forward_train(
    head: 'BaseDecodeHead',
    inputs: Sequence[Tensor],
    img_metas: Metas,
    gt_semantic_seg: Tensor,
    train_cfg: Mapping[str, object] | None = None,
) -> dict[str, Tensor]:
    """A head's losses of the backbone's maps."""
    metas = img_metas or [{}] * len(gt_semantic_seg)
    return head.loss_by_feat(head(inputs), samples_of(metas, gt_semantic_seg))


def forward_test(
    head: nn.Module,
    inputs: Sequence[Tensor],
    img_metas: Metas | None = None,
    test_cfg: Mapping[str, object] | None = None,
) -> Tensor:
    """A head's logits (N, K, h, w); the first output of one that has several in training."""
    logits = head(inputs)
    return logits[0] if isinstance(logits, tuple | list) else logits
