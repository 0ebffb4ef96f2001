"""Two runs in one work directory: the second is refused while the first is alive."""

import os
import re
import subprocess
import sys

import pytest

from segkit.engine import folders
from segkit.engine.folders import locked
from segkit.errors import ConfigError

HOLD = """
import sys
from segkit.engine.folders import locked
with locked(sys.argv[1]):
    print('held', flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """A process that holds the folder."""
    command = [sys.executable, '-c', HOLD, str(tmp_path)]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    with subprocess.Popen(command, **pipes, env=environment) as process:
        assert process.stdout.readline() == 'held\n'
        yield process
        process.kill()


def test_a_second_run_is_told_of_the_first(tmp_path, other):
    who = rf'{re.escape(str(tmp_path))} is in use by another run \(host .+, process {other.pid}, '
    with pytest.raises(ConfigError, match=who + r'since \d{4}-.*--work-dir'), locked(tmp_path):
        pass


def test_a_dead_run_keeps_no_lock(tmp_path, other):
    other.kill()
    other.wait()
    with locked(tmp_path):
        assert f'process {os.getpid()}' in (tmp_path / '.running').read_text()
    assert not (tmp_path / '.running').exists()


def test_a_forked_child_keeps_no_lock_of_a_dead_run(tmp_path):
    fork = '    import os, time\n    os.fork() or time.sleep(60)\n    print('
    code = HOLD.replace('    print(', fork)
    command = [sys.executable, '-c', code, str(tmp_path)]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout.readline() == 'held\n'
    process.kill()
    process.wait()
    try:
        with locked(tmp_path):
            pass
    finally:
        os.killpg(process.pid, 9)


def test_who_waited_at_the_lock_of_a_run_that_ended_takes_that_of_the_next(tmp_path, monkeypatch):
    """Between the start's opening of the file and its lock, a run that ends removes the file."""
    lockf, path, opened = folders.fcntl.lockf, tmp_path / '.running', []

    def late(file, *how):
        opened.append(file)
        if len(opened) == 1:
            path.unlink()
        lockf(file, *how)

    monkeypatch.setattr(folders.fcntl, 'lockf', late)
    with locked(tmp_path):
        assert len(opened) == 2
        code = HOLD.replace('sys.stdin.read()', '')
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
        third = subprocess.run(
            [sys.executable, '-c', code, str(tmp_path)], env=environment, capture_output=True
        )
        assert b'is in use by another run' in third.stderr
    assert not path.exists()


def test_a_run_that_fails_leaves_no_lock_file(tmp_path):
    with pytest.raises(OSError, match='a disk'), locked(tmp_path):
        raise OSError('a disk')
    assert not (tmp_path / '.running').exists()
