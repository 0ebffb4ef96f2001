"""iSAID: tiles of 896x896 that overlap by 384, their labels as classes.

python tools/dataset_converters/isaid.py data/downloads/iSAID --out data/iSAID

The source holds what was unpacked, train and val of both archives (DOTA has the pictures):

    train/images/P0000.png, train/.../P0000_instance_color_RGB.png (the semantic masks)
        ->  img_dir/train/P0000_0_896_0_896.png
            ann_dir/train/P0000_0_896_0_896_instance_color_RGB.png

Names hold y1, y2, x1, x2. What is beyond the end of a small picture is black, and 255 in its label.
"""

import argparse
import sys
from pathlib import Path

from segkit.engine.command_line import run_script, tool_parser

LABEL = '_instance_color_RGB'


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__, overwrite='write tiles again')
    parser.add_argument('source', type=Path, help='folder with train and val')
    parser.add_argument('--out', type=Path, default=Path('data/iSAID'), help='default: %(default)s')
    parser.add_argument('--tile', type=int, default=896, help='side (default: %(default)s)')
    parser.add_argument('--overlap', type=int, default=384, help='default: %(default)s')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    if not 0 <= args.overlap < args.tile:
        sys.exit(f'--overlap {args.overlap}: must be below --tile {args.tile}.')
    from conversion import close, convert
    from tiles import Tile, boxes, cut

    from segkit.datasets.metainfo import dataset_metainfo

    colours = tuple(map(tuple, dataset_metainfo('isaid')['palette']))
    jobs = []
    for split in ('train', 'val'):
        paths = {path.stem: path for path in sorted((args.source / split).rglob('P*.png'))}
        for name, path in paths.items():
            if name.endswith(LABEL) or name + LABEL not in paths:
                continue
            for y1, y2, x1, x2 in boxes(path, args.tile, args.tile - args.overlap):
                stem, box = f'{name}_{y1}_{y2}_{x1}_{x2}', (y1, y2, x1, x2)
                label = Tile(paths[name + LABEL], box, colours, outside=255)
                jobs.append((Tile(path, box), args.out / f'img_dir/{split}/{stem}.png'))
                jobs.append((label, args.out / f'ann_dir/{split}/{stem}{LABEL}.png'))
    if not jobs:
        sys.exit(f'{args.source}: no P0000.png with its P0000{LABEL}.png below train or val.')
    jobs.sort(key=lambda job: str(job[0].path))  # each file is decoded once
    report = convert(cut, jobs, 'tiles', args.workers, args.overwrite)
    return close('iSAID', report, f'Tiles in {args.out}')


if __name__ == '__main__':
    run_script(main)
