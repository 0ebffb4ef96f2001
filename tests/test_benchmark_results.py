"""Speed is stated from committed results alone."""

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_speed_tables_are_those_of_the_results():
    summary = runpy.run_path(str(ROOT / 'tools/benchmarks/summary.py'))
    assert len(summary['PAGES']) == 2
    for path, root in summary['PAGES'].items():
        page = path.read_text()
        assert summary['WHOLE'] in page or summary['SHORT'] in page, path
        assert summary['with_table'](page, root) == page, 'run: python tools/benchmarks/summary.py'
    assert (ROOT / 'docs/speed.md').read_text().count('/tools/benchmarks/results/') >= 15


def test_the_short_table_has_six_rows_of_the_whole_one():
    summary = runpy.run_path(str(ROOT / 'tools/benchmarks/summary.py'))
    whole, short = summary['table'](), summary['table']('', summary['CHOSEN'])
    rows = [line.rsplit('](', 1)[1] for line in short.splitlines()[2:]]
    assert len(rows) == 6
    assert all(row in whole for row in rows)
