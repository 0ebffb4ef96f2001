"""Things that break in the middle of a run: the message, and that the run can go on after."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from helpers.fault_child import Training, complete
from helpers.runs import assert_same_run, read


def exploding(iteration: int) -> dict:
    """A learning rate that jumps after ``iteration`` steps and blows the weights up."""
    step = dict(type='MultiStepLR', milestones=[iteration], gamma=1e30, by_epoch=False)
    return dict(param_scheduler=[step])


def assert_saved_is_finite(folder: Path, names: list[str]) -> None:
    assert sorted(p.name for p in folder.glob('iter_*.pth')) == names
    for name in names:
        state = read(folder / name)['state_dict']
        assert all(tensor.isfinite().all() for tensor in state.values())


def test_a_loss_that_is_not_finite(tmp_path, record):
    training = Training(tmp_path / 'run', **exploding(4))
    assert training.wait() == 1
    for text in (
        'the loss is not finite at iteration 6',
        'Learning rate',
        'shapes/train/',
        'the last good checkpoint is iter_4.pth',
    ):
        assert text in training.log
    assert_saved_is_finite(tmp_path / 'run', ['iter_2.pth', 'iter_4.pth'])
    record('nan or inf loss', 1, 1, 'stops before saving; names iteration, rate and images')


@pytest.mark.parametrize('how', ['truncated', 'one bit flipped'])
def test_a_damaged_last_checkpoint(tmp_path, reference, how, record):
    final, _ = reference
    folder = tmp_path / 'run'
    complete(folder)
    last = folder / 'iter_8.pth'
    data = bytearray(last.read_bytes())
    if how == 'truncated':
        data = data[: len(data) // 2]
    else:
        data[len(data) // 2] ^= 4
    last.write_bytes(bytes(data))
    log = complete(folder)
    assert 'iter_8.pth cannot be resumed from' in log
    assert 'iter_6.pth at iteration 6' in log
    assert_same_run(last, final)
    record(f'last checkpoint {how}', 1, 1, 'says so and goes on from the one before')


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 20 MB."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    command = ['mount', '-t', 'tmpfs', '-o', 'size=20m', 'tmpfs', str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f'may not mount a tmpfs here: {mounted.stderr.strip()}')
    yield folder
    subprocess.run(['umount', '-l', str(folder)], check=True)


def test_a_full_disk(small_disk, tmp_path, reference, record):
    final, _ = reference
    folder = small_disk / 'run'
    keep_all = dict(default_hooks__checkpoint__max_keep_ckpts=-1)
    usage, size = os.statvfs(small_disk), final.stat().st_size
    filler = small_disk / 'filler'
    # Room for one checkpoint, and the megabyte that is asked for above its size.
    filler.write_bytes(bytes(usage.f_bavail * usage.f_frsize - 2**20 - int(1.7 * size)))
    training = Training(folder, **keep_all)
    assert training.wait() == 1
    assert 'could not be written: the disk has' in training.log
    assert 'make room' in training.log
    kept = sorted(folder.glob('iter_*.pth'))
    assert kept, 'no checkpoint is left'
    for path in kept:
        read(path)
    filler.unlink()
    complete(folder, **keep_all)
    assert_same_run(folder / 'iter_8.pth', final)
    record('disk full while saving', 1, 1, 'stops; every checkpoint there is whole; goes on later')


def children(pid: int) -> list[int]:
    found = []
    for status in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = status.read_text().rpartition(')')[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(status.parent.name))
    return found


def test_a_data_worker_that_dies(tmp_path, reference, record):
    final, _ = reference
    workers = dict(train_dataloader__num_workers=2, train_dataloader__persistent_workers=True)
    training = Training(tmp_path / 'run', **workers)
    training.wait_for('Iter(train) [2/8]')
    for pid in children(training.process.pid):
        os.kill(pid, 9)
    # torch raises from a signal handler; inside C++ code that cannot pass it on, it aborts.
    assert training.wait() in (1, -signal.SIGABRT)
    assert 'is killed by signal' in training.log
    if training.process.exitcode == 1:
        assert 'lower num_workers or batch_size' in training.log
    complete(tmp_path / 'run', **workers)
    assert_same_run(tmp_path / 'run' / 'iter_8.pth', final)
    record('a data worker killed', 1, 1, 'stops and says what to change; goes on from the last')


def test_a_config_changed_between_runs_is_reported(tmp_path, record):
    complete(tmp_path / 'run', train_cfg__max_iters=4)
    log = complete(tmp_path / 'run', optim_wrapper__optimizer__momentum=0.8)
    assert (
        'Config changed since the checkpoint: optim_wrapper.optimizer.momentum: 0.9 -> 0.8' in log
    )
    assert 'Config changed since the checkpoint: train_cfg.max_iters: 4 -> 8' in log
    record('config changed between runs', 1, 1, 'reports each changed setting and goes on')
