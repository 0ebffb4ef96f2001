"""Objects of labelling tools, drawn as label images beside their pictures.

Read are COCO JSON (Roboflow, CVAT and others), labelme JSON, "CVAT for images" (XML) and polygons
of YOLO (text).

python tools/dataset_converters/polygons.py data/my_export
python tools/dataset_converters/polygons.py data/my_export --workers 4 --overwrite

    train/X.jpg             a picture that a file of polygons names
    train/X_mask.png        written: 0 where nothing is drawn, classes from 1 by their names
    train/_classes.csv      written: what the values are called

Of COCO large objects are drawn first, so that small ones on them stay to be seen; of CVAT those
with the lower z_order, of the others in the order of the file.

Then: python tools/new_dataset.py data/my_export
"""

import argparse
import sys
from pathlib import Path

from segkit.engine.command_line import run_script, tool_parser


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__, overwrite='write labels again')
    parser.add_argument('folder', type=Path, help='folder with the export somewhere below')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from conversion import WRITER, convert
    from polygon_files import collect, draw

    from segkit.errors import UserError
    from segkit.outputs import check_outputs, output_file

    try:
        names, drawings, unread = collect(args.folder)
    except (OSError, UserError) as error:
        sys.exit(str(error))
    jobs = [(one, one.picture.with_name(f'{one.picture.stem}_mask.png')) for one in drawings]
    tables = sorted({target.parent / '_classes.csv' for _, target in jobs})
    check_outputs('_classes.csv', WRITER, tables)
    report = convert(draw, jobs, 'masks', args.workers, args.overwrite)
    lines = ['Pixel Value, Class', '0, background', *(f'{i}, {n}' for i, n in enumerate(names, 1))]
    for path in tables:
        with output_file(path, WRITER) as file:
            file.write('\n'.join([*lines, '']).encode())
    print(report.text(f'Masks below {args.folder}'))
    print(f'{len(names)} classes beside the background: {", ".join(names)}')
    for why, count in sorted(unread.items()):
        print(f'left out: {count} {why}')
    return 1 if report.failed else 0


if __name__ == '__main__':
    run_script(main)
