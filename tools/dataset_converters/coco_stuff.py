"""COCO-Stuff: ids of its 171 classes, which have gaps, to labels without them.

python tools/dataset_converters/coco_stuff.py data/coco_stuff164k
python tools/dataset_converters/coco_stuff.py data/coco_stuff10k

    164k: annotations/{train,val}2017/X.png (stuffthingmaps_trainval2017)
        ->  annotations/{train,val}2017/X_labelTrainIds.png       0..170, 255 is ignored
    10k: annotations/X.mat, images/X.jpg, imageLists/{train,test}.txt
        ->  annotations/{train,test}2014/X_labelTrainIds.png      1..171, 0 is ignored
            images/{train,test}2014/X.jpg

The second needs SciPy (pip install scipy).
"""

import argparse
import sys
from pathlib import Path

from segkit.engine.command_line import run_script, tool_parser

# Ids of COCO's list of things that no picture has.
UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
SUFFIX = '_labelTrainIds.png'
SPLITS_10K = ('train', 'test')


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__, overwrite='write labels again')
    parser.add_argument('root', type=Path, help='folder with annotations')
    return parser.parse_args()


def class_table(first: int, ignored: int):
    """256 bytes: id 1, 2, ... of a class that is in use -> ``first``, ``first`` + 1, ..."""
    import numpy as np

    table = np.full(256, ignored, np.uint8)
    used = [number for number in range(1, 183) if number not in UNUSED]
    table[used] = np.arange(first, first + len(used))
    return table


def read(path: Path):
    """What one source file becomes: a label of classes, or the bytes of a picture."""
    import numpy as np
    from PIL import Image

    if path.suffix == '.jpg':
        return path.read_bytes()
    if path.suffix == '.mat':
        from scipy.io import loadmat

        return class_table(1, 0)[loadmat(path)['S']]
    stored = np.asarray(Image.open(path))  # ids from 0 on; 255 is ignored
    return class_table(0, 255)[np.where(stored == 255, 0, stored + 1)]


def jobs_of(root: Path) -> list[tuple[Path, Path]]:
    """(source, target) of what lies in the folder, in the form of one of the two releases."""
    from conversion import read_names

    folder, jobs = root / 'annotations', []
    if any(folder.glob('*.mat')):
        for split in SPLITS_10K:
            for name in read_names(root / 'imageLists' / f'{split}.txt'):
                jobs.append((folder / f'{name}.mat', folder / f'{split}2014' / f'{name}{SUFFIX}'))
                picture = root / 'images' / f'{name}.jpg'
                jobs.append((picture, root / 'images' / f'{split}2014' / picture.name))
        return jobs
    sources = [
        path for split in ('train2017', 'val2017') for path in (folder / split).glob('*.png')
    ]
    made = [path for path in sources if path.name.endswith(SUFFIX)]
    return [(p, p.with_name(p.stem + SUFFIX)) for p in sorted({*sources} - {*made})]


def main() -> int:
    args = parse_args()
    from conversion import close, convert, need_scipy

    try:
        jobs = jobs_of(args.root)
    except FileNotFoundError as error:
        sys.exit(str(error))
    if not jobs:
        sys.exit(
            f'{args.root}/annotations: neither train2017/*.png nor *.mat. Unpack '
            'stuffthingmaps_trainval2017.zip or cocostuff-10k-v1.1.zip there.'
        )
    need_scipy(source for source, _ in jobs)
    report = convert(read, jobs, 'labels', args.workers, args.overwrite)
    return close('COCO-Stuff', report, f'Files in {args.root}')


if __name__ == '__main__':
    run_script(main)
