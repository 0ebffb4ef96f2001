"""What it costs to hand samples from workers to the trainer, and what workers hold in memory.

    python tools/benchmarks/bench_loader.py [--repeats 5] [--index 100000] [--workers 8] [--csv]

- Hand-over: batches of 4 made samples (512x1024, as the Cityscapes recipe packs them) through one
  worker, in wall milliseconds a sample and in CPU milliseconds of the trainer: the usual way (int64
  labels, lists of tensors) beside ours (uint8 labels, stacked into two buffers).
- Memory: the proportional set size of the workers while a dataset with a large index is walked
  through twice. A list of dicts grows, as every access touches its reference counts and so copies
  its pages; one array of bytes does not.
"""

import argparse
import re
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from harness import interleaved, run
from mmengine.dataset import pseudo_collate
from mmengine.structures import PixelData
from torch.utils.data import DataLoader, Dataset

from segkit.datasets import BaseSegDataset, seg_collate
from segkit.structures import SegDataSample

SIZE, BATCH, BATCHES = (512, 1024), 4, 24


class MadeSamples(Dataset):
    """Fresh tensors each time, at next to no cost of their own."""

    def __init__(self, label_dtype: torch.dtype) -> None:
        self.label_dtype = label_dtype

    def __len__(self) -> int:
        return BATCH * BATCHES

    def __getitem__(self, index: int) -> dict:
        sample = SegDataSample(metainfo=dict(img_path=f'{index}.png', ori_shape=SIZE))
        sample.gt_sem_seg = PixelData(data=torch.full((1, *SIZE), 7, dtype=self.label_dtype))
        return dict(
            inputs=torch.full((3, *SIZE), index % 256, dtype=torch.uint8), data_samples=sample
        )


def hand_over(repeats: int) -> list[dict]:
    variants = {
        'plain': (MadeSamples(torch.int64), pseudo_collate),
        'ours': (MadeSamples(torch.uint8), seg_collate),
    }
    loaders = {
        name: DataLoader(d, BATCH, num_workers=1, collate_fn=collate, persistent_workers=True)
        for name, (d, collate) in variants.items()
    }
    wall: dict[str, list[float]] = {name: [] for name in loaders}

    def walk(name: str) -> None:
        started = time.perf_counter()
        for batch in loaders[name]:
            # The trainer reads what it gets: pages mapped but never touched would cost nothing.
            for image, sample in zip(batch['inputs'], batch['data_samples']):
                int(image[0, ::8, ::512].sum()) + int(sample.gt_sem_seg.data[0, ::8, ::512].sum())
        wall[name].append(time.perf_counter() - started)

    cpu = interleaved({name: lambda n=name: walk(n) for name in loaders}, repeats)
    walls = {name: float(np.median(times[1:])) for name, times in wall.items()}
    rows = []
    for unit, medians, bar in (('wall ms', walls, 2), ('CPU ms of the trainer', cpu, 2)):
        plain, ours = (medians[n] * 1e3 / (BATCH * BATCHES) for n in ('plain', 'ours'))
        rows.append(_row('worker to trainer, a sample of 512x1024', unit, plain, ours, bar))
    return rows


def _row(case: str, unit: str, plain: float, ours: float, bar: float) -> dict:
    return dict(
        case=case,
        unit=unit,
        plain=f'{plain:.2f}',
        ours=f'{ours:.2f}',
        times_better=f'{plain / max(ours, 0.005):.2f}',
        wanted=bar,
    )


class WalkedIndex(BaseSegDataset):
    """Looks each sample up in the index and does nothing with it."""

    def prepare_data(self, idx: int) -> int:
        return len(self.get_data_info(idx)['img_path'])


def _private_mib(pids: list[int]) -> float:
    """MiB that belong to the workers alone (what they wrote to, copied pages included)."""
    text = ''.join(Path(f'/proc/{pid}/smaps_rollup').read_text() for pid in pids)
    return sum(int(kb) for kb in re.findall(r'Private_Dirty:\s+(\d+) kB', text)) / 1024


def _growth(dataset: Dataset, workers: int) -> float:
    """MiB the workers gained from the first steps to the end of two passes."""
    loader = DataLoader(dataset, 64, True, num_workers=workers, persistent_workers=True)
    first, pids = None, []
    for _ in range(2):
        for number, _ in enumerate(loader):
            if first is None and number == 4 * workers:
                pids = [worker.pid for worker in loader._iterator._workers]
                first = _private_mib(pids)
    return _private_mib(pids) - first


def memory(count: int, workers: int) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, suffix in (('img', '.jpg'), ('ann', '.png')):
            (root / name).mkdir()
            for i in range(count):
                (root / name / f'ADE_train_{i:08d}{suffix}').touch()
        prefix = dict(img_path='img', seg_map_path='ann')
        sizes = {}
        for name, serialize in (('plain', False), ('ours', True)):
            dataset = WalkedIndex(data_root=folder, data_prefix=prefix, serialize_data=serialize)
            sizes[name] = _growth(dataset, workers)
    case = f'growth of {workers} workers over two passes of {count} samples'
    return [_row(case, 'MiB', sizes['plain'], sizes['ours'], 10)]


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--index', type=int, default=100_000)
    parser.add_argument('--workers', type=int, default=8)


def rows(args: argparse.Namespace) -> list[dict]:
    return hand_over(args.repeats) + memory(args.index, args.workers)


if __name__ == '__main__':
    run(__doc__, {'loader': rows}, add=add)
