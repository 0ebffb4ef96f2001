"""Arguments as mmsegmentation's tools take them."""

import importlib.util
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / 'tools'


@pytest.mark.parametrize(
    ('tool', 'older', 'today'),
    [
        ('analyze_logs', 'a.json b.json --keys loss --legend x y --out o.png',
         'a.json b.json --keys loss --names x y --out o.png'),
        ('browse_dataset', 'c.py --output-dir out --not-show', 'c.py --not-show --out out'),
        ('confusion_matrix', 'c.py res.pkl folder', 'c.py res.pkl --out-dir folder'),
    ],
)  # fmt: skip
def test_arguments_mean_what_they_meant(tool, older, today, monkeypatch):
    spec = importlib.util.spec_from_file_location(tool, TOOLS / f'{tool}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = []
    for line in (older, today):
        monkeypatch.setattr(sys, 'argv', [tool, *line.split()])
        found.append({k: v for k, v in vars(module.parse_args()).items() if k != 'save_dir'})
    assert found[0] == found[1]
