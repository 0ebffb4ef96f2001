"""What can be known before the first step: one list of checks.

``FirstBatchesHook`` runs it when training starts, ``tools/check_dataset.py`` on a config and all of
its files. Everything here is cheap: the config, the length of the data set, a few file headers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.dataset import InfiniteSampler

from segkit.datasets.decode import Header, picture_header
from segkit.datasets.samplers import InfiniteSeededSampler
from segkit.engine import settings_checks
from segkit.engine.config_check import accepted_arguments
from segkit.engine.findings import ERROR, WARNING, Finding, by_level
from segkit.errors import CheckpointError
from segkit.registry import DATA_SAMPLERS, MODELS
from segkit.weights.sources import cached_at, resolve_url

_PROBED = 16  # picture files whose headers are read when training starts


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


def findings(plan: Plan) -> list[Finding]:
    """All that is found, errors first."""
    return by_level(finding for check in CHECKS for finding in check(plan))


# -- the loader against the loop -------------------------------------------------------------------


def _endless(loader: Mapping) -> bool:
    kind = (loader.get('sampler') or {}).get('type', '')
    kind = DATA_SAMPLERS.get(kind) if isinstance(kind, str) and kind else kind
    return isinstance(kind, type) and issubclass(kind, (InfiniteSeededSampler, InfiniteSampler))


def _by_epoch(cfg: Mapping) -> bool:
    loop = cfg.get('train_cfg') or {}
    return bool(loop.get('by_epoch')) or loop.get('type') == 'EpochBasedTrainLoop'


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
    if _by_epoch(plan.cfg) and _endless(plan.loader):
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


def leaf_configs(dataset: Mapping, times: int = 1) -> Iterator[tuple[Mapping, int]]:
    """The data sets inside ConcatDataset and RepeatDataset, and how often each is repeated."""
    times *= dataset.get('times', 1)
    for part in dataset.get('datasets', [dataset['dataset']] if 'dataset' in dataset else []):
        yield from leaf_configs(part, times)
    if 'datasets' not in dataset and 'dataset' not in dataset:
        yield dataset, times


def loading(pipeline: Sequence[Mapping]) -> tuple[Mapping, Mapping]:
    """The configs of the two loading transforms, since they decide how files are read."""
    image = next((t for t in pipeline if t['type'] == 'LoadImageFromFile'), None)
    label = next((t for t in pipeline if t['type'] == 'LoadAnnotations'), None)
    return image or {'type': 'LoadImageFromFile'}, label or {'type': 'LoadAnnotations'}


def network_channels(model: Mapping | None) -> int | None:
    """Channels of a picture that the backbone of a config takes; None where nothing says."""
    backbone = (model or {}).get('backbone')
    if not isinstance(backbone, Mapping):
        return None
    if 'in_channels' in backbone:
        return backbone['in_channels']
    kind = backbone.get('type')
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    taken = accepted_arguments(kind) if kind is not None else None
    return 3 if taken is not None and 'in_channels' in taken else None


def channels_fit(model: Mapping | None, channels: int, file: str) -> Iterator[Finding]:
    """Pictures of ``channels`` as loaded, for a backbone that takes another number."""
    wanted = network_channels(model)
    if wanted is None or wanted == channels:
        return
    text = (
        f'the pictures are loaded with {channels} channels, but model.backbone.in_channels is '
        f'{wanted}'
    )
    if wanted == 1 and channels == 3:
        text += (
            ": make it 3, or load grey with LoadImageFromFile(color_type='grayscale') in both "
            'pipelines and give data_preprocessor one mean and one std.'
        )
    else:
        text += ': make them equal, and give data_preprocessor as many means and stds.'
    yield Finding(ERROR, text, [file], [f'model.backbone.in_channels={channels}'], [file])


def bit_depth(plan: Plan) -> Iterator[Finding]:
    """Files of more than 8 bits a channel, read as 8."""
    deep = [header for header in plan.headers if header.bits > 8]
    if not deep or not isinstance(plan.loader.get('dataset'), Mapping):
        return
    kept = [
        loading(part.get('pipeline') or ())[0].get('color_type', 'color') == 'unchanged'
        for part, _ in leaf_configs(plan.loader['dataset'])
    ]
    if not all(kept):
        yield Finding(
            WARNING,
            f'{len(deep)} of {len(plan.headers)} pictures looked at have more than 8 bits a '
            'channel and are read as 8: 16-bit values keep their upper byte alone. Read them with '
            "dict(type='LoadImageFromFile', color_type='unchanged') in both pipelines, and set "
            'data_preprocessor.mean and std to values of that range (tools/check_dataset.py tells '
            'them) and model.backbone.in_channels to their channels.',
            [f'{header.path}: {header.bits} bits' for header in deep],
            pictures=[header.path for header in deep[:4]],
        )


# -- what is fetched -------------------------------------------------------------------------------


def _weights(cfg: Mapping) -> Iterator[tuple[str, str]]:
    """(key, source) of the weights that a config starts from."""
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
    yield from ((key, source) for key, source in places.items() if isinstance(source, str))


def weights_are_here(plan: Plan) -> Iterator[Finding]:
    """Weights that are still to be downloaded, and files of weights that are not there."""
    for key, source in _weights(plan.cfg):
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


CHECKS: tuple[Callable[[Plan], Iterator[Finding]], ...] = (
    loader_gives_batches,
    epochs_end,
    no_batch_of_one,
    bit_depth,
    weights_are_here,
    lambda plan: settings_checks.channels_match(plan.cfg),
    lambda plan: settings_checks.schedules_end(plan.cfg),
    lambda plan: settings_checks.scores_exist(plan.cfg),
    lambda plan: settings_checks.custom_keys_match(plan.cfg),
)


def some_headers(dataset: Any) -> list[Header]:
    """Headers of a few local pictures of a built data set, evenly spread."""
    count = len(dataset)
    info = getattr(dataset, 'get_data_info', None)
    if info is None or not count:
        return []
    places = sorted({i * count // _PROBED for i in range(_PROBED)})
    paths = (info(i).get('img_path') for i in places)
    found = (picture_header(path) for path in paths if isinstance(path, str))
    return [header for header in found if header is not None]
