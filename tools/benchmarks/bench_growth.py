"""How seconds and memory grow with the size of what is worked on.

    python tools/benchmarks/bench_growth.py [--only growth_loss ...] [--csv] [--data ...]
    python tools/benchmarks/bench_growth.py --plot

For loss (with its gradient), prediction (logits to classes), evaluation and loading: picture sizes,
classes, pictures in a batch, windows, views, one of them changing from a row to the next.
`growth_decoding` tells what share of a training sample is reading and decoding its files, for the
data sets given, or for made pictures. `growth_threads` are wall seconds with two threads against
one, which only a machine with nothing else to do can tell.

Where "CPU per unit" (pixel, class, picture, window, view) stays 1 the growth is linear.
``--plot`` alone draws docs/figures/growth.png from the committed files, and measures nothing.
Sizes are what a shared machine of two cores measures in minutes, on one thread.
"""

import argparse
import csv
import functools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from harness import RESULTS, growth_of_peak, in_child, interleaved, run
from made_pictures import write_pairs, write_rooms, write_streets
from plain_pipeline import pipeline_config
from torch import Tensor

from segkit.datasets import BaseSegDataset
from segkit.datasets.transforms.aug_test import views_pipeline
from segkit.evaluation.confusion import confusion_matrix
from segkit.models.inference.logits import Geometry, ImageLogits, Logits
from segkit.models.inference.sliding_window import window_boxes
from segkit.models.inference.views import merge_views
from segkit.models.losses.cross_entropy_loss import banded_cross_entropy

Call = Callable[[], object]
SIDE, CLASSES, BUDGET = 512, 19, 1 << 30
SIDES, KINDS = (256, 512, 1024, 2048, 4096), (2, 19, 150, 1000)
# part -> what changes -> its values; the others are as in the first row of `START`.
START = {'side': SIDE, 'classes': CLASSES, 'batch': 1, 'windows': 1, 'views': 1}
AXES: dict[str, dict[str, tuple[int, ...]]] = {
    'loss': {'side': SIDES, 'classes': KINDS[:3], 'batch': (1, 2, 4, 8)},
    'prediction': {
        'side': SIDES, 'classes': KINDS, 'windows': (1, 4, 9, 16), 'views': (1, 2, 6, 12),
    },
    'evaluation': {'side': SIDES, 'classes': KINDS, 'batch': (1, 4, 16)},
    'loading': {'side': SIDES, 'batch': (1, 2, 4), 'views': (2, 4, 6)},
}  # fmt: skip


