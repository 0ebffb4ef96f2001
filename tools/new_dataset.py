"""Look at a folder of images and labels, and write a config that trains on it.

python tools/new_dataset.py data/my_masks
python tools/new_dataset.py data/my_masks --classes background,crack --out configs/crack.py

Finds the two folders and how their names pair up, reads the labels, works out which values there
are and how to read them (label_map, reduce_zero_label, colours), and splits into training and
validation images where the folders do not. Then: python tools/check_dataset.py CONFIG
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from segkit.engine.launch import run_script


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('folder', type=Path, help='folder with images and labels somewhere below')
    parser.add_argument('--images', help='folder of the images, relative to FOLDER')
    parser.add_argument('--labels', help='folder of the labels, relative to FOLDER')
    parser.add_argument('--classes', help='names separated by commas, or a file with one a line')
    parser.add_argument('--out', type=Path, help='config to write (default: FOLDER/config.py)')
    parser.add_argument('--network', default='pspnet_r50-d8', help='default: %(default)s')
    parser.add_argument('--schedule', default='schedule_20k', help='default: %(default)s')
    parser.add_argument(
        '--val-share',
        type=float,
        default=0.1,
        metavar='SHARE',
        help='of images without a split, in (0, 1) (default: %(default)s)',
    )
    parser.add_argument('--workers', type=int, help='processes (default: one a core)')
    parser.add_argument('--force', action='store_true', help='write over an existing config')
    args = parser.parse_args()
    if not 0 < args.val_share < 1:
        parser.error(f'--val-share {args.val_share} must be above 0 and below 1')
    return args


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
    except (OSError, ValueError) as error:
        sys.exit(str(error))


if __name__ == '__main__':
    run_script(main)
