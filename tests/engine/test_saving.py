"""Checkpoints: at every instant the old one or the new, never part of one."""

import os
import subprocess

import pytest
import torch

from segkit.engine import checkpoints
from segkit.engine.errors import TrainingError


def test_a_checkpoint_reads_back_with_plain_torch_load(tmp_path):
    path = tmp_path / 'deep' / 'iter_1.pth'
    checkpoints.write(dict(state_dict=dict(w=torch.arange(3.0)), meta=dict(iter=1)), path)
    loaded = torch.load(path, weights_only=True)
    assert loaded['state_dict']['w'].tolist() == [0.0, 1.0, 2.0]
    assert [p.name for p in path.parent.iterdir()] == ['iter_1.pth']


@pytest.mark.parametrize('step', ['fsync', 'replace'])
def test_a_failure_at_any_step_leaves_the_previous_file(tmp_path, monkeypatch, step):
    path = tmp_path / 'last.pth'
    checkpoints.write(dict(a=1), path)

    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.write(dict(a=2), path)
    monkeypatch.undo()
    assert torch.load(path, weights_only=True) == dict(a=1)
    assert [p.name for p in tmp_path.iterdir()] == ['last.pth']


def test_too_little_space_is_told_before_anything_is_written(tmp_path, monkeypatch):
    usage = checkpoints.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(checkpoints.shutil, 'disk_usage', lambda _: usage._replace(free=10_000_000))
    big = dict(state_dict=dict(w=torch.zeros(5_000_000)))
    with pytest.raises(TrainingError, match=r'10\.0 MB free.*needs about 21\.0 MB.*make room'):
        checkpoints.write(big, tmp_path / 'x.pth')
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB."""
    folder = tmp_path / 'small'
    folder.mkdir()
    mounted = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f'may not mount a tmpfs here: {mounted.stderr.decode().strip()}')
    yield folder
    subprocess.run(['umount', str(folder)], check=True)


def test_a_disk_that_fills_while_writing_keeps_the_previous_file(small_disk, monkeypatch):
    path = small_disk / 'iter_1.pth'
    checkpoints.write(dict(w=torch.ones(100_000)), path)
    # Another process takes the space between the check and the write.
    monkeypatch.setattr(checkpoints, '_SLACK', 0)
    monkeypatch.setattr(checkpoints, 'tensor_bytes', lambda value: 4_000_000)
    free = checkpoints.shutil.disk_usage(small_disk)
    answers = iter([free._replace(free=10**9)])
    real = checkpoints.shutil.disk_usage
    monkeypatch.setattr(checkpoints.shutil, 'disk_usage', lambda p: next(answers, None) or real(p))
    with pytest.raises(TrainingError, match='could not be written: the disk has'):
        checkpoints.write(dict(w=torch.ones(1_500_000)), path)
    assert torch.load(path, weights_only=True)['w'].sum() == 100_000
    assert [p.name for p in small_disk.iterdir()] == ['iter_1.pth']


def test_sizes_of_nested_tensors_are_summed():
    value = dict(a=[torch.zeros(3)], b=dict(c=(torch.zeros(2, dtype=torch.uint8), 'text')))
    assert checkpoints.tensor_bytes(value) == 14