def loss(side: int, classes: int, batch: int, **_: int) -> Call:
    """Cross-entropy at label size and its gradient, of logits at one eighth."""
    labels = torch.randint(0, classes, (batch, side, side))
    labels = labels.byte() if classes < 255 else labels
    small = torch.randn(batch, classes, side // 8, side // 8, requires_grad=True)

    def call() -> None:
        small.grad = None
        banded_cross_entropy(small, labels, accurate=True).loss.backward()

    return call


def prediction(side: int, classes: int, windows: int, views: int, **_: int) -> Call:
    """Classes of one picture, of whole or sliding logits, or of the mean over views."""
    if views > 1:
        return lambda: merge_views(_views(side, classes, views), BUDGET).classes(0.3, BUDGET)
    size = (side, side)
    if windows == 1:
        logits = Logits(_small(classes, side)[None], size, False)
    else:
        per_side = int(windows**0.5)
        crop = side * 2 // (per_side + 1) // 8 * 8
        step = -(-(side - crop) // (per_side - 1))
        boxes = window_boxes(size, (crop, crop), (step, step))
        assert len(boxes) == windows
        small = torch.stack([_small(classes, crop, seed) for seed in range(windows)])
        logits = Logits(small, (crop, crop), False).placed(boxes, size)
    return lambda: ImageLogits(logits, Geometry(size)).classes(0.3, BUDGET)


def _small(classes: int, side: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(classes, side // 8, side // 8, generator=generator)


def _views(side: int, classes: int, count: int) -> Iterator[ImageLogits]:
    for i in range(count):
        logits = Logits(_small(classes, side, i)[None], (side, side), False)
        flip = 'horizontal' if i % 2 else None
        yield ImageLogits(logits, Geometry((side, side), flip=flip, flip_last=True))


def evaluation(side: int, classes: int, batch: int, **_: int) -> Call:
    """One matrix over ``batch`` pictures, one after the other."""
    label, pred = (torch.randint(0, classes, (side, side)) for _ in range(2))
    if classes < 255:
        label, pred = label.byte(), pred.byte()

    def call() -> Tensor:
        total = torch.zeros(classes, classes, dtype=torch.int64)
        for _ in range(batch):
            total += confusion_matrix(label, pred, classes)
        return total

    return call


def loading(side: int, batch: int, views: int, **_: int) -> Call:
    """Samples of the training pipeline from PNG files, or the views of test pictures."""
    folder = tempfile.TemporaryDirectory()
    write_pairs(Path(folder.name), batch, (side, side), grain=1.0, classes=CLASSES, suffix='.png')
    pipeline = pipeline_config((side, side), (side, side), cat_max_ratio=1.0)
    if views > 1:
        plain = [
            {'type': 'LoadImageFromFile'},
            {'type': 'Resize', 'scale': (side, side), 'keep_ratio': True},
            {'type': 'PackSegInputs'},
        ]
        ratios = [0.5 + 0.25 * i for i in range(views)]
        pipeline = views_pipeline(plain, {'img_ratios': ratios, 'flip': True})
    dataset = BaseSegDataset(
        data_root=folder.name,
        data_prefix={'img_path': 'img', 'seg_map_path': 'ann'},
        img_suffix='.png',
        metainfo={'classes': tuple(map(str, range(CLASSES)))},
        pipeline=pipeline,
        test_mode=views > 1,
    )

    def call(folder: object = folder) -> list:
        np.random.seed(0)
        return [dataset[i] for i in range(batch)]

    return call


PARTS = {'loss': loss, 'prediction': prediction, 'evaluation': evaluation, 'loading': loading}


def cases(part: str) -> Iterator[tuple[str, int, dict[str, int]]]:
    """What changes, to what, and all settings of each row."""
    for axis, values in AXES[part].items():
        for value in values:
            yield axis, value, {**START, axis: value}


def peaks(part: str) -> list[float]:
    """MiB of each row, in a process that `in_child` started."""
    torch.set_num_threads(1)
    found = []
    for _, _, case in cases(part):
        call = PARTS[part](**case)
        call()  # what is set up once is no growth
        found.append(round(growth_of_peak(call), 1))
    return found


def rows(part: str, args: argparse.Namespace) -> Iterable[dict]:
    memory = in_child([__file__, '--peaks', part]).split(',')
    firsts: dict[str, float] = {}
    for (axis, value, case), mib in zip(cases(part), memory, strict=True):
        cpu = interleaved({'': PARTS[part](**case)}, args.repeats)['']
        work = value**2 if axis == 'side' else value
        first = firsts.setdefault(axis, cpu / work)
        yield {
            'part': part,
            'changes': axis,
            'to': value,
            'CPU s': f'{cpu:.4f}',
            'MiB': mib,
            'CPU per unit to the first': f'{cpu / work / first:.2f}',
        }


def threads(args: argparse.Namespace) -> Iterable[dict]:
    """Wall seconds of each part with one thread and with two, which take turns."""
    for part, build in PARTS.items():
        call = build(**{**START, 'side': args.threads_side})
        seconds: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(1 + args.repeats):
            for count, found in seconds.items():
                torch.set_num_threads(count)
                cv2.setNumThreads(count)
                start = time.perf_counter()
                call()
                found.append(time.perf_counter() - start)
        one, two = (statistics.median(found[1:]) for found in seconds.values())
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        yield {
            'part': part,
            'side': args.threads_side,
            'one thread s': f'{one:.4f}',
            'two threads s': f'{two:.4f}',
            'times faster': f'{one / two:.2f}',
        }


class Folder(NamedTuple):
    """Where pictures and labels lie, below ``root``."""

    name: str
    root: str
    images: str
    labels: str
    suffix: str
    classes: int

    def samples(self, pipeline: list) -> BaseSegDataset:
        return BaseSegDataset(
            data_root=self.root,
            data_prefix={'img_path': self.images, 'seg_map_path': self.labels},
            img_suffix=self.suffix,
            metainfo={'classes': tuple(map(str, range(self.classes)))},
            reduce_zero_label=self.classes == 150,
            pipeline=pipeline,
        )


def decoding(args: argparse.Namespace) -> Iterable[dict]:
    """A training sample of each data set, and what of it reads and decodes its two files."""
    with tempfile.TemporaryDirectory() as made:
        folders = [Folder(*text.split(',')[:5], int(text.split(',')[5])) for text in args.data]
        if not folders:
            write_streets(Path(made) / 'street', 3)
            write_rooms(Path(made) / 'room', 6)
            folders = [
                Folder('made streets', f'{made}/street', 'img', 'ann', '.png', 19),
                Folder('made rooms', f'{made}/room', 'img', 'ann', '.jpg', 150),
            ]
        for folder in folders:
            yield _share(folder, args.repeats)


def _share(folder: Folder, repeats: int) -> dict:
    pipeline = pipeline_config((2048, 512), (512, 512))
    whole, files = folder.samples(pipeline), folder.samples(pipeline[:2])
    count = min(len(whole), 24)
    medians = interleaved(
        {
            'whole': lambda: [whole[i] for i in range(count)],
            'files': lambda: [files[i] for i in range(count)],
        },
        repeats,
    )
    whole_ms, files_ms = (medians[key] * 1e3 / count for key in ('whole', 'files'))
    return {
        'data set': folder.name,
        'samples': count,
        'CPU ms a sample': f'{whole_ms:.2f}',
        'of which reading and decoding': f'{files_ms:.2f}',
        'share': f'{files_ms / whole_ms:.2f}',
    }


def plot() -> Path:
    """A picture a part: CPU seconds and MiB over what changes, each relative to its first row."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(PARTS), figsize=(15, 7), sharex='col')
    for column, part in zip(axes.T, PARTS):
        with (RESULTS / f'growth_{part}.csv').open() as file:
            table = list(csv.DictReader(file))
        for axis in AXES[part]:
            lines = [row for row in table if row['changes'] == axis]
            work = [int(row['to']) ** (2 if axis == 'side' else 1) for row in lines]
            over = [value / work[0] for value in work]
            label = 'pixels' if axis == 'side' else axis
            for place, key in zip(column, ('CPU s', 'MiB')):
                place.plot(over, [float(row[key]) for row in lines], 'o-', label=label)
        column[0].set(title=part, xscale='log', yscale='log', ylabel='CPU seconds')
        column[1].set(xscale='log', yscale='log', xlabel='times the first', ylabel='MiB')
        column[0].legend(fontsize=8)
    figure.tight_layout()
    target = Path(__file__).resolve().parents[2] / 'docs/figures/growth.png'
    figure.savefig(target, dpi=80)
    return target


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--data', nargs='+', default=[], metavar='NAME,ROOT,IMAGES,LABELS,SUFFIX,CLASSES',
        help='data sets for growth_decoding, folders below ROOT (default: made pictures)',
    )  # fmt: skip
    parser.add_argument('--threads-side', type=int, default=2048, help='of growth_threads')


if __name__ == '__main__':
    if sys.argv[1:] == ['--plot']:
        print(plot())
    elif sys.argv[1:2] == ['--peaks']:
        print(','.join(map(str, peaks(sys.argv[2]))))
    else:
        tables = {f'growth_{part}': functools.partial(rows, part) for part in PARTS}
        others = {'growth_decoding': decoding, 'growth_threads': threads}
        run(__doc__, {**tables, **others}, 3, add)
