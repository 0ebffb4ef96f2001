"""A ready config for a data set: its differences from a shipped network, everything quoted."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .classes import Classes
from .quoting import comment, literal
from .recipe import Recipe

_TEMPLATE = '''\
"""Written by tools/new_dataset.py."""

{comments}

_base_ = [
    {bases}]

work_dir = {work_dir}
data_root = {root}
num_classes = {num_classes}
crop_size = {crop}
metainfo = dict(
    classes={classes},
    palette={palette}{more_info})
# How to read the files, the same for every split.
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
    batch_size={batch},
    num_workers={workers},
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset={train})
val_dataloader = dict(
    batch_size=1,
    num_workers={workers},
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset={val})
{test}
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

# The rate is for {batch} images a step; --auto-scale-lr fits it to more GPUs.
optim_wrapper = dict(optimizer=dict(lr={rate}))
auto_scale_lr = dict(enable=False, base_batch_size={batch})
{schedule}
default_hooks = dict(logger=dict(interval={interval}))

{start}
model = dict(
    pretrained={pretrained},
    data_preprocessor=dict(size=crop_size{statistics}),{backbone}
    decode_head=dict(num_classes=num_classes{decode}),
    auxiliary_head=dict(num_classes=num_classes{auxiliary}))
'''
_SCHEDULE = """\
max_iters = {iterations}
param_scheduler = [
    dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=max_iters, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval={validate})
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')"""
_TEST = """\
test_dataloader = dict(
    batch_size=1,
    num_workers={workers},
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset={test})"""


@dataclass
class Content:
    """What a config says.

    name: of the data set; training writes to work_dirs/NAME. splits: role -> arguments of the data
    sets it consists of. channels: of a picture as loaded; unchanged: keep the stored values.
    statistics: (mean, std) in the order of the channels, where they are not those of photographs.
    comments: lines for its head.
    """

    name: str
    root: str
    classes: Classes
    palette: Sequence[Sequence[int]]
    splits: Mapping[str, Sequence[Mapping]]
    recipe: Recipe
    channels: int = 3
    unchanged: bool = False
    statistics: tuple[list | None, list | None] | None = None
    comments: Sequence[str] = ()


def config_text(content: Content) -> str:
    """The text of the config."""
    recipe, classes = content.recipe, content.classes
    changes = recipe.network.changes()
    backbone = dict(changes.get('backbone', {}))
    if content.channels != 3:
        backbone['in_channels'] = content.channels
    test, val = content.splits.get('test'), content.splits['val']
    fields = dict(
        comments='\n'.join(_comments(content.comments)),
        bases=',\n    '.join(literal(base) for base in _bases(recipe)),
        work_dir=_indented(f'work_dirs/{content.name}'),
        root=_indented(content.root),
        num_classes=len(classes.names),
        crop=recipe.crop,
        scale=recipe.scale,
        classes=_indented(tuple(classes.names)),
        palette=_indented([list(map(int, colour)) for colour in content.palette]),
        more_info=_more_info(classes),
        reading=_keywords(
            {'type': 'BaseSegDataset', 'data_root': None, 'metainfo': None, **classes.settings}
        ),
        load=", color_type='unchanged'" if content.unchanged else '',
        distortion='' if content.unchanged else "\n    dict(type='PhotoMetricDistortion'),",
        batch=recipe.batch,
        workers=recipe.workers,
        train=_dataset(content.splits['train'], 'pipeline=train_pipeline'),
        val=_dataset(val, 'test_mode=True', 'pipeline=test_pipeline'),
        rate=recipe.rate,
        interval=min(50, max(1, recipe.iterations // 20)),
        start=_start(recipe),
        pretrained=literal(recipe.network.weights) if recipe.pretrained else None,
        statistics=_statistics(content.statistics),
        backbone=f'\n    backbone=dict({_keywords(backbone)}),' if backbone else '',
        decode=_more(changes.get('decode_head')),
        auxiliary=_more(changes.get('auxiliary_head')),
    )
    fields['schedule'] = (
        ''
        if recipe.schedule
        else _SCHEDULE.format(
            iterations=recipe.iterations,
            validate=max(recipe.iterations // 10, min(recipe.iterations, 5)),
        )
    )
    fields['test'] = 'test_dataloader = val_dataloader'
    if test:
        told = _dataset(test, 'test_mode=True', 'pipeline=test_pipeline')
        fields['test'] = _TEST.format(workers=recipe.workers, test=told)
    return _TEMPLATE.format(**fields).replace('\n\n\n', '\n\n')


def _comments(lines: Sequence[str]) -> list[str]:
    """Lines of comment, wrapped where there are spaces; hard ends are none that a name can make."""
    wrapped = (textwrap.wrap(comment(line), 96, break_long_words=False) for line in lines)
    return [f'# {line}' for some in wrapped for line in some]


def _bases(recipe: Recipe) -> list[str]:
    """The shipped parts, found wherever segkit is installed."""
    schedule = recipe.schedule or 'sgd'
    parts = (recipe.network.base, '_base_/default_runtime.py', f'_base_/schedules/{schedule}.py')
    return [f'segkit::{part}' for part in parts]


def _dataset(parts: Sequence[Mapping], *settings: str) -> str:
    """One data set, or several one after the other."""
    told = [
        'dict(\n        '
        + ',\n        '.join(['**reading', _keywords(part, ',\n        '), *settings])
        + ')'
        for part in parts
    ]
    if len(told) == 1:
        return told[0]
    inner = ',\n        '.join(one.replace('\n', '\n    ') for one in told)
    return f"dict(type='ConcatDataset', datasets=[\n        {inner}])"


def _more_info(classes: Classes) -> str:
    colours = [list(value) for value in classes.ignored if isinstance(value, tuple)]
    return f',\n    ignored_colours={_indented(colours)}' if colours else ''


def _keywords(values: Mapping, separator: str = ', ') -> str:
    """``key=value`` pairs; the names that the config itself defines stand for themselves."""
    return separator.join(
        f'{key}={key if value is None else literal(value)}' for key, value in values.items()
    )


def _more(values: Mapping | None) -> str:
    return f', {_keywords(values)}' if values else ''


def _indented(value: object) -> str:
    return literal(value).replace('\n', '\n    ')


def _statistics(statistics: tuple[list | None, list | None] | None) -> str:
    if statistics is None:
        return ''
    return f', mean={statistics[0]}, std={statistics[1]}, bgr_to_rgb=False'


def _start(recipe: Recipe) -> str:
    weights = recipe.network.weights
    if recipe.pretrained:
        return '# Begins with a ResNet trained on ImageNet, fetched once; None begins from nothing.'
    if weights is None:
        return f'# Begins from nothing: no ResNet-{recipe.network.depth} V1c was published.'
    return (
        '# Begins from nothing, without a download. A ResNet trained on ImageNet, fetched once, '
        'learns more\n'
        '# from few pictures and in fewer iterations:\n'
        f'#     --cfg-options model.pretrained={weights}'
    )
