"""From a folder to a config: find the pairs, read the labels, split, write."""

from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median_low

from segkit.datasets.metainfo import make_palette
from segkit.datasets.parallel import Failure, parallel
from segkit.datasets.scan import SPLIT_WRITER, write_split
from segkit.outputs import check_outputs

from .config_text import config_text
from .examine import Examiner
from .folders import Pairing, find_pairing
from .labels import IGNORE, Guess, Pair, guess, look
from .pictures import spread
from .quoting import command, plain
from .summary import add_up

_STATISTICS_FROM = 50  # images; a mean needs no more


def write_config(args: Namespace, out: Path) -> Iterator[str]:
    """Write the config and its split files; yields lines that tell what was found.

    Raises:
        OSError, ValueError: no pairs, an unreadable file, labels that are none. Nothing is written.
    """
    root = args.folder.resolve()
    pairing = find_pairing(root, args.images, args.labels)
    yield plain(
        f'{len(pairing.stems)} pairs: {pairing.images}/*{pairing.img_suffix} with '
        f'{pairing.labels}/*{pairing.seg_map_suffix}'
    )
    pairs = _read(root, pairing, args.workers)
    sizes, channels = _images(pairs, pairing.img_suffix)
    found = guess(pairs)
    classes = _class_names(args.classes, found)
    yield f'{found.num_classes} classes: {found.reason}'
    unlisted = [stem for stem in pairing.stems if not _listable(stem)]
    if unlisted and len(pairing.splits()) != 2:
        pairing = replace(pairing, stems=tuple(s for s in pairing.stems if s not in set(unlisted)))
        shown = ', '.join(plain(repr(stem)) for stem in unlisted[:3])
        yield (
            f'{len(unlisted)} left out, since a line of a split file cannot hold the name: {shown}'
        )
    splits = _splits(pairing, out, args.val_share)
    if len(pairing.stems) == 1:
        yield 'There is one pair: it is trained on and validated on, so scores will mean nothing.'
    text = config_text(
        root=str(root),
        out=out,
        network=args.network,
        schedule=args.schedule,
        reason=found.reason,
        classes=classes,
        palette=found.palette or make_palette(len(classes)),
        reading=_reading(pairing, found),
        splits={name: kept for name, (kept, _) in splits.items()},
        size=sizes,
        channels=channels,
        statistics=None if channels == 3 else _statistics(root, pairing, args.workers),
    )
    lists = [settings['ann_file'] for settings, _ in splits.values() if 'ann_file' in settings]
    check_outputs('--out', SPLIT_WRITER, lists)
    out.parent.mkdir(parents=True, exist_ok=True)
    for settings, stems in splits.values():
        if 'ann_file' in settings:
            write_split(Path(settings['ann_file']), stems)
    out.write_text(text, encoding='utf-8')
    yield f'{plain(str(out))}: written. Now: {command("python", "tools/check_dataset.py", out)}'


def _listable(stem: str) -> bool:
    """Whether a line of a text file can hold the name."""
    try:
        return stem.encode().decode().splitlines() == [stem]
    except UnicodeEncodeError:  # bytes of a file's name that are no text
        return False


def _paths(root: Path, pairing: Pairing, stems: Sequence[str]) -> list[tuple[str, str]]:
    return [
        (
            str(root / pairing.images / (stem + pairing.img_suffix)),
            str(root / pairing.labels / (stem + pairing.seg_map_suffix)),
        )
        for stem in stems
    ]


def _read(root: Path, pairing: Pairing, workers: int | None) -> list[Pair]:
    paths = _paths(root, pairing, pairing.stems)
    pairs = []
    for (image, label), pair in zip(paths, parallel(look, paths, 'pairs', workers)):
        if isinstance(pair, Failure):
            raise ValueError(f'{pair.reason}. Repair or remove the pair and start again.')
        if pair.size != pair.label_size:
            raise ValueError(
                f'{label}: the label is {pair.label_size} (height, width) and its image {image} '
                f'{pair.size}. Are these the right folders? Name them with --images and --labels.'
            )
        pairs.append(pair)
    return pairs


def _images(pairs: Sequence[Pair], suffix: str) -> tuple[tuple[int, int], int]:
    """Median (height, width), and the channels, which must be the same in all."""
    channels = Counter(pair.channels for pair in pairs)
    # Read as colour: grey repeats in three channels, and a PNG's fourth is transparency.
    colour = {1, 3, 4} if suffix.lower().endswith('.png') else {1, 3}
    kinds = {3 if count in colour else count for count in channels}
    if len(kinds) > 1:
        raise ValueError(f'the images have different numbers of channels: {dict(channels)}.')
    height, width = (median_low(pair.size[axis] for pair in pairs) for axis in (0, 1))
    return (height, width), kinds.pop()


def _class_names(given: str | None, found: Guess) -> list[str]:
    if given is None:
        numbered = found.settings.get('label_map', {})
        if found.num_classes == 2 and (not numbered or {0, IGNORE} & set(numbered)):
            return ['background', 'foreground']
        if numbered:  # the class's own number says nothing about what is in the files
            return [f'value_{value}' for value in numbered]
        return [f'class_{i}' for i in range(found.num_classes)]
    path = Path(given)
    names = path.read_text(encoding='utf-8').splitlines() if path.is_file() else given.split(',')
    names = [name.strip() for name in names if name.strip()]
    if len(names) < found.num_classes:
        raise ValueError(
            f'--classes names {len(names)} classes, but the labels hold {found.num_classes}: '
            f'{found.reason}.'
        )
    if found.palette:
        found.palette += make_palette(len(names))[len(found.palette) :]
    return names


def _reading(pairing: Pairing, found: Guess) -> dict:
    suffixes = dict(img_suffix=pairing.img_suffix, seg_map_suffix=pairing.seg_map_suffix)
    return {**suffixes, **found.settings}


def _splits(pairing: Pairing, out: Path, share: float) -> dict[str, tuple[dict, list[str]]]:
    """'train', 'val' -> (arguments of the dataset, stems): by subfolder, else by a split file."""
    folders = pairing.splits()
    found: dict[str, tuple[dict, list[str]]] = {}
    if len(folders) == 2:
        for role, folder in folders.items():
            prefix = dict(
                img_path=f'{pairing.images}/{folder}', seg_map_path=f'{pairing.labels}/{folder}'
            )
            found[role] = dict(data_prefix=prefix), []
        return found
    stems = list(pairing.stems)
    count = min(max(1, round(len(stems) * share)), max(1, len(stems) - 1))
    validation = set(spread(stems, count))
    chosen = {'train': [s for s in stems if s not in validation] or stems, 'val': validation}
    for role, names in chosen.items():
        path = out.resolve().with_name(f'{out.stem}_{role}.txt')
        prefix = dict(img_path=pairing.images, seg_map_path=pairing.labels)
        found[role] = dict(ann_file=str(path), data_prefix=prefix), list(names)
    return found


def _statistics(
    root: Path, pairing: Pairing, workers: int | None
) -> tuple[list[float] | None, list[float] | None]:
    """Mean and std of each channel, for images that no published statistics fit."""
    loaders = dict(type='LoadImageFromFile', color_type='unchanged'), dict(type='LoadAnnotations')
    examiner = Examiner(*loaders)
    paths = _paths(root, pairing, spread(pairing.stems, _STATISTICS_FROM))
    infos = [dict(img_path=image) for image, _ in paths]
    summary = add_up('', len(infos), parallel(examiner, infos, 'statistics', workers), [])
    return summary.mean, summary.std
