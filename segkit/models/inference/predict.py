"""Running a segmentor on images: whole or by windows, one view or many, whatever their sizes.

Legend: N images; inputs (N, C, PH, PW); small logits (N, K, h, w), what the head answers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from segkit.structures import PixelData, SegDataSample

from .classes import argmax_classes, to_classes
from .logits import FLIP_AXES, Geometry, Logits, SlideLogits, WholeLogits, full_logits
from .memory import DEFAULT_BUDGET_MIB, run_shrinking
from .views import merge_views
from .windows import slide_settings, window_boxes

if TYPE_CHECKING:
    from ..data_preprocessor import Views
    from ..segmentors import EncoderDecoder

Meta = Mapping[str, Any]
Samples = Sequence[SegDataSample] | None


def predict_samples(
    model: 'EncoderDecoder', inputs: Tensor | Sequence, samples: Samples
) -> list[SegDataSample]:
    """Samples with `pred_sem_seg`; see EncoderDecoder.predict."""
    samples = [SegDataSample() for _ in inputs] if samples is None else list(samples)
    if isinstance(inputs, Tensor):
        logits = image_logits(model, inputs, [sample.metainfo for sample in samples])
        return [_finish(model, sample, one) for sample, one in zip(samples, logits)]
    results = []
    for image, sample in zip(inputs, samples):
        if isinstance(image, Tensor):
            # One at a time: images of one batch get what each would get alone.
            results += predict_samples(model, image[None], [sample])
        else:
            results.append(_predict_views(model, image, sample))
    return results


def postprocess(
    model: 'EncoderDecoder', seg_logits: Tensor, samples: Samples
) -> list[SegDataSample]:
    """Samples with classes of logits (N, K, PH, PW) at the network's input size."""
    samples = [SegDataSample() for _ in seg_logits] if samples is None else samples
    size = (seg_logits.shape[-2], seg_logits.shape[-1])
    results = []
    for logits, sample in zip(seg_logits, samples):
        geometry = Geometry.from_meta(sample.metainfo, size, model.align_corners)
        results.append(_finish(model, sample, WholeLogits(logits, size, geometry)))
    return results


def image_logits(
    model: 'EncoderDecoder', inputs: Tensor, metas: Sequence[Meta]
) -> Sequence[Logits]:
    """Deferred logits of each image, whole or by windows as `test_cfg.mode` says."""
    mode = model.test_cfg.get('mode', 'whole')
    if mode == 'slide':
        return window_logits(model, inputs, metas)
    if mode != 'whole':
        raise ValueError(f"model.test_cfg.mode is {mode!r}; choose 'whole' or 'slide'.")
    small = _forward_parts(model, list(inputs.split(1)), len(inputs), 'images')
    size = (inputs.shape[-2], inputs.shape[-1])
    return [
        WholeLogits(one, size, Geometry.from_meta(meta, size, model.align_corners))
        for one, meta in zip(small, metas)
    ]


def window_logits(
    model: 'EncoderDecoder', inputs: Tensor, metas: Sequence[Meta]
) -> list[SlideLogits]:
    """Deferred logits of each image from windows, `test_cfg.batch_windows` in one forward pass."""
    size = (inputs.shape[-2], inputs.shape[-1])
    boxes = window_boxes(size, *slide_settings(model.test_cfg))
    parts = [inputs[:, :, y1:y2, x1:x2] for y1, y2, x1, x2 in boxes]
    small = _forward_parts(model, parts, model.test_cfg.get('batch_windows', 1), 'windows')
    small = small.view(len(boxes), len(inputs), *small.shape[1:])
    return [
        SlideLogits(small[:, i], boxes, size, Geometry.from_meta(meta, size, model.align_corners))
        for i, meta in enumerate(metas)
    ]


