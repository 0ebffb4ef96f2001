"""What messages call the commands: as the user does, from any install, through one function."""

import ast
import re
import sys
from pathlib import Path

import pytest
from helpers import found
from helpers.run_tool import TOOLS, run_tool

from segkit import command as words

ROOT = TOOLS.parent
NAMES = {name.rpartition('/')[2] for name in found.tools()}


@pytest.fixture
def called(monkeypatch):
    """Call as ``segkit NAME``, by a script's path, or from Python."""

    def call(how: str) -> None:
        monkeypatch.setattr(words, '_start', [])
        monkeypatch.setattr(sys, 'argv', [how])

    return call


def sources() -> list[Path]:
    paths = [*(ROOT / 'segkit').rglob('*.py'), *TOOLS.glob('*.py')]
    return [*paths, *(TOOLS / 'dataset_converters').glob('*.py')]


def texts(tree: ast.AST) -> list[ast.Constant]:
    """Every text of a module but its docstrings."""
    homes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    first = [node.body[0] for node in ast.walk(tree) if isinstance(node, homes) and node.body]
    docs = {id(part.value) for part in first if isinstance(part, ast.Expr)}
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]


def test_no_message_names_a_script():
    """Installed users have none; `segkit.command` finds the words for those who do."""
    seen, wrong, named = 0, [], []
    for path in sources():
        tree = ast.parse(path.read_text())
        for text in texts(tree):
            seen += 1
            if re.search(r'tools/(\w+/)?\w+\.(py|sh)\b', text.value):
                wrong.append(f'{path.relative_to(ROOT)}:{text.lineno}: {text.value[:80]}')
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'command':
                named += [a.value for a in node.args[:1] if isinstance(a, ast.Constant)]
    assert wrong == []
    assert seen > 3000
    assert len(named) >= 17
    assert set(named) <= NAMES


@pytest.mark.parametrize(
    ('how', 'train', 'polygons'),
    [
        (str(TOOLS / 'test.py'), f'python {TOOLS}/train.py', 'dataset_converters/polygons.py'),
        ('tools/test.py', 'python tools/train.py', 'python tools/dataset_converters/polygons.py'),
        ('tools/dataset_converters/camvid.py', 'python tools/train.py', 'rters/polygons.py'),
        ('my_script.py', 'segkit train', 'segkit polygons'),
        ('', 'segkit train', 'segkit polygons'),
        ('/usr/lib/site-packages/segkit/.shipped/tools/test.py', 'segkit train', 'segkit polygons'),
    ],
)
def test_the_words_follow_the_call(called, monkeypatch, how, train, polygons):
    monkeypatch.chdir(ROOT)
    called(how)
    assert words.command('train') == train
    assert words.command('polygons', 'FOLDER').endswith(f'{polygons} FOLDER')


@pytest.mark.parametrize(
    ('typed', 'start'),
    [('/usr/bin/segkit', 'segkit'), ('/x/segkit/__main__.py', 'python -m segkit')],
)
def test_by_name_no_path_is_told(called, typed, start):
    called(typed)
    words.called_by_name()
    sys.argv[0] = str(TOOLS / 'train.py')
    assert words.command('check_dataset', 'CONFIG') == f'{start} check_dataset CONFIG'
    assert words.program() == f'{start} train'


def test_the_help_of_every_command_calls_it_as_the_user_did(called, monkeypatch):
    monkeypatch.setenv('COLUMNS', '100')
    count = 0
    for name in found.tools():
        called('')
        by_path = run_tool(name, '--help')[1]
        assert not re.search(
            r'(?<!-m )segkit (train|test|predict) ', by_path.partition('\n\n')[2]
        ), name
        words.called_by_name()
        text = run_tool(name, '--help')[1]
        short = name.rpartition('/')[2]
        assert text.startswith(f'usage: {words._start[0]}'), name
        assert f' {short} [-h]' in text, name
        assert 'tools/' not in text, name
        count += 1
    assert count == len(NAMES)
