"""Running the examples of a page of the docs as a reader would, in order, in one namespace.

A python block runs; one with a title is the config of that name, which is written and checked. A
bash block has a line above it that says whether it does:

    <!-- run -->                  it runs
    <!-- not run: the reason -->  it cannot run here; docs/never_run.md lists it

``<!-- continues: own_pictures.md -->`` anywhere on a page means that it goes on where that page
ended, in a copy of its folder. Pages and commands run in forked processes, which have imported
already what takes seconds; so what they import themselves is tried by other tests.
"""

import contextlib
import io
import multiprocessing
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
_BLOCK = re.compile(
    r'^(?:<!-- (run|not run: [^\n]+?) -->\n)?```(python|bash)(?: title="([^"\n]+)")?\n(.*?)^```$',
    re.M | re.S,
)
_CONTINUES = re.compile(r'^<!-- continues: (\S+) -->$', re.M)
_SHELL_SIGNS = re.compile(r'[|;&<>$`*]')
_FORK = multiprocessing.get_context('fork')
SECONDS = 240


class Block(NamedTuple):
    """An example: its first line on the page, its language, what is said of it, the file it is the
    text of, and its text."""

    line: int
    language: str
    mark: str
    title: str
    code: str

    @property
    def runs(self) -> bool:
        return self.mark == 'run' or (self.language == 'python' and not self.mark)


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(
            text.count('\n', 0, match.start(4)) + 1,
            match[2],
            match[1] or '',
            match[3] or '',
            match[4],
        )
        for match in _BLOCK.finditer(text)
    ]


def continued(page: Path) -> Path | None:
    """The page that this one goes on from."""
    found = _CONTINUES.search(page.read_text())
    return page.parent / found[1] if found else None


def commands(code: str) -> list[str]:
    """The commands of a bash block: lines, those that end with a backslash joined."""
    lines = code.replace('\\\n', ' ').splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith('#')]


def prepare(folder: Path) -> None:
    """Where a page runs there are the folders of a checkout."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ('configs', 'tools', 'segkit'):
        (folder / name).symlink_to(ROOT / name)


def copy(source: Path, target: Path) -> None:
    """By hard links: what tools write again they write anew, and not into what is there."""
    shutil.copytree(source, target, symlinks=True, copy_function=os.link)


def run_page(page: Path, folder: Path) -> str:
    """Run the examples of ``page`` in ``folder``; '' or what went wrong, with its end."""
    log = folder / '.output'
    status = _forked(_run_blocks, page, folder, output=log)
    if status == 0:
        return ''
    said = log.read_text(errors='replace')
    return f'{page.name}: status {status}\n{said[-5000:]}'


def _forked(target: Callable[..., None], *arguments: object, output: Path | None = None) -> int:
    """The exit status of ``target`` in a process of its own; -1 where it does not end."""
    process = _FORK.Process(target=_guarded, args=(target, arguments, output))
    process.start()
    process.join(SECONDS)
    if process.exitcode is None:
        process.kill()
        return -1
    return process.exitcode


def _guarded(target: Callable[..., None], arguments: tuple, output: Path | None) -> None:
    if output is not None:
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1), os.dup2(file, 2)
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(os.fdopen(os.dup(number), 'wb', 0), write_through=True)
            for number in (1, 2)
        )
    try:
        target(*arguments)
    except SystemExit:
        raise
    except BaseException:
        traceback.print_exc()
        sys.exit(1)


def _run_blocks(page: Path, folder: Path) -> None:
    os.chdir(folder)
    scripts = str(Path(sys.executable).parent)
    os.environ.update(
        PYTHONPATH=str(ROOT),
        PATH=os.pathsep.join([scripts, os.environ['PATH']]),
        OMP_NUM_THREADS='1',
        HOME=str(folder),
    )
    namespace: dict[str, object] = {'__name__': '__main__'}
    for block in blocks(page):
        if not block.runs:
            continue
        if block.title:
            _write_config(Path(block.title), block.code)
            continue
        if block.language == 'python':
            padding = '\n' * (block.line - 1)  # a failing line keeps its number on the page
            exec(compile(padding + block.code, str(page), 'exec'), namespace)
            continue
        for command in commands(block.code):
            status = _run_command(command)
            if status:
                sys.exit(f'{page.name}, block at line {block.line}: {command}: status {status}')


def _write_config(path: Path, code: str) -> None:
    """A config as the page shows it; it has to pass the check that training begins with."""
    from segkit.engine import check_config
    from segkit.engine.config import load_config

    path.write_text(code)
    check_config(load_config(path))


def _run_command(command: str) -> int:
    """A command of segkit in a fork of this process; any other in a shell."""
    words = shlex.split(command, comments=True)
    tool = _tool_of(words)
    if tool is None or _SHELL_SIGNS.search(command):
        return subprocess.run(command, shell=True, executable='/bin/bash').returncode
    script, arguments = tool
    return _forked(_run_tool, script, arguments)


def _tool_of(words: list[str]) -> tuple[Path, list[str]] | None:
    """The script that ``segkit NAME ...`` or ``python tools/NAME.py ...`` runs, and the rest."""
    if words[0] == 'segkit' and len(words) > 1 and not words[1].startswith('-'):
        return ROOT / 'tools' / f'{words[1]}.py', words[2:]
    if words[0] == 'python' and words[1].startswith('tools/'):
        return ROOT / words[1], words[2:]
    return None


def _run_tool(script: Path, arguments: list[str]) -> None:
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))
    with contextlib.suppress(BrokenPipeError):
        runpy.run_path(str(script), run_name='__main__')
