"""Open MPI starts the ranks, without a variable set by hand."""

import os
import shutil
import subprocess
import sys

import pytest
from faults.cluster.conftest import TOOLS
from helpers.tiny_config import write_tiny_config


@pytest.mark.skipif(shutil.which('mpirun') is None, reason='Open MPI is not installed')
@pytest.mark.parametrize('hosts', [[], ['--host', 'localhost:2']], ids=['plain', 'host list'])
def test_mpirun_starts_two_ranks(tmp_path, hosts):
    root = dict.fromkeys(('OMPI_ALLOW_RUN_AS_ROOT', 'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM'), '1')
    loopback = ['--mca', 'btl', 'self,tcp', '--mca', 'btl_tcp_if_include', 'lo']
    command = ['mpirun', '-n', '2', '--oversubscribe', *loopback, '--mca', 'oob_tcp_if_include',
               'lo', *hosts, sys.executable, str(TOOLS / 'train.py'),
               str(write_tiny_config(tmp_path)), '--launcher', 'mpi',
               '--work-dir', str(tmp_path / 'run')]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if k not in ('MASTER_ADDR', 'MASTER_PORT')}
    done = subprocess.run(
        command, env={**environment, **root, 'PYTHONPATH': str(TOOLS.parent)}, cwd=tmp_path,
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'rank 0 of 2 joined through mpi at 127.0.0.1' in done.stdout + done.stderr
    assert (tmp_path / 'run' / 'iter_8.pth').exists()
