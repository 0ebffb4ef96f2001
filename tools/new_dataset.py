"""Look at a folder of images and labels, and write a config that trains on it.

python tools/new_dataset.py data/my_masks
python tools/new_dataset.py data/my_masks --classes background,crack --out configs/crack.py
python tools/new_dataset.py data/camvid --ignore 11 --network pspnet_r50-d8

Finds train, val and test, how the names of pictures and labels pair up, which values or colours
the labels hold and what they are called (labelmap.txt, _classes.csv, class_names.txt, ...), and
prints what it understood; every choice has an option. Then: tools/check_dataset.py CONFIG
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from segkit.engine.launch import run_script, tool_parser
from segkit.errors import UserError


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    add = parser.add_argument
    add('folder', type=Path, help='folder with images and labels somewhere below')
    add('--out', type=Path, help='config to write (default: FOLDER/config.py)')
    add('--force', action='store_true', help='write over an existing config')
    add('--workers', type=int, help='processes (default: one a core)')
    add_splits(parser.add_argument_group('pictures, relative to FOLDER').add_argument)
    add_classes(parser.add_argument_group('classes').add_argument)
    add_training(parser.add_argument_group('training').add_argument)
    args = parser.parse_args()
    args.val_fraction_given = args.val_fraction is not None
    args.val_fraction = 0.1 if args.val_fraction is None else args.val_fraction
    if not 0 < args.val_fraction < 1:
        parser.error(f'--val-fraction {args.val_fraction} must be above 0 and below 1')
    numbers = [args.batch_size, args.iters, *(args.crop or ())]
    if any(number is not None and number < 1 for number in numbers):
        parser.error('--batch-size, --iters and --crop must be 1 or more')
    if args.batch_size == 1:
        parser.error('--batch-size 1: batch norm needs two images or more')
    return args


def add_splits(add: Callable) -> None:
    add('--images', metavar='DIR', help='of all splits')
    add('--labels', metavar='DIR', help='of all splits')
    for role in ('train', 'val', 'test'):
        add(f'--{role}-images', metavar='DIR', help=f'pictures of {role}')
        add(f'--{role}-labels', metavar='DIR', help=f'labels of {role}')
        add(f'--{role}-list', metavar='FILE', help=f'names of {role}, one a line')
    add(
        '--val-fraction',
        '--val-share',
        type=float,
        metavar='F',
        help='of the training pictures to validate on where no split is for it (default: 0.1)',
    )
    add(
        '--group-by',
        metavar='PATTERN',
        help='keep pictures of one video or place together: a regular expression whose first group '
        "names it, such as '^(.*)_', or 'folder'",
    )


def add_classes(add: Callable) -> None:
    add(
        '--classes',
        help="a,b,c in the order of the values; a=7,b=9; 'a=#fa3253,b=#33ddff'; or a file of names",
    )
    add('--ignore', metavar='X,...', help="values, names or '#rrggbb' that do not count")
    add('--zero', choices=['class', 'ignore'], help='0 is a class, or pixels that do not count')


def add_training(add: Callable) -> None:
    add('--network', help='fcn_r18-d8, pspnet_r18-d8, ... psanet_r101-d8 (default: by the machine)')
    add('--pretrained', action='store_true', help='begin with ImageNet weights, fetched once')
    add('--batch-size', type=int, help='images a step (default: 4)')
    add('--crop', type=int, nargs=2, metavar=('H', 'W'), help='(default: by size and machine)')
    add('--iters', type=int, help='length of training (default: by the number of pictures)')
    add('--schedule', help='a shipped one, such as schedule_20k, in place of --iters')


def main() -> None:
    args = parse_args()
    from segkit.inspection.new_config import write_config

    out = args.out or args.folder / 'config.py'
    if out.suffix != '.py':
        sys.exit(f'--out {out}: the name of a config ends in .py')
    if os.path.lexists(out) and not args.force:
        sys.exit(f'{out}: is there already; choose another --out, or --force to write over it.')
    try:
        for line in write_config(args, out):
            print(line)
    except (OSError, UserError) as error:
        sys.exit(str(error))


if __name__ == '__main__':
    run_script(main)
