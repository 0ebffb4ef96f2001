"""Every example of the README and of docs/ runs (tests/helpers/doc_pages.py), and links lead on."""

import fcntl
import importlib
import re
from pathlib import Path

import pytest
from helpers.doc_pages import PAGES, ROOT, blocks, continued, copy, prepare, run_page

WITH_EXAMPLES = [page for page in PAGES if any(block.runs for block in blocks(page))]
STARTS = sorted({start for page in PAGES if (start := continued(page))})
IMPORTED = ('cv2', 'segkit.apis.model', 'segkit.apis.inference', 'segkit.engine.runner')


def test_the_readme_and_the_guides_have_examples():
    assert ROOT / 'README.md' in WITH_EXAMPLES
    assert len(WITH_EXAMPLES) >= 18
    assert [page.name for page in STARTS] == ['own_pictures.md']


@pytest.fixture(scope='module')
def finished(tmp_path_factory, worker_id) -> dict[Path, Path]:
    """Pages that others go on from -> the folder each was run in; once for all processes."""
    for name in IMPORTED:
        importlib.import_module(name)
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == 'master' else base.parent
    folders = {page: base / f'docs_{page.stem}' for page in STARTS}
    with open(base / 'docs.lock', 'w') as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        for page, folder in folders.items():
            if not folder.exists():
                prepare(folder)
                (folder / '.failed').write_text(run_page(page, folder))
    return folders


@pytest.mark.parametrize('page', WITH_EXAMPLES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(page, tmp_path, finished):
    if page in finished:
        failed = (finished[page] / '.failed').read_text()
    else:
        folder, start = tmp_path / 'page', continued(page)
        if start is None:
            prepare(folder)
        else:
            copy(finished[start], folder)
        failed = run_page(page, folder)
    assert not failed, failed


@pytest.mark.parametrize('page', PAGES[1:], ids=lambda page: page.stem)
def test_a_shell_example_runs_or_says_why_not(page):
    unmarked = [block.line for block in blocks(page) if block.language == 'bash' and not block.mark]
    assert unmarked == [], f'{page.name}: write <!-- run --> or <!-- not run: why --> above'


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_local_links_lead_somewhere(page):
    targets = re.findall(r'\]\((?!https?://|#|mailto:)([^)#\s]+)', page.read_text())
    made = {'model_zoo.md', 'reference/commands.md', 'security.md', 'contributing.md'}
    missing = [t for t in targets if not (page.parent / t).exists() and t not in made]
    assert missing == []
