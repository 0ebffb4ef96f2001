"""The model zoo: list its rows, download and verify their checkpoints, write model_zoo.md.

python tools/model_zoo.py list --dataset ade20k --backbone r101
python tools/model_zoo.py download psanet_r50-d8_512x1024_40k_cityscapes
python tools/model_zoo.py verify psanet_r50-d8_512x1024_40k_cityscapes --aug-test
python tools/model_zoo.py table
"""

import argparse
import shlex
import sys
from pathlib import Path

from segkit.engine.command_line import run_script, tool_parser
from segkit.errors import UserError
from segkit.outputs import own_outputs
from segkit.whole_file import write_text

ROOT = Path(__file__).resolve().parents[1]


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('--catalog', help='CSV with the rows, instead of the published ones')
    parser.add_argument('--records', help='CSV with the measurements, instead of the shipped one')
    commands = parser.add_subparsers(dest='command', required=True)
    rows = commands.add_parser('list', help='rows of a dataset, method or backbone')
    for name in ('dataset', 'method', 'backbone'):
        rows.add_argument(f'--{name}', help='part of the name, in any case')
    download = commands.add_parser('download', help='fetch checkpoints, SHA-256 checked')
    verify = commands.add_parser('verify', help='test checkpoints and compare the figures')
    for command in (download, verify):
        command.add_argument('names', nargs='+', metavar='NAME', help='config names')
        command.add_argument('--checkpoint-dir', help='folder; default: the cache of downloads')
    add = verify.add_argument
    add('--aug-test', action='store_true', help='also with multiple scales + flip')
    add('--tolerance', type=float, default=0.1, help='percentage points (default: %(default)s)')
    add('--data-root', help='where the dataset lies, if not where the config says')
    add('--no-record', action='store_true', help='do not add to the measurements')
    table = commands.add_parser('table', help='write model_zoo.md from the data')
    table.add_argument('--out', default=str(ROOT / 'model_zoo.md'), help='file to write')
    table.add_argument('--check', action='store_true', help='only say whether it is up to date')
    return parser.parse_args()


def list_rows(args: argparse.Namespace) -> int:
    from segkit.evaluation.tables import format_table
    from segkit.model_zoo import select

    rows = select(args.rows, args.dataset, args.method, args.backbone)
    if not rows:
        datasets = ', '.join(dict.fromkeys(row.dataset for row in args.rows))
        backbones = ', '.join(dict.fromkeys(row.backbone for row in args.rows))
        sys.exit(f'No row fits. Datasets: {datasets}; backbones: {backbones}.')
    headings = ['config', 'mIoU', 'ms+flip', 'schedule', 'crop']
    cells = [[row.config, row.miou, row.miou_ms_flip, row.schedule, row.crop] for row in rows]
    print(format_table(headings, cells))
    print(f'{len(rows)} of {len(args.rows)} rows')
    return 0


def _fetch(row, folder: str | None) -> Path:
    from segkit.weights import local_file
    from segkit.weights.downloads import fetch

    if row.licence != '-':
        print(f'{row.checkpoint}: licence of the weights: {row.licence}', file=sys.stderr)
    return fetch(row.url, Path(folder) / row.checkpoint) if folder else local_file(row.url)


def download(args: argparse.Namespace) -> int:
    from segkit.datasets.metainfo import licence_of
    from segkit.model_zoo.catalog import find

    rows = [find(args.rows, name) for name in args.names]
    for row in rows:
        print(_fetch(row, args.checkpoint_dir))
    for title in dict.fromkeys(row.dataset for row in rows if licence_of(row.dataset)):
        print(f'Trained on {title}: {licence_of(title)}.', file=sys.stderr)
    return 0


def _refuse_unnamed(row, name: str) -> None:
    """A catalogue is data: a config that is a program runs only if the user named the file."""
    from segkit.engine.config_files import shipped_configs

    if row.config.removesuffix('.py') in shipped_configs() and not Path(row.config).is_file():
        return
    if Path(name).suffix != '.py' or Path(name).resolve() != Path(row.config).resolve():
        raise UserError(
            f'{row.config}: the catalogue names this file as the config, which would be run. If '
            f'you trust it, name it: verify {shlex.quote(row.config)}'
        )


def verify(args: argparse.Namespace) -> int:
    from segkit.model_zoo import append
    from segkit.model_zoo.catalog import find
    from segkit.model_zoo.verify import verify

    options = [f'data_root={args.data_root}'] if args.data_root else []
    differing = 0
    rows = [find(args.rows, name) for name in args.names]
    for row, name in zip(rows, args.names):
        _refuse_unnamed(row, name)
    for row in rows:
        path = _fetch(row, args.checkpoint_dir)
        for ms_flip in (False, True) if args.aug_test else (False,):
            found = verify(row, path, args.tolerance, options, ms_flip)
            print(_sentence(found), flush=True)
            differing += found.verdict == 'differs'
            if not args.no_record:
                append(found, args.records)
    return 1 if differing else 0


def _sentence(found) -> str:
    text = f'{found.config} ({found.protocol}, {found.images} images): mIoU {found.miou}'
    if found.published == '-':
        return f'{text}, no published figure to compare with'
    difference = float(found.miou) - float(found.published)
    return (
        f'{text}, published {found.published}, difference {difference:+.2f}: '
        f'{found.verdict} (tolerance {found.tolerance})'
    )


def table(args: argparse.Namespace) -> int:
    from segkit.model_zoo import read_measurements
    from segkit.model_zoo.markdown import zoo_page

    page, out = zoo_page(args.rows, read_measurements(args.records)), Path(args.out)
    current = out.read_text(encoding='utf-8') if out.is_file() else ''
    if args.check:
        print(f'{out}: {"up to date" if current == page else "stale, run without --check"}')
        return int(current != page)
    own = current.startswith(page.partition('\n')[0]) and 'model_zoo' in current
    with own_outputs('--out', 'model_zoo', [] if own else [out], [args.catalog, args.records]):
        write_text(out, page)
    print(f'{out}: {len(args.rows)} rows')
    return 0


def main() -> int:
    args = parse_args()
    from segkit.model_zoo import MEASURED, PUBLISHED, read_rows

    args.records = args.records or MEASURED
    try:
        args.rows = read_rows(args.catalog or PUBLISHED)
        commands = {'list': list_rows, 'download': download, 'verify': verify, 'table': table}
        return commands[args.command](args)
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(str(error))


if __name__ == '__main__':
    run_script(main)
