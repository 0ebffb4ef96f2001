"""Each engine and precision on a trained network: mIoU, speed, and which pixels change.

    python tools/benchmarks/bench_engines.py CONFIG CHECKPOINT [--pictures 200] [--csv NAME]

The pictures are those of test_dataloader, or with --splits of others, each predicted by every
engine in turn. Of the pixels that change their class the largest margin is kept: how far the two
largest logits of PyTorch are apart there. Exact engines change none but where that is nothing.
"""

import argparse
import importlib.util
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import machine, markdown_table, write_csv
from mmengine.dataset import pseudo_collate

from segkit.apis import init_model
from segkit.apis.backends import BACKENDS
from segkit.engine.config import load_config
from segkit.registry import DATASETS

CHOICES = [(backend, precision) for backend in BACKENDS for precision in BACKENDS[backend]]


class Counts:
    """What one engine has done so far."""

    def __init__(self, classes: int) -> None:
        self.matrix = np.zeros((classes, classes), np.int64)
        self.seconds = 0.0
        self.pixels = self.changed = 0
        self.margin = 0.0

    def add(self, sample: Any, exact: Any, seconds: float) -> None:
        """One picture; ``exact``: the sample of PyTorch."""
        label, got = sample.gt_sem_seg.data[0].numpy(), sample.pred_sem_seg.data[0].numpy()
        count = len(self.matrix)
        known = label < count
        pairs = label[known].astype(np.int64) * count + got[known]
        self.matrix += np.bincount(pairs, minlength=count**2).reshape(count, count)
        self.seconds += seconds
        changed = sample.pred_sem_seg.data[0] != exact.pred_sem_seg.data[0]
        self.pixels += changed.numel()
        self.changed += int(changed.sum())
        if changed.any():
            top = exact.seg_logits.data[:, changed].topk(2, dim=0).values
            self.margin = max(self.margin, float((top[0] - top[1]).max()))

    @property
    def miou(self) -> float:
        """In percent; a class that is neither labelled nor predicted is left out."""
        hits = np.diag(self.matrix)
        union = self.matrix.sum(0) + self.matrix.sum(1) - hits
        return 100 * float((hits[union > 0] / union[union > 0]).mean())


def datasets(cfg: Any, splits: list[str]) -> Iterator[Any]:
    """The data sets of the splits, read by the test pipeline, labels included."""
    pipeline = cfg.test_dataloader.dataset.pipeline
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        if loader is None:
            raise SystemExit(f'{cfg.filename}: {split}_dataloader is not set; leave out {split}.')
        dataset = dict(loader.dataset, pipeline=pipeline, test_mode=True)
        yield DATASETS.build(dataset)


def rows(args: argparse.Namespace) -> list[dict]:
    cfg = load_config(args.config)
    given = [choice.split(':') for choice in args.engines]
    chosen = [c for c in CHOICES if not given or list(c) in given or c == ('torch', 'fp32')]
    missing = {b for b, _ in chosen if b not in ('torch', 'compile') and not _there(b)}
    models = {}
    for backend, precision in chosen:
        if backend not in missing:
            options = dict(backend=backend, precision=precision, calibration=args.calibration)
            if backend in ('onnxruntime', 'openvino'):
                options['fixed_sizes'] = args.fixed_sizes
            model: Any = init_model(cfg, args.checkpoint, **options)
            model.test_cfg = {**model.test_cfg, 'keep_logits': True}
            models[backend, precision] = model
    found = {key: Counts(model.num_classes) for key, model in models.items()}
    seen = 0
    for dataset in datasets(cfg, args.splits):
        for index in range(min(len(dataset), args.pictures - seen)):
            data, exact = pseudo_collate([dataset[index]]), None
            for key, model in models.items():
                start = time.process_time()
                with torch.no_grad():
                    (sample,) = model.test_step(data)
                seconds = time.process_time() - start
                exact = exact or sample.clone()
                # The first picture waits for compilers and allocators.
                found[key].add(sample, exact, seconds if seen else 0.0)
            seen += 1
            if args.csv and seen % 10 == 0:  # a long run may be stopped
                write_csv(args.csv, table(args.config, found, seen))
    return table(args.config, found, seen)


def table(config: str, found: dict[tuple[str, str], Counts], seen: int) -> list[dict]:
    """A row an engine and precision, after ``seen`` pictures."""
    first = next(iter(found.values()))
    return [
        {
            'network': Path(config).stem,
            'pictures': seen,
            'engine': backend,
            'precision': precision,
            'mIoU': f'{counts.miou:.2f}',
            'mIoU lost': f'{first.miou - counts.miou:.2f}'.replace('-0.00', '0.00'),
            'times faster': f'{first.seconds / counts.seconds:.2f}',
            'CPU s a picture': f'{counts.seconds / max(seen - 1, 1):.3f}',
            'pixels that differ': counts.changed,
            'of a million': f'{1e6 * counts.changed / counts.pixels:.2f}',
            'largest margin': f'{counts.margin:.1e}',
            'compared with': 'torch fp32',
            'version': version('torch' if backend == 'compile' else backend),
            'machine': machine(),
        }
        for (backend, precision), counts in found.items()
    ]


def _there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--pictures', type=int, default=200)
    parser.add_argument('--splits', nargs='+', default=['test'], help='test, val, train')
    parser.add_argument('--engines', nargs='+', default=[], metavar='BACKEND:PRECISION')
    parser.add_argument('--calibration', type=int, default=32, help='pictures for int8')
    parser.add_argument('--fixed-sizes', action='store_true', help='of the exported networks')
    parser.add_argument('--csv', metavar='NAME', help='write results/NAME.csv')
    args = parser.parse_args()
    torch.set_num_threads(1)
    measured = rows(args)
    print(markdown_table(measured))
    if args.csv:
        print(write_csv(args.csv, measured))


if __name__ == '__main__':
    main()
