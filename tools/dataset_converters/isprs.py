"""ISPRS Potsdam and Vaihingen: tiles of 512x512, their labels as classes.

python tools/dataset_converters/isprs.py potsdam data/downloads --out data/potsdam
python tools/dataset_converters/isprs.py vaihingen data/downloads --out data/vaihingen

The source is the folder in which the archives were unpacked. Of Potsdam 2_Ortho_RGB and
5_Labels_all (or the labels without boundaries), of Vaihingen top and the eroded ground truth:

    top_potsdam_2_10_RGB.tif, top_potsdam_2_10_label.tif
        ->  img_dir/train/2_10_0_0_512_512.png, ann_dir/train/2_10_0_0_512_512.png
    top_mosaic_09cm_area1.tif, top_mosaic_09cm_area1_noBoundary.tif
        ->  img_dir/train/area1_0_0_512_512.png, ...

Labels: 0 where nothing counts, 1 to 6 the classes. Names hold x1, y1, x2, y2.
"""

import argparse
import re
import sys
from pathlib import Path

from segkit.engine.command_line import run_script, tool_parser

# The pictures to train on; all others, with the labels published later, are to validate on.
TRAIN = {
    'potsdam': '2_10 2_11 2_12 3_10 3_11 3_12 4_10 4_11 4_12 5_10 5_11 5_12 6_7 6_8 6_9 6_10 6_11 '
    '6_12 7_7 7_8 7_9 7_10 7_11 7_12',
    'vaihingen': 'area1 area3 area5 area7 area11 area13 area15 area17 area21 area23 area26 area28 '
    'area30 area32 area34 area37',
}
NAMES = {
    'potsdam': r'top_potsdam_(\d+_\d+)_(RGB|label(?:_noBoundary)?)\.tif',
    'vaihingen': r'top_mosaic_09cm_(area\d+)(_noBoundary)?\.tif',
}


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__, overwrite='write tiles again')
    parser.add_argument('city', choices=sorted(NAMES))
    parser.add_argument('source', type=Path, help='folder with the TIFF files somewhere below')
    parser.add_argument('--out', type=Path, help='default: data/CITY')
    parser.add_argument('--tile', type=int, default=512, help='side (default: %(default)s)')
    return parser.parse_args()


def files(folder: Path, city: str) -> dict[str, dict[bool, Path]]:
    """Name of a picture -> whether it is the label -> its file."""
    found: dict[str, dict[bool, Path]] = {}
    for path in sorted(folder.rglob('*.tif')):
        if match := re.fullmatch(NAMES[city], path.name):
            found.setdefault(match[1], {})[match[2] not in (None, 'RGB')] = path
    return found


def main() -> int:
    args = parse_args()
    from conversion import close, convert
    from tiles import Tile, boxes, cut

    from segkit.datasets.metainfo import dataset_metainfo

    out = args.out or Path('data', args.city)
    found = files(args.source, args.city)
    pairs = {name: pair for name, pair in found.items() if len(pair) == 2}
    if not pairs:
        sys.exit(f'{args.source}: no picture of {args.city} with its label below it. Unpack both.')
    colours = ((0, 0, 0), *map(tuple, dataset_metainfo('isprs')['palette']))
    jobs = []
    for name, pair in pairs.items():
        split = 'train' if name in TRAIN[args.city].split() else 'val'
        for y1, y2, x1, x2 in boxes(pair[False], args.tile, args.tile):
            file = f'{split}/{name}_{x1}_{y1}_{x2}_{y2}.png'
            for is_label, path in sorted(pair.items()):
                tile = Tile(path, (y1, y2, x1, x2), colours if is_label else ())
                jobs.append((tile, out / ('ann_dir' if is_label else 'img_dir') / file))
    # Of one file one after the other: it is decoded once.
    jobs.sort(key=lambda job: str(job[0].path))
    report = convert(cut, jobs, 'tiles', args.workers, args.overwrite)
    alone = ', '.join(sorted(set(found) - set(pairs)))
    left = [f'left out, the picture or its label is not there: {alone}'] if alone else []
    return close('ISPRS', report, f'Tiles of {len(pairs)} pictures in {out}', *left)


if __name__ == '__main__':
    run_script(main)
