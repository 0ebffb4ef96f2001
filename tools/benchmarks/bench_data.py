"""Images per second of the training pipeline against the plain one, and what surrounds it.

    python tools/benchmarks/bench_data.py [--repeats 5] [--only NAME ...] [--csv]

The plain pipeline (``plain_pipeline.py``: mmcv's transforms, and a written-out crop and distortion)
and ours draw the same numbers; ``equal`` says whether all bytes agreed. One thread, CPU time of one
process.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import mmcv
import numpy as np
import torch
from harness import interleaved, run
from made_pictures import write_rooms, write_streets
from mmengine import fileio
from plain_pipeline import load_label, pack, pipeline_config, plain_pipeline

from segkit.datasets import BaseSegDataset, decode
from segkit.datasets.cache_writer import write_cache
from segkit.datasets.scan import find_pairs
from segkit.datasets.transforms.aug_test import views_pipeline
from segkit.structures import ImageViews

PREFIX = dict(img_path='img', seg_map_path='ann')
STREET = ((2048, 1024), (512, 1024))
ROOM = ((2048, 512), (512, 512))


class Bench:
    """The made data, and one method a table row group."""

    def __init__(self, root: Path, repeats: int) -> None:
        self.root, self.repeats, self.rows = root, repeats, []
        write_streets(root / 'street', 4)
        write_rooms(root / 'room', 8)

    def dataset(self, kind: str, pipeline: list, **kwargs) -> BaseSegDataset:
        reduce_zero = kind == 'room'
        return BaseSegDataset(
            data_root=str(self.root / kind),
            data_prefix=PREFIX,
            img_suffix='.jpg' if kind == 'room' else '.png',
            metainfo=dict(classes=tuple(str(i) for i in range(150))),
            reduce_zero_label=reduce_zero,
            pipeline=pipeline,
            **kwargs,
        )

    def row(self, name: str, medians: dict, bar: float, equal: str, unit: str = 'CPU ms') -> None:
        plain, ours = (medians[key] * 1e3 for key in ('plain', 'ours'))
        self.rows.append(
            dict(
                case=name,
                unit=unit,
                plain=f'{plain:.2f}',
                ours=f'{ours:.2f}',
                times_faster=f'{plain / ours:.2f}',
                wanted=bar,
                equal=equal,
            )
        )
        print(self.rows[-1], flush=True)

    def pipeline(self, name: str, kind: str, bar: float, fast_png: bool = False, **kwargs) -> None:
        """Milliseconds a sample; 32 samples with their own seeds make one measurement."""
        settings = STREET if kind == 'street' else ROOM
        plain = self.dataset(kind, plain_pipeline(*settings))
        ours = self.dataset(kind, pipeline_config(*settings), **kwargs)
        count = 12 if kind == 'street' else 40
        decode.FAST_PNG = fast_png

        def run(dataset):
            for seed in range(count):
                np.random.seed(seed)
                dataset[seed % len(dataset)]

        medians = interleaved(
            {'plain': lambda: run(plain), 'ours': lambda: run(ours)}, self.repeats
        )
        medians = {key: value / count for key, value in medians.items()}
        self.row(name, medians, bar, _equal(plain, ours, count))

    def pipelines(self) -> None:
        self.pipeline('ADE20K-like', 'room', 1.6)
        self.pipeline('Cityscapes-like, stock decoder', 'street', 1.1)
        if decode.pyspng is not None:
            self.pipeline('Cityscapes-like, pyspng', 'street', 1.5, fast_png=True)
        for kind, bar in (('raw', 6), ('rows', 4.5)):
            folder = self.root / f'cache_{kind}'
            size = write_cache(self.dataset('street', []), folder, kind)
            files = sum(f.stat().st_size for f in (self.root / 'street').rglob('*.png'))
            name = f'Cityscapes-like, {kind} cache ({size / files:.2f} of the PNGs)'
            self.pipeline(name, 'street', bar, cache=str(folder))

    def views(self) -> None:
        """ms+flip: twelve separately packed views with their labels, or ours."""
        ratios = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
        for kind, (scale, _) in (('street', STREET), ('room', ROOM)):
            test = [
                dict(type='LoadImageFromFile'),
                dict(type='Resize', scale=scale, keep_ratio=True),
                dict(type='LoadAnnotations'),
                dict(type='PackSegInputs'),
            ]
            ours = self.dataset(kind, views_pipeline(test, dict(img_ratios=ratios)), test_mode=True)
            plain = self.dataset(kind, [_PlainViews(scale, ratios)], test_mode=True)
            decode.FAST_PNG = False
            calls = {'plain': lambda p=plain: p[0], 'ours': lambda o=ours: o[0]}
            medians = interleaved(calls, self.repeats)
            sizes = _bytes(plain[0]), _bytes(ours[0])
            share = f'{sizes[1] / sizes[0]:.2f} of the bytes'
            self.row(f'ms+flip loading, {kind}, {share}', medians, 2.5, _equal_views(plain, ours))

    def scan(self) -> None:
        """20,000 pairs in one folder each, against scans that ask for the status of each file."""
        root = self.root / 'many'
        for folder, suffix in (('img', '.jpg'), ('ann', '.png')):
            (root / folder).mkdir(parents=True)
            for i in range(20000):
                (root / folder / f'ADE_train_{i:08d}{suffix}').touch()
        folders = str(root / 'img'), str(root / 'ann')
        whole = dict(data_root=str(root), data_prefix=PREFIX)
        calls = {
            'toolbox': lambda: _toolbox_scan(*folders),
            'stat': lambda: _stat_scan(*folders),
            'ours': lambda: find_pairs(*folders, '.jpg', '.png').stems,
            'listdir alone': lambda: [os.listdir(folder) for folder in folders],
            'dataset': lambda: BaseSegDataset(**whole),
        }
        medians = interleaved(calls, self.repeats)
        extra = f'{medians["listdir alone"] * 1e3:.0f} ms of it os.listdir; whole dataset '
        extra += f'{medians["dataset"] * 1e3:.0f} ms'
        for name, words in (('toolbox', 'path by path'), ('stat', 'bare os.stat')):
            medians['plain'] = medians[name]
            equal = str(calls[name]() == calls['ours']())
            self.row(f'scan of 20,000 pairs, against {words} ({extra})', medians, 6, equal)


class _PlainViews:
    """Every view resized, flipped and packed on its own, each with its own int64 label."""

    def __init__(self, scale: tuple[int, int], ratios: tuple[float, ...]) -> None:
        self.scale, self.ratios = scale, ratios

    def __call__(self, results: dict) -> dict:
        views = []
        image = mmcv.imread(results['img_path'])
        for ratio in self.ratios:
            scale = int(self.scale[0] * ratio), int(self.scale[1] * ratio)
            for flip in (False, True):
                view = mmcv.imrescale(image, scale)
                view = mmcv.imflip(view) if flip else view
                views.append(pack({**load_label(results), 'img': view}))
        return dict(views=views)


def _bytes(sample: dict) -> int:
    """Of the tensors that go through the loader."""
    if 'views' in sample:
        return sum(_bytes(view) for view in sample['views'])
    inputs = sample['inputs']
    inputs = inputs.tensors if isinstance(inputs, ImageViews) else [inputs]
    tensors = [*inputs, sample['data_samples'].gt_sem_seg.data]
    return sum(t.numel() * t.element_size() for t in tensors)


def _equal_views(plain: BaseSegDataset, ours: BaseSegDataset) -> str:
    mine = ours[0]['inputs'].tensors
    both = [view for one in mine for view in (one, one.flip(-1))]
    return str(all(torch.equal(a['inputs'], b) for a, b in zip(plain[0]['views'], both)))


def _equal(plain: BaseSegDataset, ours: BaseSegDataset, count: int) -> str:
    """'True', or the mean absolute difference in grey levels; labels must agree."""
    differences = []
    for seed in range(count):
        samples = []
        for dataset in (plain, ours):
            np.random.seed(seed)
            samples.append(dataset[seed % len(dataset)])
        a, b = samples
        labels = [s['data_samples'].gt_sem_seg.data.long() for s in samples]
        assert torch.equal(*labels), 'labels differ'
        differences.append((a['inputs'].float() - b['inputs'].float()).abs().mean().item())
    mean = float(np.mean(differences))
    return 'True' if mean == 0 else f'mean difference {mean:.3f}'


def _toolbox_scan(images: str, labels: str) -> list[str]:
    """As file back ends of mmsegmentation do it: list, then ask for each file of the pair."""
    stems = []
    for name in fileio.list_dir_or_file(images, list_dir=False, suffix='.jpg', recursive=True):
        paths = fileio.join_path(images, name), fileio.join_path(labels, name[:-4] + '.png')
        if fileio.isfile(paths[0]) and fileio.isfile(paths[1]):
            stems.append(name[:-4])
    return sorted(stems)


def _stat_scan(images: str, labels: str) -> list[str]:
    """The least that a scan with one os.stat a file can be."""
    stems = []
    for name in sorted(os.listdir(images)):
        os.stat(images + '/' + name)
        os.stat(labels + '/' + name[:-4] + '.png')
        stems.append(name[:-4])
    return stems


def part(name: str) -> Callable[[argparse.Namespace], list[dict]]:
    def rows(args: argparse.Namespace) -> list[dict]:
        cv2.setNumThreads(0)
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(Path(folder), args.repeats)
            getattr(bench, name)()
            return bench.rows

    return rows


if __name__ == '__main__':
    run(__doc__, {f'data_{name}': part(name) for name in ('pipelines', 'views', 'scan')})
