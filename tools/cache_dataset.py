#!/usr/bin/env python
"""Decode a dataset once, so that training never decodes a PNG again.

python tools/cache_dataset.py CONFIG data/cityscapes_cache --format rows --workers 8

Then train with  --cfg-options train_dataloader.dataset.cache=data/cityscapes_cache
``raw`` is the fastest (6.3 MB for a Cityscapes image and 2.1 MB for its label, memory-mapped);
``rows`` is compressed without loss into about the space of the PNGs.
"""

import argparse
import sys

from segkit.engine.command_line import add_shared, run_script, tool_parser
from segkit.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__, config=True)
    parser.add_argument('out', help='folder to write; replaced once the new one is complete')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument('--format', choices=['raw', 'rows'], default='raw')
    parser.add_argument('--codec', choices=['zstd', 'zlib'], help='of rows; the best installed')
    add_shared(parser, '--workers')
    parser.add_argument('--part', type=int, help='which one of a ConcatDataset, from 0')
    return parser.parse_args()


def build_dataset(args: argparse.Namespace):
    """The split's dataset, without its pipeline and without a cache."""
    from segkit.engine.command_line import parse_options
    from segkit.engine.config import load_config
    from segkit.inspection.config_datasets import leaf_configs
    from segkit.registry import DATASETS

    cfg = load_config(args.config, parse_options(args.cfg_options))
    parts = [part for part, _ in leaf_configs(cfg[f'{args.split}_dataloader'].dataset)]
    if len(parts) > 1 and args.part not in range(len(parts)):
        raise UserError(
            f'the dataset has {len(parts)} parts: write one cache for each (--part 0, 1, ...) '
            'and name it in its part of the config (cache=...)'
        )
    part = parts[args.part if len(parts) > 1 else 0]
    return DATASETS.build({**part, 'pipeline': [], 'cache': None})


def main() -> None:
    args = parse_args()
    from segkit.datasets.cache_writer import write_cache

    try:
        dataset = build_dataset(args)
        written = write_cache(dataset, args.out, args.format, args.workers, args.codec)
    except (OSError, UserError) as error:
        sys.exit(f'No cache was written: {error}')
    print(f'{len(dataset)} samples, {written / 1e9:.2f} GB in {args.out}')


if __name__ == '__main__':
    run_script(main)
