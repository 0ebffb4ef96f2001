"""LoveDA: the pictures of town and country of each split in one folder.

python tools/dataset_converters/loveda.py data/downloads --out data/loveDA

    Train/{Rural,Urban}/{images_png,masks_png}/0.png  (Train.zip, Val.zip, Test.zip, unpacked)
        ->  img_dir/train/0.png, ann_dir/train/0.png
"""

import argparse
import sys
from pathlib import Path

from segkit.engine.command_line import run_script, tool_parser

FOLDERS = {'images_png': 'img_dir', 'masks_png': 'ann_dir'}


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__, overwrite='copy again')
    parser.add_argument('source', type=Path, help='folder with Train, Val and perhaps Test')
    home = Path('data/loveDA')
    parser.add_argument('--out', type=Path, default=home, help='default: %(default)s')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from conversion import close, convert

    jobs = [
        (path, args.out / target / split.lower() / path.name)
        for split in ('Train', 'Val', 'Test')
        for source, target in FOLDERS.items()
        for path in sorted(args.source.glob(f'{split}/*/{source}/*.png'))
    ]
    if not jobs:
        sys.exit(f'{args.source}: no Train/Rural/images_png below it. Unpack Train.zip there.')
    report = convert(Path.read_bytes, jobs, 'copies', args.workers, args.overwrite)
    return close('LoveDA', report, f'Files in {args.out}')


if __name__ == '__main__':
    run_script(main)
