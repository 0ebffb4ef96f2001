"""From a folder to a config: find the splits, read the labels, name the classes, write."""

import re
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median_low

from segkit.command import command
from segkit.datasets.metainfo import dataset_metainfo, make_palette
from segkit.datasets.parallel import Failure, parallel
from segkit.datasets.scan import SPLIT_WRITER, write_split
from segkit.engine.config_files import shipped_home
from segkit.errors import UserError
from segkit.outputs import check_outputs
from segkit.visualization.class_tables import ClassTable, Entry, find_table, parse_given, read_table
from segkit.whole_file import write_text

from .classes import Wish, classes_table, name_classes, words_of
from .config_template import Content, config_text
from .examine import Examiner
from .labels import Pair, gather, look
from .layout import Choice, Layout, find_layout
from .pairing import Pairing
from .quoting import plain, shell_line, shell_word
from .recipe import ON_CPU, ON_GPU, Recipe, has_gpu, recipe_for
from .splits import (
    dataset_settings,
    leave_out_unlisted,
    pairs_line,
    splits_table,
    take_validation,
)
from .summary import add_up, spread

_STATISTICS_FROM = 50  # images; a mean needs no more


def write_config(args: Namespace, out: Path, alone: bool = True) -> Iterator[str]:
    """Write the config and its split files; yields lines that tell what was found; unless
    ``alone`` is False, what to do next as well.

    Raises:
        OSError, ValueError: no pairs, an unreadable file, labels that are none, something that has
            to be said first. Nothing is written then.
    """
    root = args.folder.resolve()
    layout = find_layout(root, _choice(args))
    unlisted = leave_out_unlisted(layout)
    notes = [*take_validation(layout, args), *layout.notes]
    yield plain(pairs_line(layout))
    yield from map(plain, splits_table(layout))
    yield from map(plain, [*unlisted, *notes])
    pairs = {role: _read(root, part, args.workers) for role, part in layout.parts.items()}
    every = [pair for some in pairs.values() for pair in some]
    size, channels, unchanged = _images(every, layout)
    stored = gather(every)
    table, about = _table(args, layout)
    wish = Wish(words_of(args.ignore), args.zero)
    classes = name_classes(stored, table, wish)
    yield plain(f'{len(classes.names)} classes: {classes.reason}')
    yield from map(plain, classes_table(classes, stored).splitlines())
    yield from map(plain, [*about, *classes.notes])
    recipe = _recipe(args, len(pairs['train']), size)
    lists: dict[Path, list[str]] = {}
    content = Content(
        name=_name(args, root, out),
        root=str(root),
        classes=classes,
        palette=classes.palette or make_palette(len(classes.names)),
        splits={role: dataset_settings(layout, role, out, lists) for role in layout.parts},
        recipe=recipe,
        channels=channels,
        unchanged=unchanged,
        statistics=_statistics(layout, args.workers) if unchanged else None,
        comments=[
            f'{root.name}: {len(classes.names)} classes, {recipe.network.name}.',
            f'Labels: {classes.reason}.',
            *notes,
            *classes.notes,
        ],
    )
    texts = dict(_texts(content, args, out))
    check_outputs('--out', SPLIT_WRITER, lists)
    out.parent.mkdir(parents=True, exist_ok=True)
    for path, stems in lists.items():
        write_split(path, stems)
    for path, text in texts.items():
        write_text(path, text)
    yield from _chosen(recipe, '--network' if alone else '--model')
    if alone:
        yield f'{plain(str(out))}: written; training goes to work_dirs/{content.name}. Now:'
        yield from (f'    {command(tool, shell_word(out))}' for tool in ('check_dataset', 'train'))


def fold_paths(args: Namespace, out: Path) -> list[Path]:
    """The configs that are written: ``out``, and with --folds one more for each other fold."""
    return [out, *(out.with_name(f'{out.stem}_fold{i}.py') for i in range(1, args.folds or 1))]


def _texts(content: Content, args: Namespace, out: Path) -> Iterator[tuple[Path, str]]:
    grouped = {'group_by': args.group_by} if args.group_by else {}
    for number, path in enumerate(fold_paths(args, out)):
        if args.folds:
            name = f'{content.name}_fold{number}' if number else content.name
            fold = {'number': number, 'of': args.folds, **grouped}
            yield path, config_text(replace(content, name=name, fold=fold))
        else:
            yield path, config_text(content)


