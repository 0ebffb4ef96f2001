"""Look at what training sees: augmented samples with their labels over them.

python tools/browse_dataset.py CONFIG --out sheet.png              one contact sheet
python tools/browse_dataset.py CONFIG --out samples/ --num 200     a file each
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='a config file, or the name of a shipped one')
    parser.add_argument('--out', required=True, help='an image file for a sheet, else a folder')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument('--num', type=int, default=16, help='samples (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of augmentation (default: 0)')
    parser.add_argument('--opacity', type=float, default=0.5, help='of the labels, 0 to 1')
    parser.add_argument('--columns', type=int, default=4, help='of the sheet')
    parser.add_argument('--width', type=int, default=320, help='of a picture on the sheet')
    parser.add_argument('--raw', action='store_true', help='as on disk, without augmentation')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='change settings'
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from segkit.engine.config import load_config
    from segkit.engine.launch import parse_options
    from segkit.inspection.browse import browse, write_folder, write_sheet

    try:
        cfg = load_config(args.config, parse_options(args.cfg_options))
        pictures = browse(cfg, args.split, args.num, args.seed, args.opacity, args.raw)
        if Path(args.out).suffix.lower() in ('.png', '.jpg', '.jpeg', '.webp'):
            count = write_sheet(pictures, Path(args.out), args.columns, args.width)
        else:
            count = write_folder(pictures, Path(args.out))
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f'{args.config}: {error}')
    print(f'{args.out}: {count} samples')
    return 0


if __name__ == '__main__':
    sys.exit(main())
