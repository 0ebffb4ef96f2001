"""Settings of a config that fit no part of the run: schedules, scores to watch, parameter names.

Checks of the list in ``before_training.py``, for what the config alone tells.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from segkit.engine.findings import ERROR, WARNING, Finding
from segkit.evaluation.scores import COLUMNS, METRIC_GROUPS
from segkit.registry import DATASETS, MODELS

# Schedules that reach their last value at ``end``, as against those that go on as they are.
_ENDING = ('PolyLR', 'PolyMomentum', 'CosineAnnealingLR', 'CosineAnnealingMomentum', 'LinearLR')
_WARM_UP = ('LinearLR', 'ConstantLR', 'LinearMomentum', 'ConstantMomentum')
_NEVER = 10**9  # mmengine's end of a schedule that has none
_NAMES = 30


def _items(value: Any) -> list[Mapping]:
    """A dict or a list of dicts as a list of dicts."""
    items = [value] if isinstance(value, Mapping) else list(value or [])
    return [item for item in items if isinstance(item, Mapping)]


def _length(cfg: Mapping) -> tuple[int, bool] | None:
    """(iterations or epochs of training, whether they are epochs)."""
    loop = cfg.get('train_cfg') or {}
    for key, by_epoch in (('max_iters', False), ('max_epochs', True)):
        if isinstance(loop.get(key), int):
            return loop[key], by_epoch
    return None


def schedules_end(cfg: Mapping) -> Iterator[Finding]:
    """A rate that stops falling long before training ends, or has not fallen when it does."""
    length = _length(cfg)
    schedulers = cfg.get('param_scheduler')
    if length is None or not isinstance(schedulers, Mapping | list | tuple):
        return
    total, in_epochs = length
    unit = 'epochs' if in_epochs else 'iterations'
    key = 'train_cfg.max_epochs' if in_epochs else 'train_cfg.max_iters'
    many = not isinstance(schedulers, Mapping)
    latest: tuple[int, str] | None = None
    for i, item in enumerate(_items(schedulers)):
        if bool(item.get('by_epoch', True)) != in_epochs:
            continue
        path = f'param_scheduler.{i}' if many else 'param_scheduler'
        kind, begin, end = str(item.get('type')), item.get('begin', 0), item.get('end', _NEVER)
        if begin >= total:
            text = f'{path} begins at {begin}, when training, {total} {unit} long, is over'
            yield Finding(WARNING, f'{text}: it changes nothing.', options=[f'{path}.begin=0'])
        elif kind in _ENDING and end > total and not item.get('T_max'):
            said = 'has no end' if end >= _NEVER else f'ends at {end}'
            yield Finding(
                WARNING,
                f'{path} ({kind}) {said}, but training ends after {total} {unit} ({key}): it '
                'never comes to its last value.',
                options=[f'{path}.end={total}'],
            )
        if kind not in _WARM_UP and (latest is None or end > latest[0]):
            latest = end, path
    if latest is not None and latest[0] < total:
        end, path = latest
        yield Finding(
            WARNING,
            f'{path} ends at {end}, but training goes on for {total} {unit} ({key}): for the rest '
            'the rate stays at its last value.',
            options=[f'{path}.end={total}'],
        )


def class_names(dataset: object) -> list[str]:
    """Classes of the first part of a data set's config, as far as no file is needed for them."""
    while isinstance(dataset, Mapping) and not (dataset.get('metainfo') or {}).get('classes'):
        inner = dataset.get('dataset') or next(iter(dataset.get('datasets') or []), None)
        if inner is None:
            kind = dataset.get('type')
            kind = DATASETS.get(kind) if isinstance(kind, str) else kind
            return list(getattr(kind, 'METAINFO', {}).get('classes', ()))
        dataset = inner
    return list(dataset['metainfo']['classes']) if isinstance(dataset, Mapping) else []


def known_scores(cfg: Mapping) -> tuple[list[str], list[str]] | None:
    """Names of what validation will measure: of the whole, and of single classes.

    None where a metric or a data set is not ours, and so may measure anything.
    """
    evaluators = _items(cfg.get('val_evaluator'))
    if any(metric.get('type') not in ('IoUMetric', 'segkit.IoUMetric') for metric in evaluators):
        return None
    classes = class_names((cfg.get('val_dataloader') or {}).get('dataset'))
    whole, single = [], []
    for metric in evaluators:
        prefix = f'{metric["prefix"]}/' if metric.get('prefix') else ''
        asked = metric.get('iou_metrics', ['mIoU'])
        names = ['aAcc', *(['mBIoU'] if metric.get('boundary') else [])]
        names += ['mIoU_low', 'mIoU_high'] if metric.get('bootstrap') else []
        names += ['mIoU_pictures'] if metric.get('picture_file') else []
        for group in [asked] if isinstance(asked, str) else asked:
            names += [*METRIC_GROUPS.get(group, {}), *(['FWIoU'] if group == 'mIoU' else [])]
        whole += [prefix + name for name in names]
        single += [f'{prefix}{head}.{name}' for head in COLUMNS for name in classes]
    return whole, single


