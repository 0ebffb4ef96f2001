"""Look at what training sees: augmented samples with their labels over them.

python tools/browse_dataset.py CONFIG --out sheet.png              one contact sheet
python tools/browse_dataset.py CONFIG --out samples/ --num 200     a file each
"""

import argparse
from pathlib import Path

from segkit.engine.command_line import add_shared, parse_options, run_script, tool_parser
from segkit.errors import UserError

SHEETS = ('.png', '.jpg', '.jpeg', '.webp')


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__, config=True)
    where = 'an image file for a sheet, else a folder'
    parser.add_argument('--out', '--output-dir', required=True, help=where)
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument('--num', type=int, default=16, help='samples (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of augmentation (default: 0)')
    parser.add_argument('--not-show', action='store_true', help=argparse.SUPPRESS)  # as ever
    add_shared(parser, '--opacity')
    parser.add_argument('--columns', type=int, default=4, help='of the sheet (default: 4)')
    parser.add_argument('--width', type=int, default=320, help='of a picture (default: 320)')
    parser.add_argument('--raw', action='store_true', help='as on disk, without augmentation')
    args = parser.parse_args()
    if min(args.num, args.columns, args.width) < 1:
        parser.error('--num, --columns and --width must be positive')
    if not 0 <= args.opacity <= 1:
        parser.error(f'--opacity {args.opacity} must be in [0, 1]')
    return args


def main() -> None:
    args = parse_args()
    from segkit.engine.config import load_config
    from segkit.engine.folders import ends_like_file
    from segkit.inspection.browse import (
        Tally,
        browse,
        dataset_of,
        refuse_overwriting,
        write_folder,
        write_sheet,
    )

    out, sheet = Path(args.out), Path(args.out).suffix.lower() in SHEETS
    if ends_like_file(out) and not sheet:
        raise SystemExit(f'--out {out}: a sheet is {", ".join(SHEETS)}; a folder has no ending.')
    try:
        cfg = load_config(args.config, parse_options(args.cfg_options))
        refuse_overwriting(dataset_of(cfg, args.split, args.raw), out, sheet, args.num)
        tally = Tally()
        pictures = browse(cfg, args.split, args.num, args.seed, args.opacity, args.raw, tally)
        if sheet:
            count = write_sheet(pictures, out, args.columns, args.width, tally)
        else:
            count = write_folder(pictures, out, tally)
    except (OSError, UserError) as error:
        raise SystemExit(f'{args.config}: {error}') from None
    print(f'{args.out}: {count} samples')


if __name__ == '__main__':
    run_script(main)
