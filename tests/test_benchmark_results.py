"""Speed is stated from committed results alone."""

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_speed_table_of_the_readme_is_that_of_the_results():
    summary = runpy.run_path(str(ROOT / 'tools/benchmarks/summary.py'))
    page = (ROOT / 'README.md').read_text()
    assert summary['with_table'](page) == page, 'run: python tools/benchmarks/summary.py'
    assert page.count('/tools/benchmarks/results/') + page.count('(tools/benchmarks/results/') >= 15
