#!/usr/bin/env python
"""Write the generated demo dataset to disk, in the folder layout of ADE20K.

python tools/make_demo_dataset.py data/shapes --train 1000 --val 100

    data/shapes/images/{train,val}/00000.png
    data/shapes/annotations/{train,val}/00000.png      class indices, 255 = ignore
    data/shapes/classes.txt                            one class a line, with its RGB colour
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from segkit.engine.command_line import run_script, tool_parser
from segkit.outputs import check_outputs, output_file


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('out', type=Path, help='folder to write to; files this wrote are replaced')
    parser.add_argument('--train', type=int, default=1000, help='training pictures')
    parser.add_argument('--val', type=int, default=100, help='validation pictures')
    parser.add_argument('--size', type=int, nargs=2, default=(96, 128), metavar=('H', 'W'))
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--reduce-zero-label', action='store_true', help='store 0 as unlabelled')
    args = parser.parse_args()
    if min(args.train, args.val) < 1:
        parser.error('--train and --val must be at least 1')
    if min(args.size) < 64:
        parser.error(f'--size must be at least 64 64, not {args.size[0]} {args.size[1]}')
    return args


def write_split(args: argparse.Namespace, split: str, count: int) -> None:
    import cv2
    import numpy as np

    from segkit.datasets.parallel import bar
    from segkit.datasets.shapes import render_scene

    folders = [args.out / kind / split for kind in ('images', 'annotations')]
    for index in bar(range(count), count, split):
        pair = list(render_scene(args.seed, split, index, tuple(args.size)))
        if args.reduce_zero_label:  # as ADE20K stores them: 0 unlabelled, classes from 1
            pair[1] = np.where(pair[1] == 255, 0, pair[1] + 1).astype(np.uint8)
        for folder, array in zip(folders, pair):
            with output_file(folder / f'{index:05d}.png', 'make_demo_dataset') as file:
                file.write(cv2.imencode('.png', array)[1].tobytes())


def planned(out: Path, counts: dict[str, int]) -> Iterator[Path]:
    """Every file there will be."""
    yield out / 'classes.txt'
    for split, count in counts.items():
        for kind in ('images', 'annotations'):
            yield from (out / kind / split / f'{index:05d}.png' for index in range(count))


def main() -> None:
    args = parse_args()
    from segkit.datasets.shapes import CLASSES, PALETTE

    counts = {'train': args.train, 'val': args.val}
    check_outputs('OUT', 'make_demo_dataset', planned(args.out, counts))
    for split, count in counts.items():
        write_split(args, split, count)
    lines = [f'{name} {r} {g} {b}' for name, (r, g, b) in zip(CLASSES, PALETTE)]
    with output_file(args.out / 'classes.txt', 'make_demo_dataset') as file:
        file.write(('\n'.join(lines) + '\n').encode())
    print(f'{args.train + args.val} pairs of {len(CLASSES)} classes in {args.out}')


if __name__ == '__main__':
    run_script(main)