def _choice(args: Namespace) -> Choice:
    of_split = {
        role: (getattr(args, f'{role}_images'), getattr(args, f'{role}_labels'))
        for role in ('train', 'val', 'test')
    }
    lists = {role: getattr(args, f'{role}_list') for role in of_split}
    return Choice(args.images, args.labels, of_split, {r: n for r, n in lists.items() if n})


# -- what files hold -------------------------------------------------------------------------------


def _paths(root: Path, part: Pairing) -> list[tuple[str, str | None]]:
    names = [(stem, variant) for variant in part.variants for stem in variant.stems]
    images = [str(root / part.images / (stem + variant.img_suffix)) for stem, variant in names]
    if part.labels is None:
        return [(image, None) for image in images]
    folder = root / part.labels
    labels = [str(folder / (stem + variant.seg_map_suffix)) for stem, variant in names]
    return list(zip(images, labels))


def _read(root: Path, part: Pairing, workers: int | None) -> list[Pair]:
    paths, pairs = _paths(root, part), []
    for (image, label), pair in zip(paths, parallel(look, paths, 'pairs', workers)):
        if isinstance(pair, Failure):
            reason = pair.reason.partition(': ')[2].removesuffix('.')
            raise UserError(f'{reason}. Put it right or take it away, then start again.')
        if pair.turned != 1:
            raise UserError(_about_turned(image, str(label), pair.turned))
        if label is not None and pair.size != pair.label_size:
            raise UserError(
                f'{label}: the label is {pair.label_size} (height, width) and its image {image} '
                f'{pair.size}. Are these the right folders? Name them with --images and --labels.'
            )
        pairs.append(pair)
    return pairs


def _about_turned(image: str, label: str, turned: int) -> str:
    """Two ways out, of which the person knows the right one."""
    start = 'import sys; from PIL import Image, ImageOps\nfor p in sys.argv[1:]: '
    save = '.save(p, quality=95)'
    upright = shell_line('python', '-c', f'{start}ImageOps.exif_transpose(Image.open(p)){save}')
    stored = shell_line('python', '-c', f'{start}Image.open(p){save[:-1]}, exif=b"")')
    where = f'{shell_word(str(Path(image).parent))}/*{Path(image).suffix}'
    return (
        f'{image}: its EXIF orientation is {turned}, so it is turned when it is read, and nothing '
        f'in {label} tells whether that is. If the labels were drawn on the pictures as they are '
        f'shown, store these upright: {upright} {where} . If on the pictures as stored, take the '
        f'mark out: {stored} {where} . Then start again.'
    )


def _images(pairs: Sequence[Pair], layout: Layout) -> tuple[tuple[int, int], int, bool]:
    """Median (height, width), channels as loaded, and whether stored values are kept."""
    """How the pictures are to be loaded; all need the same channels."""
    endings = {v.img_suffix.lower() for part in layout.parts.values() for v in part.variants}
    channels = Counter(pair.channels for pair in pairs)
    # Read as colour: grey repeats in three channels, and a PNG's fourth is transparency.
    colour = {1, 3, 4} if all(end.endswith('.png') for end in endings) else {1, 3}
    deep = any(pair.image_dtype != 'uint8' for pair in pairs)
    kinds = set(channels) if deep else {3 if count in colour else count for count in channels}
    if len(kinds) > 1:
        raise UserError(f'the images have different numbers of channels: {dict(channels)}.')
    height, width = (median_low(pair.size[axis] for pair in pairs) for axis in (0, 1))
    count = kinds.pop()
    return (height, width), count, deep or count != 3


