"""Pascal Context: labels of 60 classes (0 = all others) for the images of VOC 2010.

python tools/dataset_converters/pascal_context.py data/VOCdevkit data/trainval_merged.json
python tools/dataset_converters/pascal_context.py data/VOCdevkit data/59_context_labels \\
    --names data/59_labels.txt

The source is the annotation file of the Detail release, or a folder of label images (PNG, or the
459-class .mat files) with the text file of names that comes with it ("ID: name" a line). Classes
are found by their names; the output:

    VOC2010/SegmentationClassContext/X.png
    VOC2010/ImageSets/SegmentationContext/{train,val}.txt
"""

import argparse
import sys
from pathlib import Path

from segkit.engine.command_line import run_script, tool_parser

SPLITS = ('train', 'val')


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__, overwrite='write labels again')
    parser.add_argument('devkit', type=Path, help='folder with VOC2010')
    parser.add_argument('source', type=Path, help='trainval_merged.json, or a folder of labels')
    parser.add_argument('--names', type=Path, help='names of the values in a folder of labels')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from context_labels import DetailFile, LabelFolder
    from conversion import close, convert

    from segkit.datasets.metainfo import dataset_metainfo
    from segkit.datasets.scan import write_split

    voc = args.devkit / 'VOC2010'
    try:
        folder = args.source.is_dir()
        source = LabelFolder(args.source, args.names, voc) if folder else DetailFile(args.source)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    target = voc / 'SegmentationClassContext'
    jobs = [(item, target / f'{stem}.png') for stem, item in source.items()]
    palette = dataset_metainfo('pascal_context')['palette']
    lists = voc / 'ImageSets' / 'SegmentationContext'
    files = [lists / f'{split}.txt' for split in SPLITS]
    report = convert(source.label, jobs, 'labels', args.workers, args.overwrite, palette, files)
    counts = [f'{s}.txt {write_split(lists / f"{s}.txt", source.split(s))}' for s in SPLITS]
    told = f'Images in {lists}: {", ".join(counts)} (complete: 4998 and 5105)'
    return close('Pascal Context', report, f'Labels in {target}', told)


if __name__ == '__main__':
    run_script(main)
