"""Cityscapes: draw the polygons of gtFine as labels of the 19 training classes.

python tools/dataset_converters/cityscapes.py data/cityscapes

    gtFine/train/CITY/X_gtFine_polygons.json  ->  gtFine/train/CITY/X_gtFine_labelTrainIds.png
    and the lists train.txt, val.txt, test.txt of CITY/X

Needs cityscapesscripts, the dataset's own drawing code (pip install cityscapesscripts).
"""

import argparse
import sys
from pathlib import Path

from segkit.engine.command_line import run_script, tool_parser

POLYGONS, LABELS = '_polygons.json', '_labelTrainIds.png'


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__, overwrite='draw labels again that are there')
    parser.add_argument('root', type=Path, help='folder with leftImg8bit and gtFine')
    parser.add_argument('--gt-dir', default='gtFine', help='default: %(default)s')
    return parser.parse_args()


def draw(polygons: Path):
    """The label (H, W) of one polygon file, 255 where no training class is."""
    from cityscapesscripts.helpers.annotation import Annotation
    from cityscapesscripts.preparation.json2labelImg import createLabelImage

    annotation = Annotation()
    annotation.fromJsonFile(str(polygons))
    return createLabelImage(annotation, 'trainIds')


def write_lists(root: Path, gt: Path) -> str:
    """The list of each split; the test split has polygon files too, without classes."""
    from segkit.datasets.scan import write_split

    counts = []
    for split in sorted(path for path in gt.iterdir() if path.is_dir()):
        files = split.rglob(f'*{POLYGONS}')
        stems = [str(f.relative_to(split)).removesuffix(f'_gtFine{POLYGONS}') for f in files]
        counts.append(f'{split.name}.txt {write_split(root / f"{split.name}.txt", stems)}')
    return ', '.join(counts)


def main() -> int:
    args = parse_args()
    try:
        import cityscapesscripts  # noqa: F401
    except ImportError:
        sys.exit('The drawing code of the dataset is missing: pip install cityscapesscripts')
    from conversion import close, convert

    gt = args.root / args.gt_dir
    sources = sorted(gt.rglob(f'*{POLYGONS}'))
    if not sources:
        sys.exit(f'{gt}: no *{POLYGONS} below it. Unpack gtFine_trainvaltest.zip there.')
    jobs = [(s, s.with_name(s.name.removesuffix(POLYGONS) + LABELS)) for s in sources]
    lists = [args.root / f'{path.name}.txt' for path in gt.iterdir() if path.is_dir()]
    report = convert(draw, jobs, 'polygons', args.workers, args.overwrite, lists=lists)
    counts = f'Images in the lists of {args.root}: {write_lists(args.root, gt)}'
    return close('Cityscapes', report, f'Labels in {gt}', counts)


if __name__ == '__main__':
    run_script(main)
