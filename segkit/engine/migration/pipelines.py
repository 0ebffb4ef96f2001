"""Transforms of a 0.x pipeline, one by one, into ours.

What normalised and padded inside the pipeline there is done by the data preprocessor here, so a
pipeline gives back its transforms and the preprocessor's arguments.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Transform = dict[str, Any]
_DROPPED = {'DefaultFormatBundle', 'ImageToTensor', 'Normalize', 'Pad'}


def convert_pipeline(old: Sequence[Mapping[str, Any]]) -> tuple[list[Transform], dict[str, object]]:
    """(transforms, data-preprocessor arguments found in them)."""
    new: list[Transform] = []
    preprocessor: dict[str, object] = {}
    for transform in map(dict, old):
        if transform['type'] == 'MultiScaleFlipAug':
            inner, found = convert_pipeline(transform['transforms'])
            new += [_with_scale(step, transform['img_scale']) for step in inner]
            preprocessor |= found
        elif transform['type'] in _DROPPED:
            preprocessor |= _preprocessing(transform)
        else:
            new.append(_convert(transform))
    return new, preprocessor


def views_of(old: Sequence[Mapping[str, Any]]) -> Transform | None:
    """The ``aug_test`` of a 0.x test pipeline, None where it names no ratios."""
    for transform in old:
        if transform['type'] == 'MultiScaleFlipAug' and transform.get('img_ratios'):
            return dict(img_ratios=list(transform['img_ratios']), flip=True)
    return None


def after_resize(pipeline: list[Transform], load: Transform) -> list[Transform]:
    """Our test pipeline loads the labels, and after the resize: they keep the file's size."""
    if any(step['type'] == 'LoadAnnotations' for step in pipeline):
        return pipeline
    kept = [step for step in pipeline if step['type'] != 'RandomFlip']
    return [*kept[:-1], load, kept[-1]]


def _preprocessing(transform: Transform) -> dict[str, object]:
    if transform['type'] == 'Normalize':
        return dict(
            mean=transform['mean'], std=transform['std'], bgr_to_rgb=transform.get('to_rgb', True)
        )
    if transform['type'] == 'Pad' and transform.get('size'):
        return dict(
            size=tuple(transform['size']),
            pad_val=transform.get('pad_val', 0),
            seg_pad_val=transform.get('seg_pad_val', 255),
        )
    if transform['type'] == 'Pad' and transform.get('size_divisor'):
        return dict(size_divisor=transform['size_divisor'])
    return {}


def _convert(transform: Transform) -> Transform:
    match transform['type']:
        case 'Collect':
            return dict(type='PackSegInputs')
        case 'Resize':
            return _convert_resize(transform)
        case 'RandomFlip':
            prob = transform.get('prob', transform.get('flip_ratio'))
            rest = {k: v for k, v in transform.items() if k == 'direction'}
            return dict(type='RandomFlip', prob=prob, **rest)
    return transform


def _convert_resize(transform: Transform) -> Transform:
    scale, keep = transform.get('img_scale'), transform.get('keep_ratio', True)
    if transform.get('ratio_range'):
        ratios = tuple(transform['ratio_range'])
        return dict(type='RandomResize', scale=scale, ratio_range=ratios, keep_ratio=keep)
    if isinstance(scale, list) and len(scale) > 1:
        return dict(type='RandomChoiceResize', scales=scale, keep_ratio=keep)
    return dict(type='Resize', scale=scale, keep_ratio=keep)


def _with_scale(step: Transform, scale: object) -> Transform:
    missing = step['type'] == 'Resize' and step.get('scale') is None
    return {**step, 'scale': scale} if missing else step
