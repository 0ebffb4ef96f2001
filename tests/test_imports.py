"""Imports at the head of a file point one way, as CONTRIBUTING.md says."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def levels() -> dict[str, int]:
    """Package -> its level in the chain of CONTRIBUTING.md, 0 the lowest."""
    page = (ROOT / 'CONTRIBUTING.md').read_text()
    chain = re.search(r'Imports at the head of a file point one way: (.*?)\.\n', page, re.DOTALL)[1]
    groups = enumerate(chain.split('<'))
    return {name: level for level, group in groups for name in re.findall(r'`(\w+)`', group)}


def packages_imported(path: Path) -> set[str]:
    """Packages below segkit that the head of a file imports."""
    nodes = ast.parse(path.read_text()).body
    modules = [
        n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module and not n.level
    ]
    return {module.split('.')[1] for module in modules if module.startswith('segkit.')}


def test_a_package_imports_those_below_it_alone():
    level = levels()
    folders = {path.parent.name for path in ROOT.glob('segkit/*/__init__.py')} - {'familiar'}
    assert folders <= set(level)
    upward = [
        f'{path.relative_to(ROOT)} imports {other}'
        for folder in folders
        for path in (ROOT / 'segkit' / folder).rglob('*.py')
        for other in packages_imported(path) & folders - {folder}
        if level[other] >= level[folder]
    ]
    assert not upward


def test_the_names_of_mmsegmentation_are_imported_by_nobody():
    files = [path for path in ROOT.glob('segkit/**/*.py') if path.parent.name != 'familiar']
    assert len(files) >= 200
    named = [path.name for path in files if 'segkit.familiar' in path.read_text()]
    assert named == ['old_names.py']