def _statistics(layout: Layout, workers: int | None) -> tuple[list | None, list | None]:
    """Mean and std of each channel in the order of the file, where 8-bit colours are not read."""
    loaders = dict(type='LoadImageFromFile', color_type='unchanged'), dict(type='LoadAnnotations')
    part = layout.parts['train']
    infos = [
        dict(img_path=image) for image, _ in spread(_paths(layout.root, part), _STATISTICS_FROM)
    ]
    summary = add_up('', len(infos), parallel(Examiner(*loaders), infos, 'statistics', workers), [])
    if summary.mean is not None and summary.std is not None and len(summary.mean) == 3:
        return summary.mean[::-1], summary.std[::-1]  # the summary has them as RGB
    return summary.mean, summary.std


# -- names and sizes -------------------------------------------------------------------------------


def _table(args: Namespace, layout: Layout) -> tuple[ClassTable | None, list[str]]:
    """The names that were given, or those that lie beside the data."""
    folders = []
    for part in layout.parts.values():
        for folder in (part.labels, part.images):
            if folder is not None:
                path = layout.root / folder
                folders += [p for p in (path, *path.parents) if p.is_relative_to(layout.root)]
    if args.classes and Path(args.classes).is_file():
        return read_table(Path(args.classes)), []
    found, notes = find_table(layout.root, folders)
    if not args.classes:
        return found or _of_cityscapes(layout), notes
    given = parse_given(args.classes)
    bare = all(entry.value is None and entry.colour is None for entry in given.entries)
    if found is None or not bare or set(given.names) != set(found.names):
        return given, notes
    entries = {entry.name: entry for entry in found.entries}
    ordered = tuple(entries[name] for name in given.names)
    return ClassTable(found.source, ordered), notes


def _of_cityscapes(layout: Layout) -> ClassTable | None:
    """Files of this ending hold Cityscapes' train ids, whose names are known."""
    endings = {v.seg_map_suffix for p in layout.parts.values() for v in p.variants if p.labels}
    if not endings or not all(end.endswith('_labelTrainIds.png') for end in endings):
        return None
    info = dataset_metainfo('cityscapes')
    pairs = zip(info['classes'], info['palette'])
    entries = [Entry(name, i, (r, g, b)) for i, (name, (r, g, b)) in enumerate(pairs)]
    return ClassTable("Cityscapes' list of train ids", tuple(entries))


def _recipe(args: Namespace, pictures: int, size: tuple[int, int]) -> Recipe:
    recipe = recipe_for(
        pictures,
        size,
        gpu=has_gpu(),
        network=args.network,
        batch=args.batch_size,
        crop=tuple(args.crop) if args.crop else None,
        iterations=args.iters,
    )
    if args.pretrained and recipe.network.weights is None:
        raise UserError(f'--pretrained: no weights were published for {recipe.network.name}.')
    if args.schedule:
        folder = shipped_home() / '_base_/schedules'
        if not (folder / f'{args.schedule}.py').is_file():
            known = ', '.join(sorted(p.stem for p in folder.glob('schedule_*.py')))
            raise UserError(f'--schedule {args.schedule}: there is no such part; known: {known}.')
        count = re.search(r'(\d+)k', args.schedule)
        recipe.iterations = int(count[1]) * 1000 if count else recipe.iterations
    return replace(recipe, schedule=args.schedule, pretrained=args.pretrained)


def _name(args: Namespace, root: Path, out: Path) -> str:
    """Of the data set, as a folder can have it; a config of a name of its own lends that."""
    own = out.stem if args.out is not None and out.stem != 'config' else root.name
    return re.sub(r'[^\w.-]+', '_', plain(own)).strip('._') or 'data'


# -- what is said ----------------------------------------------------------------------------------


def _chosen(recipe: Recipe, option: str) -> Iterator[str]:
    name = recipe.network.name
    reason = ' (small, since there is no GPU here)' if name == ON_CPU and not has_gpu() else ''
    yield (
        f'network {name}{reason}, batch {recipe.batch}, crop {recipe.crop[0]} x {recipe.crop[1]}, '
        f'{recipe.iterations} iterations; {option} {ON_GPU} is larger, --batch-size, --crop and '
        '--iters choose others'
    )
    if recipe.pretrained:
        yield f'begins with {recipe.network.weights}, which training fetches once'
    elif recipe.network.weights:
        yield (
            'begins from nothing, without a download; --pretrained begins with '
            f'{recipe.network.encoder} trained on ImageNet (fetched once), which learns more from '
            'few pictures'
        )
