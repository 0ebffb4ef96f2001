"""dist_train.sh and dist_test.sh with a stand-in for Python, which says how it was called."""

import os
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def run(tmp_path, *words: str, **environment: str) -> subprocess.CompletedProcess:
    python = tmp_path / 'python'
    python.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    clean = {k: v for k, v in os.environ.items() if k not in ('PORT', 'MASTER_PORT')}
    return subprocess.run(
        ['bash', *words], env=dict(clean, PYTHON=str(python), **environment),
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip


@pytest.mark.parametrize(
    ('environment', 'port'),
    [
        (dict(PORT='1'), '1'),
        (dict(MASTER_PORT='2'), '2'),
        (dict(MASTER_PORT='2', PORT='1'), '1'),
        (dict(NNODES='2'), '29500'),
    ],
)
def test_the_port_is_the_one_that_was_set(tmp_path, environment, port):
    said = run(tmp_path, str(TOOLS / 'dist_train.sh'), 'c.py', '2', **environment).stdout
    assert f'--master_port={port}' in said.splitlines()


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh'])
@pytest.mark.parametrize(('gpus', 'status'), [('--seed', 2), ('0', 2), ('', 2), ('gpu', 0)])
def test_the_number_of_gpus_is_one(tmp_path, script, gpus, status):
    words = ['c.py'] if script == 'dist_train.sh' else ['c.py', 'w.pth']
    ended = run(tmp_path, str(TOOLS / script), *words, gpus, '--seed', '1')
    assert ended.returncode == status
    assert (f'GPUS={gpus} is not a number from 1 on' in ended.stderr) == (status == 2)
