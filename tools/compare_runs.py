#!/usr/bin/env python
"""What differs between two runs: settings, metrics, and the IoU of each class.

    python tools/compare_runs.py work_dirs/pspnet work_dirs/psanet

A run is its work directory, a result file of IoUMetric(result_file=...), or a config file or the
name of a shipped one.
"""

import argparse
from pathlib import Path

from segkit.engine.command_line import run_script, tool_parser


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('a', help='a work directory, a result .json, or a config .py or name')
    parser.add_argument('b')
    parser.add_argument('--top', type=int, help='show only so many classes, most changed first')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from segkit.evaluation.run_results import read_run

    a, b = read_run(place(args.a)), read_run(place(args.b))
    for letter, path, run in (('A', args.a, a), ('B', args.b, b)):
        print(f'{letter}: {path}' + (f': {run.of}' if run.of else ''))
    if a.config and b.config:
        show_settings([(args.a, a.config), (args.b, b.config)])
    show_scores('Metric', a.metrics, b.metrics)
    show_scores('Class IoU', a.classes, b.classes, by_change=True, top=args.top)


def place(run: str) -> str | Path:
    """The path itself, or that of a shipped config."""
    from segkit.engine.config_files import named, shipped_configs

    shipped = shipped_configs()
    found = named(run.removesuffix('.py'), shipped)
    return shipped[found] if found and not Path(run).exists() else run


def show_settings(configs: list[tuple[str, Path]]) -> None:
    """Settings with different values; what a config file computes them from is left out.

    A config that was named is run, one found in the folder of a run is only read.
    """
    from segkit.engine.config import flat_config, load_config
    from segkit.engine.config_files import read_dumped
    from segkit.engine.config_schema import RUNNER_KEYS
    from segkit.evaluation.run_results import differing
    from segkit.evaluation.tables import format_table

    flat = []
    for run, path in configs:
        cfg = read_dumped(path) if Path(run).is_dir() else load_config(path).to_dict()
        flat.append(flat_config({k: v for k, v in cfg.items() if k in RUNNER_KEYS}))
    rows = [[key, short(x), short(y)] for key, x, y in differing(*flat)]
    if rows:
        print('\n' + format_table(['Setting', 'A', 'B'], rows))
    else:
        print('\nThe configs are the same.')


def short(value: object) -> str:
    """A value on one line, cut at 50 letters."""
    text = str(value)
    return text if len(text) <= 50 else text[:47] + '...'


def show_scores(
    heading: str, a: dict, b: dict, by_change: bool = False, top: int | None = None
) -> None:
    """A table of what both runs have, with B - A."""
    from segkit.evaluation.tables import format_table

    rows = [[name, a[name], b[name], b[name] - a[name]] for name in a if name in b]
    if by_change:
        rows.sort(key=lambda row: -abs(row[3]))
    if not rows:
        print(f'\n{heading}: nothing that both runs have.')
        return
    print('\n' + format_table([heading, 'A', 'B', 'B - A'], rows[:top]))


if __name__ == '__main__':
    run_script(main)
