"""Pascal VOC 2012 + SBD: the .mat labels of SBD as PNGs, and the lists of the usual training set.

python tools/dataset_converters/voc_aug.py data/VOCdevkit data/benchmark_RELEASE

    benchmark_RELEASE/dataset/cls/X.mat  ->  VOC2012/SegmentationClassAug/X.png
    VOC2012/ImageSets/Segmentation/aug.txt        SBD's images that are in neither train nor val
    VOC2012/ImageSets/Segmentation/trainaug.txt   train.txt and aug.txt together: 10,582 images

Needs SciPy (pip install scipy). SBD: Hariharan et al., ICCV 2011.
"""

import argparse
import sys
from pathlib import Path

from segkit.engine.command_line import run_script, tool_parser

FULL = 10582


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__, overwrite='write labels again')
    parser.add_argument('devkit', type=Path, help='folder with VOC2012')
    parser.add_argument('sbd', type=Path, help='folder of SBD: benchmark_RELEASE')
    parser.add_argument('--out-dir', default='SegmentationClassAug', help='default: %(default)s')
    return parser.parse_args()


def read_mat(path: Path):
    """The class labels (H, W) uint8 of one SBD file."""
    from scipy.io import loadmat

    label = loadmat(path, squeeze_me=True, struct_as_record=False)['GTcls'].Segmentation
    if label.max() > 20:
        raise ValueError(f'holds class {label.max()}, but VOC has 0..20')
    return label.astype('uint8')


def write_lists(folder: Path, sbd: Path, available: set[str]) -> str:
    """aug.txt and trainaug.txt: validation images never train, whichever list has them."""
    from conversion import read_names

    from segkit.datasets.scan import write_split

    train, val = (set(read_names(folder / f'{name}.txt')) for name in ('train', 'val'))
    lists = [sbd / f'{name}.txt' for name in ('train', 'val') if (sbd / f'{name}.txt').is_file()]
    listed = {stem for path in lists for stem in read_names(path)} or available
    aug = (listed & available) - train - val
    count = write_split(folder / 'trainaug.txt', train | aug)
    expected = '' if count == FULL else f' (of the complete data: {FULL}; is a part missing?)'
    return f'aug.txt {write_split(folder / "aug.txt", aug)}, trainaug.txt {count}{expected}'


def main() -> int:
    args = parse_args()
    from conversion import close, convert, need_scipy

    from segkit.datasets.metainfo import dataset_metainfo

    voc = args.devkit / 'VOC2012'
    sbd = args.sbd / 'dataset' if (args.sbd / 'dataset').is_dir() else args.sbd
    sources = sorted((sbd / 'cls').glob('*.mat'))
    if not sources:
        sys.exit(f'{sbd / "cls"}: no .mat file. Give the folder benchmark_RELEASE of SBD.')
    need_scipy(sources)
    jobs = [(path, voc / args.out_dir / f'{path.stem}.png') for path in sources]
    palette = dataset_metainfo('pascal_voc12')['palette']
    lists = [voc / 'ImageSets/Segmentation' / f'{name}.txt' for name in ('aug', 'trainaug')]
    report = convert(read_mat, jobs, 'SBD labels', args.workers, args.overwrite, palette, lists)
    done = {target.stem for _, target in jobs if target.is_file()}
    try:
        told = f'Images: {write_lists(voc / "ImageSets/Segmentation", sbd, done)}'
    except FileNotFoundError as error:
        sys.exit(str(error))
    return close('Pascal VOC 2012 + Aug', report, f'Labels in {voc / args.out_dir}', told)


if __name__ == '__main__':
    run_script(main)
