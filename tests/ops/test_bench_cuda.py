"""The GPU benchmark can only be rehearsed here: every part runs, and nothing is claimed."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / 'tools' / 'benchmarks' / 'bench_cuda.py'


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_the_rehearsal_runs_every_part_and_writes_nothing():
    results = ROOT / 'tools' / 'benchmarks' / 'results' / 'cuda.csv'
    before = results.read_bytes() if results.exists() else None
    done = run('--rehearse')
    assert done.returncode == 0, done.stderr
    parts = {line.split()[0] for line in done.stdout.splitlines()}
    assert parts == {'copy', 'mask', 'attention', 'head'}
    assert (results.read_bytes() if results.exists() else None) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a CUDA device')
def test_without_a_gpu_it_says_so():
    done = run('--parts', 'mask')
    assert done.returncode == 1
    assert 'needs a CUDA device' in done.stderr
