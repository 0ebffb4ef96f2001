"""The picture in docs/psa.md is what its script draws."""

import subprocess
import sys
from pathlib import Path

FIGURES = Path(__file__).parents[2] / 'docs' / 'figures'


def test_committed_picture_is_current(tmp_path):
    drawn = tmp_path / 'drawn.svg'
    subprocess.run([sys.executable, FIGURES / 'draw_psa_window.py', drawn], check=True)
    assert drawn.read_text() == (FIGURES / 'psa_window.svg').read_text()
