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
from pathlib import Path

from segkit.engine.command_line import run_script, tool_parser
from segkit.errors import UserError
from segkit.inspection.options import add_folder_options, settle


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    add = parser.add_argument
    add('folder', type=Path, help='folder with images and labels somewhere below')
    add('--out', type=Path, help='config to write (default: FOLDER/config.py)')
    add('--force', action='store_true', help='write over an existing config')
    add_folder_options(parser, '--network')
    args = parser.parse_args()
    settle(args, parser.error)
    return args


def main() -> None:
    args = parse_args()
    from segkit.inspection.new_config import fold_paths, write_config

    out = args.out or args.folder / 'config.py'
    if out.suffix != '.py':
        sys.exit(f'--out {out}: the name of a config ends in .py')
    for path in [] if args.force else fold_paths(args, out):
        if os.path.lexists(path):
            sys.exit(
                f'{path}: is there already; choose another --out, or --force to write over it.'
            )
    try:
        for line in write_config(args, out):
            print(line)
    except (OSError, UserError) as error:
        sys.exit(str(error))


if __name__ == '__main__':
    run_script(main)