def _watched(cfg: Mapping) -> Iterator[tuple[str, str]]:
    """(key, score) of what ``save_best`` and early stopping look at."""
    best = ((cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('save_best')
    names = [best] if isinstance(best, str) else best or []
    yield from (('default_hooks.checkpoint.save_best', name) for name in names if name != 'auto')
    for i, hook in enumerate(cfg.get('custom_hooks') or []):
        if isinstance(hook, Mapping) and str(hook.get('type')).endswith('EarlyStoppingHook'):
            yield f'custom_hooks.{i}.monitor', str(hook.get('monitor'))


def scores_exist(cfg: Mapping) -> Iterator[Finding]:
    """A score that decides what is kept, or when to stop, and that no validation measures."""
    watched = list(_watched(cfg))
    if not watched or cfg.get('val_dataloader') is None:
        return
    known = known_scores(cfg)
    if known is None:
        return
    whole, single = known
    losses = bool((cfg.get('val_cfg') or {}).get('val_loss'))
    for key, name in watched:
        if name in {*whole, *single} or (losses and name.startswith('val_')):
            continue
        there = [*whole, *(['val_loss'] if losses else []), *single[:_NAMES]]
        cure = next((n for n in ('mIoU', *whole) if n in whole), None)
        yield Finding(
            ERROR,
            f'{key}={name!r} is not among the scores of validation: {", ".join(there)}'
            f'{", ..." if len(single) > _NAMES else ""}.',
            options=[f'{key}={cure}'] if cure else [],
        )


def _parameter_names(model: Any) -> list[str]:
    """Names of a network's parameters; it is built without memory for them."""
    import torch

    from segkit.weights import without_pretrained

    with torch.device('meta'):
        return [name for name, _ in MODELS.build(without_pretrained(model)).named_parameters()]


def custom_keys_match(cfg: Mapping) -> Iterator[Finding]:
    """Parts of the network with a rate of their own that no parameter is called after."""
    wrapper = cfg.get('optim_wrapper')
    settings = (wrapper.get('paramwise_cfg') or {}) if isinstance(wrapper, Mapping) else {}
    keys = settings.get('custom_keys')
    if not keys or not isinstance(cfg.get('model'), Mapping):
        return
    names = _parameter_names(cfg['model'])
    parts = {'.'.join(name.split('.')[:2]) for name in names}
    for key in keys:
        if not any(key in name for name in names):
            shown = ', '.join(itertools.islice(sorted(parts), _NAMES))
            yield Finding(
                WARNING,
                f'optim_wrapper.paramwise_cfg.custom_keys: {key!r} is in the name of no parameter '
                f'and changes nothing. Names begin with {shown}.',
            )


def heads_of(model: Mapping) -> Iterator[tuple[str, Mapping]]:
    """(dotted path, config) of each head of a model, those for training alone last."""
    for name in ('decode_head', 'auxiliary_head'):
        part = model.get(name)
        many = isinstance(part, list | tuple)
        for number, head in enumerate(_items(part)):
            yield f'model.{name}.{number}' if many else f'model.{name}', head


def channels_match(cfg: Mapping) -> Iterator[Finding]:
    """A head that takes other channels than the map it is given, or a map that there is not."""
    model = cfg.get('model')
    if not isinstance(model, Mapping) or model.get('neck') is not None:
        return
    maps = _maps_of(model)
    if maps is None:
        return
    backbone = model['backbone']
    why = ', '.join(f'model.backbone.{key}={backbone[key]!r}' for key in _WIDTHS if key in backbone)
    for path, head in heads_of(model):
        yield from _head_matches(head, path, maps, why)


_WIDTHS = ('depth', 'base_channels', 'out_indices', 'num_stages')


def _maps_of(model: Mapping) -> list[int] | None:
    """Channels of the backbone's maps; None where it does not say what it gives."""
    import torch

    backbone = dict(model.get('backbone') or {}, pretrained=None, init_cfg=None)
    try:
        with torch.device('meta'):
            built = MODELS.build({k: v for k, v in backbone.items() if v is not None})
            maps = built.eval()(torch.zeros(1, backbone.get('in_channels', 3), 64, 64))
        return [len(feature[0]) for feature in maps]
    except Exception:  # of another's backbone; what is wrong with ours is said when it is built
        return None


def _head_matches(head: Mapping, path: str, maps: list[int], why: str) -> Iterator[Finding]:
    index, channels = head.get('in_index', -1), head.get('in_channels')
    wanted = list(index) if isinstance(index, list | tuple) else [index]
    given = list(channels) if isinstance(channels, list | tuple) else [channels]
    for place, own in zip(wanted, given):
        if not isinstance(place, int) or not isinstance(own, int):
            continue
        if not -len(maps) <= place < len(maps):
            yield Finding(
                ERROR,
                f'{path}.in_index: {index!r} is none of the {len(maps)} maps of the backbone '
                f'({why}).',
            )
        elif maps[place] != own:
            yield Finding(
                ERROR,
                f'{path}.in_channels: {channels!r} does not fit map {place} of the backbone, which '
                f'has {maps[place]} ({why}).',
                options=[f'{path}.in_channels={maps[place]}'] if len(given) == 1 else [],
            )
