"""What a command is told about a folder of pictures and labels, and how to train on it.

Shared by tools/new_dataset.py and ``tools/train.py --data``; nothing heavy is imported.
"""

import argparse
from collections.abc import Callable

from segkit.engine.command_line import add_shared


def add_folder_options(parser: argparse.ArgumentParser, network: str) -> list[str]:
    """All of them, in three groups; ``network`` is the name of the option for it.

    Returns:
        Their names in the namespace.
    """
    before = len(parser._actions)
    add_shared(parser, '--workers')
    add = parser.add_argument_group('pictures, relative to FOLDER').add_argument
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
        '--folds',
        type=int,
        metavar='K',
        help='cross-validation: K configs, each of which validates on another part',
    )
    add(
        '--group-by',
        metavar='PATTERN',
        help='keep pictures of one video or place together: a regular expression whose first group '
        "names it, such as '^(.*)_', or 'folder'",
    )
    add = parser.add_argument_group('classes').add_argument
    add(
        '--classes',
        help="a,b,c in the order of the values; a=7,b=9; 'a=#fa3253,b=#33ddff'; or a file of names",
    )
    add('--ignore', metavar='X,...', help="values, names or '#rrggbb' that do not count")
    add('--zero', choices=['class', 'ignore'], help='0 is a class, or pixels that do not count')
    add = parser.add_argument_group('training').add_argument
    add(
        network,
        dest='network',
        metavar='NAME',
        help='fcn_r18-d8, ... segformer_mit-b5 (default: by the machine)',
    )
    add('--pretrained', action='store_true', help='begin with ImageNet weights, fetched once')
    add('--batch-size', type=int, help='images a step (default: 4)')
    add('--crop', type=int, nargs=2, metavar=('H', 'W'), help='(default: by size and machine)')
    add('--iters', type=int, help='length of training (default: by the number of pictures)')
    add('--schedule', help='a shipped one, such as schedule_20k, in place of --iters')
    return [action.dest for action in parser._actions[before:]]


def settle(args: argparse.Namespace, refuse: Callable[[str], object]) -> None:
    """Check the numbers, and fill in what was not given."""
    args.val_fraction_given = args.val_fraction is not None
    args.val_fraction = 0.1 if args.val_fraction is None else args.val_fraction
    if not 0 < args.val_fraction < 1:
        refuse(f'--val-fraction {args.val_fraction} must be above 0 and below 1')
    if args.folds is not None and (args.folds < 2 or args.val_fraction_given):
        refuse(f'--folds {args.folds}: give 2 or more, without --val-fraction')
    numbers = [args.batch_size, args.iters, *(args.crop or ())]
    if any(number is not None and number < 1 for number in numbers):
        refuse('--batch-size, --iters and --crop must be 1 or more')
    if args.batch_size == 1:
        refuse('--batch-size 1: batch norm needs two images or more')
