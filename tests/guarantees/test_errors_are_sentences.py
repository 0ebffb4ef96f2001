"""G8: errors of the package's own classes are sentences, all others keep their traceback."""

import ast
import inspect
import sys

import pytest
from helpers import found

import segkit.errors
from segkit.engine.command_line import run_script
from segkit.errors import ConfigError, UserError

# Their plain ValueErrors are seen by code that calls them, or are caught and worded by others.
APART = {
    'segkit.ops': 'imports torch alone',
    'segkit.inspection': 'caught and worded by tools/new_dataset.py',
    'segkit.safe_pickle': 'caught and worded by its callers',
    'segkit.json_file': 'caught and worded by its callers',
    'segkit.engine.config_files': 'caught and worded in the same file',
}


def raising(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize('kind', [UserError, ConfigError, FileNotFoundError])
def test_our_own_errors_are_one_sentence(kind, capsys):
    with pytest.raises(SystemExit) as left:
        run_script(raising(kind('what to do')))
    assert left.value.code == 1
    assert capsys.readouterr().err == f'{kind.__name__}: what to do\n'


@pytest.mark.parametrize('kind', [ValueError, TypeError, KeyError, ZeroDivisionError])
def test_an_error_nobody_foresaw_is_raised_as_it_is(kind):
    with pytest.raises(kind, match='a fault'):
        run_script(raising(kind('a fault')))


@pytest.mark.parametrize('text', ["int('x')", '(a, b) = (1,)', "raise ValueError('a fault')"])
def test_a_fault_in_a_file_of_the_package_is_raised_as_it_is(text):
    code = compile(text, inspect.getsourcefile(segkit.errors), 'exec')
    with pytest.raises(ValueError):  # noqa: PT011  (whatever Python says)
        run_script(lambda: exec(code))


def test_a_traceback_on_request(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['tool.py', 'config.py', '--traceback'])
    with pytest.raises(UserError):
        run_script(raising(UserError('what to do')))
    assert sys.argv == ['tool.py', 'config.py']
    monkeypatch.setenv('SEGKIT_TRACEBACK', '1')
    with pytest.raises(UserError):
        run_script(raising(UserError('what to do')))


def _plain_errors(tree: ast.AST) -> int:
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    called = [error.func for error in raised if isinstance(error, ast.Call)]
    return sum(isinstance(func, ast.Name) and func.id == 'ValueError' for func in called)


def test_modules_raise_errors_of_our_own():
    modules = found.modules()
    judged = {n: p for n, p in modules.items() if not n.startswith(tuple(APART))}
    assert len(judged) >= 150
    counts = {name: _plain_errors(ast.parse(path.read_text())) for name, path in judged.items()}
    assert {name: count for name, count in counts.items() if count} == {}
    # And the sweep sees them where they are.
    assert sum(_plain_errors(ast.parse(p.read_text())) for p in modules.values()) >= 10
