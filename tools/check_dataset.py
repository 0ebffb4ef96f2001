"""Look at the data of a config before training: every image, every label.

python tools/check_dataset.py configs/psanet/psanet_r50-d8_512x512_80k_ade20k.py
python tools/check_dataset.py CONFIG --split train val test --html data.html --json data.json

Missing and unreadable files, sizes that differ, label values that are no class, classes that are
never labelled, class weights, mean and standard deviation, the effective batch. Exit status 0 if
training would work, 1 if not.
"""

import argparse
import sys
from pathlib import Path

from segkit.engine.command_line import add_shared, parse_options, run_script, tool_parser
from segkit.errors import UserError
from segkit.outputs import own_outputs
from segkit.whole_file import write_text


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__, config=True)
    add, splits = parser.add_argument, ['train', 'val', 'test']
    add('--split', nargs='+', choices=splits, default=splits[:2])
    add_shared(parser, '--workers')
    add('--max-images', type=int, help='examine so many of each, evenly spread')
    add('--gpus', type=int, default=1, help='that will train (default: 1)')
    add('--all-files', action='store_true', help='list every file of a finding')
    add('--json', help='write the result to this file')
    add('--html', help='write a page with pictures to this file')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with own_outputs('--json, --html', 'check_dataset', [args.json, args.html], [args.config]):
        check_dataset(args)


def check_dataset(args: argparse.Namespace) -> None:
    import json

    from segkit.engine.config import load_config
    from segkit.inspection.check import check
    from segkit.inspection.check_report import as_page, as_text

    try:
        cfg = load_config(args.config, parse_options(args.cfg_options))
        name = Path(cfg.get('work_dir') or args.config).stem
        found = check(cfg, name, args.split, args.workers, args.max_images, args.gpus)
    except (OSError, UserError) as error:
        sys.exit(f'{args.config}: {error}')
    print(as_text(found, args.all_files))
    if args.json:
        write_text(args.json, json.dumps(found.to_json(), indent=1))
    if args.html:
        write_text(args.html, as_page(found))
    if not found.ok:
        raise SystemExit(1)


if __name__ == '__main__':
    run_script(main)