def _forward_parts(model: 'EncoderDecoder', parts: list[Tensor], at_once: int, what: str) -> Tensor:
    """Small logits of all parts in float32, ``at_once`` of them in one forward pass.

    Fewer when the device runs out of memory, and then for the images that follow as well.
    """
    at_once = min(at_once, len(parts), model.at_once.get(what, at_once))

    def run(count: int) -> Tensor:
        groups = (parts[i : i + count] for i in range(0, len(parts), count))
        outs = [small_logits(model, torch.cat(g) if len(g) > 1 else g[0]) for g in groups]
        return torch.cat(outs) if len(outs) > 1 else outs[0]

    small, fitted = run_shrinking(run, max(1, at_once), what)
    if fitted < at_once:
        model.at_once[what] = fitted
    return small


def small_logits(model: 'EncoderDecoder', inputs: Tensor) -> Tensor:
    """What the decode head answers on its own grid, (N, K, h, w) float32.

    float32 since resizing in bfloat16 changes classes and is slower. A head from elsewhere that
    predicts in its own way is asked for its prediction.
    """
    head = model.decode_head
    with model.precision(inputs):
        maps = model.extract_feat(inputs.contiguous(memory_format=model.memory_format))
        if _is_ours(head.predict) and _is_ours(head.predict_by_feat):
            logits = head(maps)
            logits = logits[0] if isinstance(logits, tuple | list) else logits
        else:
            logits = head.predict(maps, [{'img_shape': inputs.shape[2:]}], model.test_cfg)
    return logits.float().contiguous()


def _is_ours(method: Callable) -> bool:
    return method.__module__.startswith('segkit.models.decode_heads.')


def _budget(model: 'EncoderDecoder') -> int:
    """Bytes that full-size maps may take."""
    return int(model.test_cfg.get('memory_budget', DEFAULT_BUDGET_MIB) * 2**20)


def _finish(model: 'EncoderDecoder', sample: SegDataSample, logits: Logits) -> SegDataSample:
    """The sample with its classes, and its logits if `test_cfg.keep_logits` asks for them."""
    threshold = model.decode_head.threshold
    if model.test_cfg.get('keep_logits'):
        scores = full_logits(logits, chunk=1)
        scores = scores.sigmoid() if len(scores) == 1 else scores
        sample.seg_logits = PixelData(data=scores)
        classes = argmax_classes(scores, threshold)
    else:
        classes = to_classes(logits, threshold, _budget(model))
    sample.pred_sem_seg = PixelData(data=classes)
    return sample


def _predict_views(model: 'EncoderDecoder', views: 'Views', sample: SegDataSample) -> SegDataSample:
    """The mean over the views of one image, each with its mirror image if they ask for it."""
    merged = merge_views(_view_logits(model, views, sample.metainfo), _budget(model))
    threshold = model.decode_head.threshold
    if model.test_cfg.get('keep_logits'):
        scores = merged.scores()
        sample.seg_logits = PixelData(data=scores)
        classes = argmax_classes(scores, threshold)
    else:
        classes = merged.classes(threshold)
    sample.pred_sem_seg = PixelData(data=classes)
    return sample


def _view_logits(model: 'EncoderDecoder', views: 'Views', meta: Meta) -> Iterator[Logits]:
    """Deferred logits of every view and of its mirror image, as they are asked for."""
    if 'ori_shape' not in meta:
        raise ValueError(
            'Views of an image need ori_shape=(H, W) in the metainfo of its data sample: it is '
            'where they meet.'
        )
    ori_shape = tuple(meta['ori_shape'])[:2]
    for view, padding in views:
        # The published figures undo the flip after the resize.
        plain = Geometry(ori_shape, padding, None, model.align_corners, flip_last=True)
        geometries, batch = [plain], view[None]
        if views.flip:
            geometries.append(replace(plain, flip=views.flip))
            batch = torch.stack([view, _mirrored(view, padding, views.flip)])
        logits = image_logits(model, batch, [{}] * len(geometries))
        yield from (replace(one, geometry=g) for one, g in zip(logits, geometries))


def _mirrored(view: Tensor, padding: tuple[int, int, int, int], flip: str) -> Tensor:
    """The picture flipped and its padding left where it is: pipelines flip first, then pad."""
    left, right, top, bottom = padding
    height, width = view.shape[-2:]
    picture = (..., slice(top, height - bottom), slice(left, width - right))
    mirrored = view.clone()
    mirrored[picture] = view[picture].flip(FLIP_AXES[flip])
    return mirrored
