"""What the sums mean for a config: errors that stop training, warnings, notes.

Every finding says what is wrong, where, and what to do. Only errors make the exit status 1.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from mmengine.config import Config

from segkit.engine.before_training import ERROR, NOTE, WARNING, Finding, by_level, heads_of
from segkit.engine.optimizer import accumulation
from segkit.errors import ConfigError, few
from segkit.models.losses.stray_labels import mask_cure, stray_sentence

from .examine import DAMAGE
from .summary import Summary


def judge(
    cfg: Config, summary: Summary, classes: list[str], split: str, skips: bool = False
) -> list[Finding]:
    """All findings about a split, errors first.

    Args:
        classes: names of the dataset's classes; may be empty for a dataset that names none.
        skips: the dataset passes over damaged samples (``on_error='skip'``).
    """
    num_classes = _num_classes(cfg) or len(classes)
    found = [
        *_files(summary, skips),
        *_class_counts(cfg, classes),
        *_ignored(cfg, summary),
        *_values(summary, num_classes, split),
        *_seen(summary, classes, num_classes, split),
        *_normalisation(cfg, summary),
    ]
    return by_level(found)


def _heads(cfg: Config) -> list[tuple[str, Mapping]]:
    return list(heads_of(cfg.get('model') or {}))


def _num_classes(cfg: Config) -> int | None:
    return next((head['num_classes'] for _, head in _heads(cfg) if 'num_classes' in head), None)


def ignore_index(cfg: Config, dataset: object) -> int:
    """The label that training leaves out: the decode head's; without a head the dataset's."""
    heads = _heads(cfg)
    return heads[0][1].get('ignore_index', 255) if heads else getattr(dataset, 'ignore_index', 255)


def _files(summary: Summary, skips: bool) -> Iterator[Finding]:
    kinds = Counter(problem.kind for problem in summary.problems)
    for kind, count in kinds.most_common():
        messages = [p.message for p in summary.problems if p.kind == kind]
        plural = '' if count == 1 else f', {count} times'
        skipped = skips and kind in DAMAGE and count < summary.examined
        passed = " (passed over: on_error='skip')" if skipped else ''
        level = WARNING if skipped else ERROR
        pictures = [p.picture for p in summary.problems if p.kind == kind and p.picture]
        yield Finding(level, f'{kind}{plural}{passed}', messages, pictures=pictures)


def _class_counts(cfg: Config, classes: list[str]) -> Iterator[Finding]:
    for name, head in _heads(cfg):
        count = head.get('num_classes')
        if classes and count is not None and count != len(classes):
            yield Finding(
                ERROR,
                f'{name}.num_classes is {count}, but the dataset has {len(classes)} classes: '
                'correct metainfo.classes, or the head.',
                options=[f'{name}.num_classes={len(classes)}'],
            )
        yield from _class_weights(name, head, count)


def _class_weights(name: str, head: Mapping, count: int | None) -> Iterator[Finding]:
    losses = head.get('loss_decode') or []
    for loss in losses if isinstance(losses, list | tuple) else [losses]:
        weight = loss.get('class_weight')
        if isinstance(weight, list | tuple) and count is not None and len(weight) != count:
            yield Finding(
                ERROR,
                f'{name}.loss_decode.class_weight has {len(weight)} values for {count} '
                'classes: give one for each.',
            )
        if isinstance(weight, str) and not Path(weight).is_file():
            yield Finding(ERROR, f'{name}.loss_decode.class_weight: no file {weight}.')


def _ignored(cfg: Config, summary: Summary) -> Iterator[Finding]:
    for name, head in _heads(cfg):
        own = head.get('ignore_index', 255)
        if own != summary.ignore_index and summary.counts[summary.ignore_index]:
            yield Finding(
                ERROR,
                f'{name}.ignore_index is {own}, that of model.decode_head '
                f'{summary.ignore_index}, which the labels hold: set it in all heads.',
                options=[f'{name}.ignore_index={summary.ignore_index}'],
            )


def _values(summary: Summary, num_classes: int, split: str) -> Iterator[Finding]:
    ignored = summary.ignore_index
    outside = sorted(v for v in summary.counts if v != ignored and not 0 <= v < num_classes)
    if outside:
        images = max(summary.images_with[value] for value in outside)
        said = stray_sentence(
            outside, list(summary.counts), num_classes, ignored, f' in up to {images} image(s)'
        )
        yield Finding(
            ERROR,
            said,
            [f'{summary.examples[value]}: holds {value}' for value in outside[:8]],
        )
    if summary.labelled and summary.counts and set(summary.counts) == {ignored}:
        yield Finding(
            ERROR,
            f'every label pixel is ignored ({ignored}): there is nothing to learn. '
            + mask_cure(ignored),
        )
    elif summary.all_ignored:
        yield Finding(
            WARNING,
            f'{len(summary.all_ignored)} images have no labelled pixel at all',
            summary.all_ignored,
        )
    if split != 'test' and not summary.labelled and summary.examined:
        yield Finding(ERROR, 'the images have no labels: set data_prefix.seg_map_path.')


def _seen(summary: Summary, classes: list[str], num_classes: int, split: str) -> Iterator[Finding]:
    if not summary.labelled or not summary.counts:
        return
    never = [i for i in range(num_classes) if not summary.counts[i]]
    seen = num_classes - len(never)
    ignored = summary.ignore_index
    if seen == 1 and num_classes > 1 and summary.counts[ignored]:
        (only,) = set(range(num_classes)) - set(never)
        yield Finding(
            WARNING,
            f'the only class ever labelled is {only}, the rest is ignored ({ignored}). '
            + mask_cure(ignored),
        )
    elif never:
        names = [f'{i} ({classes[i]})' if i < len(classes) else str(i) for i in never]
        said = f'{len(never)} of {num_classes} classes are never labelled: {few(names, 12)}'
        yield Finding(WARNING if split == 'train' else NOTE, said)


def _normalisation(cfg: Config, summary: Summary) -> Iterator[Finding]:
    given = cfg.get('model', {}).get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    if summary.mean is None or not given.get('mean'):
        return
    mean, std = list(given['mean']), list(given.get('std') or [])
    if len(mean) != len(summary.mean):
        yield Finding(
            ERROR,
            f'data_preprocessor.mean has {len(mean)} values, but the images have '
            f'{len(summary.mean)} channels: give one a channel, and backbone.in_channels.',
        )
    elif any(abs(a - b) > max(c, 1) for a, b, c in zip(mean, summary.mean, std or [1] * len(mean))):
        yield Finding(
            WARNING,
            f'the images have mean {summary.mean} and std {summary.std}, the config normalises by '
            f'{mean} and {std}: right for pretrained weights of photographs, else use the former.',
        )


# -- the batch -------------------------------------------------------------------------------------


def batch_finding(cfg: Config, gpus: int) -> Finding | None:
    """What to know about the batch, or None when the config does not train."""
    loader = cfg.get('train_dataloader') or {}
    per_gpu = loader.get('batch_size')
    if not per_gpu:
        return None
    wrapper, loop = cfg.get('optim_wrapper') or {}, cfg.get('train_cfg') or {}
    recipe = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    try:
        steps, _ = accumulation(loop.get('accumulate', 1), per_gpu, gpus, recipe)
    except ConfigError as error:
        return Finding(ERROR, str(error))
    steps = max(steps, wrapper.get('accumulative_counts', 1))
    batch = per_gpu * gpus * steps
    parts = f'{per_gpu} a GPU x {gpus} GPU' + (f' x {steps} accumulated' if steps > 1 else '')
    if recipe is None or recipe == batch:
        suffix = '' if recipe is None else ', as in the recipe'
        return Finding(NOTE, f'effective batch {batch} ({parts}){suffix}')
    rate = (wrapper.get('optimizer') or {}).get('lr')
    scaled = f' (lr {rate * batch / recipe:g} instead of {rate:g})' if rate else ''
    return Finding(
        WARNING,
        f'effective batch {batch} ({parts}), the recipe has {recipe}: train with '
        f'--auto-scale-lr{scaled}, or with --accumulate auto to reach it',
    )
