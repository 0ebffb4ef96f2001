"""What can be known before the first step: one list of checks.

``FirstBatchesHook`` runs it when training starts, ``tools/check_dataset.py`` on a config and all of
its files. Everything here is cheap: the config, the length of the data set, a few file headers.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmengine.dataset import InfiniteSampler

from segkit.command import command
from segkit.datasets.decode import Header
from segkit.datasets.samplers import InfiniteSeededSampler
from segkit.datasets.transforms.aug_test import datasets_of
from segkit.engine.before_validation import validation_faults
from segkit.errors import CheckpointError
from segkit.evaluation.scores import COLUMNS, METRIC_GROUPS
from segkit.registry import DATA_SAMPLERS, DATASETS, MODELS
from segkit.weights import without_pretrained
from segkit.weights.sources import cached_at, resolve_url

_NAMES = 30  # of classes or parameters in a sentence

ERROR, WARNING, NOTE = 'error', 'warning', 'note'
LEVELS = (ERROR, WARNING, NOTE)


@dataclass
class Finding:
    """One statement about a run that has not begun.

    An error stops training, a warning spoils it, a note is good to know.

    text: what is wrong and what to do.
    files: messages of the files it is about, each beginning with a path.
    options: settings that cure it, as typed behind ``--cfg-options``.
    pictures: image files that show it.
    """

    level: str
    text: str
    files: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """The text with its cure."""
        if not self.options:
            return self.text
        return f'{self.text} Add: --cfg-options {" ".join(self.options)}'


@dataclass
class Plan:
    """A run that has not begun.

    samples: of the training data set, None where it could not be listed. ranks: processes that
    train. headers: of some or all of its pictures.
    """

    cfg: Mapping
    samples: int | None
    ranks: int = 1
    headers: Sequence[Header] = ()

    @property
    def loader(self) -> Mapping:
        """The config of the training loader; empty for one that was built by hand."""
        loader = self.cfg.get('train_dataloader')
        return loader if isinstance(loader, Mapping) else {}


def by_level(found: Iterable[Finding]) -> list[Finding]:
    """Errors first, in the order found."""
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def findings(plan: Plan) -> list[Finding]:
    """All that is found, errors first."""
    return by_level(finding for check in CHECKS for finding in check(plan))


def _items(value: Any) -> list[Mapping]:
    """A dict or a list of dicts as a list of dicts."""
    items = [value] if isinstance(value, Mapping) else list(value or [])
    return [item for item in items if isinstance(item, Mapping)]


# -- the loader against the loop -------------------------------------------------------------------


def _endless(loader: Mapping) -> bool:
    kind = (loader.get('sampler') or {}).get('type', '')
    kind = DATA_SAMPLERS.get(kind) if isinstance(kind, str) and kind else kind
    return isinstance(kind, type) and issubclass(kind, (InfiniteSeededSampler, InfiniteSampler))


def loader_gives_batches(plan: Plan) -> Iterator[Finding]:
    """A finite loader that drops its only, incomplete batch."""
    batch, dropped = plan.loader.get('batch_size'), plan.loader.get('drop_last')
    if plan.samples is None or not batch or not dropped or _endless(plan.loader):
        return
    each = -(-plan.samples // plan.ranks)
    if each < batch:
        share = f', {each} of them on each of {plan.ranks} ranks' if plan.ranks > 1 else ''
        yield Finding(
            ERROR,
            f'train_dataloader gives no batch: {plan.samples} samples{share}, '
            f'batch_size={batch}, drop_last=True. Keep the incomplete batch, or lower '
            f'train_dataloader.batch_size to {max(each, 1)}.',
            options=['train_dataloader.drop_last=False'],
        )


def epochs_end(plan: Plan) -> Iterator[Finding]:
    """Epochs over a sampler without an end: the first one lasts for ever and nothing validates."""
    loop = plan.cfg.get('train_cfg') or {}
    by_epoch = loop.get('by_epoch') or loop.get('type') == 'EpochBasedTrainLoop'
    if by_epoch and _endless(plan.loader):
        kind = plan.loader['sampler']['type']
        yield Finding(
            ERROR,
            f'train_cfg counts epochs, but train_dataloader.sampler is {kind}, which has no end: '
            'the first epoch would last for ever, without a validation or a checkpoint.',
            options=['train_dataloader.sampler.type=DefaultSampler'],
        )


# Heads that pool a map to a single cell, by the end of their names.
_POOLING = ('PSPHead', 'ASPPHead', 'UPerHead')


def no_batch_of_one(plan: Plan) -> Iterator[Finding]:
    """One picture whose pooled value is to be normalised by itself: torch refuses that.

    These heads pool a picture to one value a channel; batch norm takes its statistics over the
    batch.
    """
    model = plan.cfg.get('model')
    head = model.get('decode_head') if isinstance(model, Mapping) else None
    batch = plan.loader.get('batch_size')
    kind = str(head.get('type')) if isinstance(head, Mapping) else ''
    if not isinstance(head, Mapping) or not batch or not kind.endswith(_POOLING):
        return
    norm = (head.get('norm_cfg') or {}).get('type')
    together = norm == 'SyncBN' and plan.ranks > 1
    if norm not in ('BN', 'SyncBN') or together or 1 not in head.get('pool_scales', (1,)):
        return
    why = f'{kind} pools it to one value, from which batch norm has no statistics'
    if batch == 1:
        yield Finding(
            ERROR,
            f'train_dataloader.batch_size=1: a batch is one picture; {why}.',
            options=['train_dataloader.batch_size=2'],
        )
    elif plan.samples is not None and not _endless(plan.loader):
        each = -(-plan.samples // plan.ranks)
        if each % batch == 1 and not plan.loader.get('drop_last'):
            yield Finding(
                ERROR,
                f'the last batch of each pass is one picture ({plan.samples} samples, '
                f'batch_size={batch}); {why}.',
                options=['train_dataloader.drop_last=True'],
            )


# -- pictures against the network ------------------------------------------------------------------


def bit_depth(plan: Plan) -> Iterator[Finding]:
    """Files of more than 8 bits a channel, read as 8."""
    deep = [header for header in plan.headers if header.bits > 8]
    if not deep or not isinstance(plan.loader.get('dataset'), Mapping):
        return
    readers = [
        step
        for part in datasets_of(plan.loader['dataset'])
        for step in part['pipeline']
        if step['type'] == 'LoadImageFromFile'
    ]
    if any(step.get('color_type') != 'unchanged' for step in readers):
        yield Finding(
            WARNING,
            f'{len(deep)} of {len(plan.headers)} pictures looked at have more than 8 bits a '
            'channel and are read as 8: 16-bit values keep their upper byte alone. Read them with '
            "dict(type='LoadImageFromFile', color_type='unchanged') in both pipelines, and set "
            'data_preprocessor.mean and std to values of that range (`'
            f'{command("check_dataset", "CONFIG")}` tells '
            'them) and model.backbone.in_channels to their channels.',
            [f'{header.path}: {header.bits} bits' for header in deep],
            pictures=[header.path for header in deep[:4]],
        )


# -- what is fetched -------------------------------------------------------------------------------


def weights_are_here(plan: Plan) -> Iterator[Finding]:
    """Weights that are still to be downloaded, and files of weights that are not there."""
    cfg = plan.cfg
    model = cfg.get('model')
    model = model if isinstance(model, Mapping) else {}
    backbone = model.get('backbone')
    backbone = backbone if isinstance(backbone, Mapping) else {}
    start = backbone.get('init_cfg')
    places = {
        'model.pretrained': model.get('pretrained'),
        'model.backbone.pretrained': backbone.get('pretrained'),
        'model.backbone.checkpoint_path': backbone.get('checkpoint_path') or None,
        'load_from': None if cfg.get('resume') else cfg.get('load_from'),
    }
    if isinstance(start, Mapping):
        places['model.backbone.init_cfg.checkpoint'] = start.get('checkpoint')
    for key, source in places.items():
        if not isinstance(source, str):
            continue
        cure = f'{key.removesuffix(".checkpoint")}=None'
        try:
            url, place = resolve_url(source), cached_at(source)
        except CheckpointError as error:
            yield Finding(ERROR, f'{key}: {error}', options=[cure])
            continue
        if place.is_file():
            continue
        if url is None:
            yield Finding(ERROR, f'{key}: {source}: there is no such file of weights.', [], [cure])
        else:
            yield Finding(
                WARNING,
                f'{key}={source} is not on this machine: training begins by fetching {url}. On a '
                f'machine without a network put the file at {place}, or train from nothing.',
                options=[cure],
            )


# -- schedules, scores, names ----------------------------------------------------------------------

# Schedules that reach their last value at ``end``, as against those that go on as they are.
_ENDING = ('PolyLR', 'PolyMomentum', 'CosineAnnealingLR', 'CosineAnnealingMomentum', 'LinearLR')
_WARM_UP = ('LinearLR', 'ConstantLR', 'LinearMomentum', 'ConstantMomentum')
_NEVER = 10**9  # mmengine's end of a schedule that has none


def schedules_end(plan: Plan) -> Iterator[Finding]:
    """A rate that stops falling long before training ends, or has not fallen when it does."""
    schedulers, loop = plan.cfg.get('param_scheduler'), plan.cfg.get('train_cfg') or {}
    in_epochs = not isinstance(loop.get('max_iters'), int)
    unit, name = ('epochs', 'max_epochs') if in_epochs else ('iterations', 'max_iters')
    total, key = loop.get(name), f'train_cfg.{name}'
    if not isinstance(total, int) or not isinstance(schedulers, Mapping | list | tuple):
        return
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
            names += [f'm{head}' for head in METRIC_GROUPS.get(group, ())]
            names += ['FWIoU'] if group == 'mIoU' else []
        whole += [prefix + name for name in names]
        single += [f'{prefix}{head}.{name}' for head in COLUMNS for name in classes]
    return whole, single


def scores_exist(plan: Plan) -> Iterator[Finding]:
    """A score that decides what is kept, or when to stop, and that no validation measures."""
    cfg = plan.cfg
    best = ((cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('save_best')
    names = [best] if isinstance(best, str) else best or []
    watched = [('default_hooks.checkpoint.save_best', name) for name in names if name != 'auto']
    for i, hook in enumerate(cfg.get('custom_hooks') or []):
        if isinstance(hook, Mapping) and str(hook.get('type')).endswith('EarlyStoppingHook'):
            watched.append((f'custom_hooks.{i}.monitor', str(hook.get('monitor'))))
    known = known_scores(cfg) if watched and cfg.get('val_dataloader') is not None else None
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


def custom_keys_match(plan: Plan) -> Iterator[Finding]:
    """Parts of the network with a rate of their own that no parameter is called after."""
    model: object = plan.cfg.get('model')
    wrapper = plan.cfg.get('optim_wrapper')
    settings = (wrapper.get('paramwise_cfg') or {}) if isinstance(wrapper, Mapping) else {}
    keys = settings.get('custom_keys')
    if not keys or not isinstance(model, Mapping):
        return
    import torch

    with torch.device('meta'):  # no memory for them
        built = MODELS.build(without_pretrained(model))
    names = [name for name, _ in built.named_parameters()]
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


_WIDTHS = ('depth', 'base_channels', 'out_indices', 'num_stages')


def channels_match(plan: Plan) -> Iterator[Finding]:
    """A head that takes other channels than the map it is given, or a map that there is not."""
    model = plan.cfg.get('model')
    if not isinstance(model, Mapping) or model.get('neck') is not None:
        return
    maps = _maps_of(model)
    if maps is None:
        return
    backbone = model['backbone']
    why = ', '.join(f'model.backbone.{key}={backbone[key]!r}' for key in _WIDTHS if key in backbone)
    for path, head in heads_of(model):
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
                    f'{path}.in_channels: {channels!r} does not fit map {place} of the backbone, '
                    f'which has {maps[place]} ({why}).',
                    options=[f'{path}.in_channels={maps[place]}'] if len(given) == 1 else [],
                )


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


def validation_is_sound(plan: Plan) -> Iterator[Finding]:
    """A validation that never ends, leaves pictures out, or scores labels that were changed."""
    loader = plan.cfg.get('val_dataloader')
    endless = isinstance(loader, Mapping) and _endless(loader)
    for level, text, options in validation_faults(plan.cfg, endless):
        yield Finding(level, text, options=options)


CHECKS: tuple[Callable[[Plan], Iterator[Finding]], ...] = (
    loader_gives_batches,
    epochs_end,
    no_batch_of_one,
    bit_depth,
    weights_are_here,
    channels_match,
    schedules_end,
    scores_exist,
    custom_keys_match,
    validation_is_sound,
)
