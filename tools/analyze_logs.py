#!/usr/bin/env python
"""Curves of any scalars of several runs, in one picture.

    python tools/analyze_logs.py work_dirs/pspnet work_dirs/psanet --keys loss mIoU --out curves.png

A run is its work directory or a vis_data/scalars.json. Without --out a table is printed only.
"""

import argparse
from pathlib import Path

from segkit.engine.command_line import run_script, tool_parser
from segkit.outputs import own_outputs

USUAL = ('loss', 'mIoU')


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('runs', nargs='+', help='work directories or scalars.json files')
    parser.add_argument('--keys', nargs='+', help=f'scalars to show (default: {" ".join(USUAL)})')
    parser.add_argument('--names', '--legend', nargs='+', help='of the runs, in the legend')
    parser.add_argument('--smooth', action='store_true', help='mean over 6 %% of each curve')
    parser.add_argument('--out', help='a .png, .svg or .pdf file')
    parser.add_argument('--title', default='')
    args = parser.parse_args()
    if args.names and len(args.names) != len(args.runs):
        parser.error(f'--names gives {len(args.names)} names for {len(args.runs)} runs')
    return args


def main() -> None:
    args = parse_args()
    from segkit.visualization.charts import check_format

    if args.out:
        check_format(args.out)
    with own_outputs('--out', 'analyze_logs', [args.out], args.runs):
        analyze(args)


def analyze(args: argparse.Namespace) -> None:
    from segkit.evaluation.tables import format_table
    from segkit.visualization import charts

    own = [Path(run).name for run in args.runs]  # whole paths, where two are alike
    names = args.names or (own if len(set(own)) == len(own) else args.runs)
    runs = {name: read(run) for name, run in zip(names, args.runs)}
    curves = {key: pick(runs, key) for key in args.keys or usual(runs)}
    rows = [
        [name, key, len(values), values[-1], min(values), max(values)]
        for key, lines in curves.items()
        for name, (_, values) in lines.items()
    ]
    # Four digits: a loss or a learning rate needs them.
    rows = [[*row[:3], *(f'{value:.4g}' for value in row[3:])] for row in rows]
    print(format_table(['Run', 'Scalar', 'Points', 'Last', 'Least', 'Most'], rows, texts=2))
    if args.out:
        charts.save(charts.curves(curves, args.title, args.smooth), args.out)
        print(args.out)


def read(run: str) -> dict:
    """All curves of a run."""
    from segkit.evaluation.scalars import read_curves, scalar_files

    if not Path(run).exists():
        raise SystemExit(f'{run}: there is no such folder or file.')
    curves = read_curves(scalar_files(run))
    if not curves:
        raise SystemExit(f'{run}: no scalars found; give a work directory or a scalars.json.')
    return curves


def usual(runs: dict) -> list[str]:
    """Those of the usual scalars that there are; a run need not have been validated."""
    known = {name for curves in runs.values() for name in curves}
    found = [key for key in USUAL if key in known]
    if not found:
        raise SystemExit(
            f'{", ".join(runs)}: nothing of a training ({" or ".join(USUAL)}) was logged there. '
            f'{there_is(known)}'
        )
    return found


def pick(runs: dict, key: str) -> dict:
    """Run -> (steps, values) of one scalar, for the runs that have it."""
    found = {name: curves[key] for name, curves in runs.items() if key in curves}
    if not found:
        known = {name for curves in runs.values() for name in curves}
        raise SystemExit(f'--keys {key}: in no run. {there_is(known)}')
    return found


def there_is(known: set[str]) -> str:
    """A sentence with the scalars' names, those of single classes in short."""
    shown = sorted({name.split('/')[0] + '/CLASS' if '/' in name else name for name in known})
    return f'There are: {", ".join(shown)}.'


if __name__ == '__main__':
    run_script(main)
