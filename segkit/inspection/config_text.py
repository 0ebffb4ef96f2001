"""A ready config for a folder pair: its differences from a shipped network."""

import os
from pathlib import Path

from segkit.engine.config import HOMES

from .quoting import comment, literal

_TEMPLATE = '''\
"""Written by tools/new_dataset.py."""

# {title}
# Labels: {reason}.

_base_ = [
    {bases}]

dataset_type = 'BaseSegDataset'
data_root = {root}
num_classes = {num_classes}
crop_size = {crop}
metainfo = dict(
    classes={classes},
    palette={palette})
# How to read the label files, the same for every split.
reading = dict({reading})
train_pipeline = [
    dict(type='LoadImageFromFile'{load}),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale={scale}, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),{distortion}
    dict(type='PackSegInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'{load}),
    dict(type='Resize', scale={scale}, keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')]
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        {train},
        pipeline=train_pipeline,
        **reading))
# Images per step that the schedule's learning rate is for; see --auto-scale-lr, --accumulate auto.
auto_scale_lr = dict(enable=False, base_batch_size=16)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        {val},
        test_mode=True,
        pipeline=test_pipeline,
        **reading))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

model = dict(
    data_preprocessor=dict(size=crop_size{statistics}),{backbone}
    decode_head=dict(num_classes=num_classes),
    auxiliary_head=dict(num_classes=num_classes))
'''


def config_text(
    *,
    root: str,
    out: Path,
    network: str,
    schedule: str,
    reason: str,
    classes: list[str],
    palette: list,
    reading: dict,
    splits: dict[str, dict],
    size: tuple[int, int],
    channels: int,
    statistics: tuple[list | None, list | None] | None,
) -> str:
    """The text of the config.

    Args:
        out: where it will lie; the shipped parts are named relative to it.
        reading: keyword arguments of the dataset common to all splits.
        splits: 'train' and 'val' -> keyword arguments of their own.
        size: median (height, width) of the images.
        statistics: (mean, std) in the order of the channels, where they are not three.
    """
    crop = tuple(max(8, min(512, side // 8 * 8)) for side in size)
    colour = channels == 3
    return _TEMPLATE.format(
        title=comment(f'{Path(root).name}: {len(classes)} classes, {network}.'),
        root=_indented(root),
        reason=comment(reason),
        bases=',\n    '.join(literal(base) for base in _bases(out, network, schedule)),
        num_classes=len(classes),
        crop=crop,
        scale=(size[1], size[0]),
        classes=_indented(tuple(classes)),
        palette=_indented([list(map(int, colour)) for colour in palette]),
        reading=_keywords(reading),
        load='' if colour else ", color_type='unchanged'",
        distortion="\n    dict(type='PhotoMetricDistortion')," if colour else '',
        train=_keywords(splits['train'], ',\n        '),
        val=_keywords(splits['val'], ',\n        '),
        statistics=_statistics(statistics),
        backbone='' if colour else f'\n    backbone=dict(in_channels={channels}),',
    )


def _bases(out: Path, network: str, schedule: str) -> list[str]:
    """The shipped parts, relative to the new file where it lies near them."""
    home = next(home for home in HOMES if (home / '_base_').is_dir()) / '_base_'
    parts = [f'models/{network}.py', 'default_runtime.py', f'schedules/{schedule}.py']
    for part in parts:
        if not (home / part).is_file():
            known = ', '.join(sorted(p.stem for p in (home / part).parent.glob('*.py')))
            raise ValueError(f'{Path(part).stem}: there is no such part; known: {known}.')
    return [os.path.relpath(home / part, out.resolve().parent) for part in parts]


def _keywords(values: dict, separator: str = ', ') -> str:
    return separator.join(f'{key}={literal(value)}' for key, value in values.items())


def _indented(value: object) -> str:
    return literal(value).replace('\n', '\n    ')


def _statistics(statistics: tuple[list | None, list | None] | None) -> str:
    if statistics is None:
        return ''
    return f', mean={statistics[0]}, std={statistics[1]}, bgr_to_rgb=False'
