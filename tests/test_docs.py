"""Every Python example of the README and of docs/ runs, in order, in one namespace a page.

A bash block runs too when the line above it is `<!-- run -->`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
BLOCK = re.compile(r'^(<!-- run -->\n)?```(python|bash)\n(.*?)^```$', re.M | re.S)


def blocks(page: Path) -> list[tuple[int, str, str]]:
    """(line, language, code) of what runs on a page."""
    text = page.read_text()
    return [
        (text.count('\n', 0, match.start(3)) + 1, match[2], match[3])
        for match in BLOCK.finditer(text)
        if match[2] == 'python' or match[1]
    ]


WITH_EXAMPLES = [page for page in PAGES if blocks(page)]


def script(page: Path) -> str:
    """One program of a page's blocks; a failing line keeps its number on the page."""
    lines = ['import subprocess']
    for start, language, code in blocks(page):
        if language == 'python':
            lines.append(f'exec(compile({chr(10) * (start - 1) + code!r}, {str(page)!r}, "exec"))')
        else:
            lines.append(f'subprocess.run({code!r}, shell=True, check=True, executable="bash")')
    return '\n'.join(lines)


def test_the_readme_and_the_guides_have_examples():
    assert ROOT / 'README.md' in WITH_EXAMPLES
    assert len(WITH_EXAMPLES) >= 6


@pytest.mark.parametrize('page', WITH_EXAMPLES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(page, tmp_path):
    for folder in ('configs', 'tools', 'segkit'):
        (tmp_path / folder).symlink_to(ROOT / folder)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'PATH': path, 'OMP_NUM_THREADS': '1'}
    run = subprocess.run(
        [sys.executable, '-c', script(page)], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_local_links_lead_somewhere(page):
    targets = re.findall(r'\]\((?!https?://|#|mailto:)([^)#\s]+)', page.read_text())
    assert [t for t in targets if not (page.parent / t).exists()] == []
