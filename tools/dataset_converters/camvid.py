"""CamVid: the original's 32 colours to the 11 classes of SegNet, in its splits.

python tools/dataset_converters/camvid.py data/downloads/CamVid --out data/CamVid

    701_StillsRaw_full/0001TP_006690.png, LabeledApproved_full/0001TP_006690_L.png
        ->  train/0001TP_006690.png, trainannot/0001TP_006690.png      0..10, 11 is void

The pictures keep their 960x720; SegNet's own release, which needs no conversion, has 480x360.
"""

import argparse
import sys
from pathlib import Path

from segkit.engine.command_line import run_script, tool_parser

# The colours of each of the 11 classes, in their order; all others are void.
COLOURS = (
    [(128, 128, 128)],  # sky
    [(0, 128, 64), (128, 0, 0), (64, 192, 0), (64, 0, 64), (192, 0, 128)],  # bridge, building, wall
    [(192, 192, 128), (0, 0, 64)],  # pole, traffic cone
    [(128, 64, 128), (128, 0, 192), (192, 0, 64)],  # road, its markings
    [(0, 0, 192), (64, 192, 128), (128, 128, 192)],  # sidewalk, parking block, shoulder
    [(128, 128, 0), (192, 192, 0)],  # tree, other plants
    [(192, 128, 128), (128, 128, 64), (0, 64, 64)],  # sign, text, traffic light
    [(64, 64, 128)],  # fence
    [(64, 0, 128), (64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64)],  # car to train
    [(64, 64, 0), (192, 128, 64), (64, 0, 192), (64, 128, 64)],  # pedestrian, child, pram, animal
    [(0, 128, 192), (192, 0, 192)],  # bicyclist, motorcycle
)


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__, overwrite='write again')
    parser.add_argument('source', type=Path, help='folder with the pictures and labels below it')
    home = Path('data/CamVid')
    parser.add_argument('--out', type=Path, default=home, help='default: %(default)s')
    return parser.parse_args()


def split_of(stem: str) -> str:
    """By the video and the number of the frame: 367 to train, 101 to validate, 233 to test on."""
    video, _, frame = stem.partition('_')
    number = int(''.join(filter(str.isdigit, frame)))
    if video == '0016E5':
        return 'val' if 7959 <= number <= 8159 else 'train'
    return 'test' if video == 'Seq05VD' or video == '0001TP' and number >= 8550 else 'train'


def read(path: Path):
    """The bytes of a picture, or the classes (H, W) of a label ``X_L.png``."""
    import numpy as np
    from conversion import painted
    from PIL import Image

    if not path.stem.endswith('_L'):
        return path.read_bytes()
    values = {colour: value for value, colours in enumerate(COLOURS) for colour in colours}
    return painted(np.asarray(Image.open(path).convert('RGB')), values, len(COLOURS))


def main() -> int:
    args = parse_args()
    from conversion import close, convert

    found = {path.stem: path for path in sorted(args.source.rglob('*.png'))}
    stems = [stem for stem in found if f'{stem}_L' in found]
    if not stems:
        sys.exit(f'{args.source}: no X.png with its X_L.png below it. Unpack both archives there.')
    jobs = []
    for stem in stems:
        split = split_of(stem)
        jobs.append((found[stem], args.out / split / f'{stem}.png'))
        jobs.append((found[f'{stem}_L'], args.out / f'{split}annot' / f'{stem}.png'))
    report = convert(read, jobs, 'files', args.workers, args.overwrite)
    return close('CamVid', report, f'Files in {args.out}')


if __name__ == '__main__':
    run_script(main)
