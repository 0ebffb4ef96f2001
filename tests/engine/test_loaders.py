"""Data workers of a process: they outlive a signal to all, and its exit does not wait for them."""

import os
import signal
import subprocess
import sys

import pytest
import torch
from torch.utils.data import DataLoader

from segkit.engine.loaders import SharedMemoryError, build_loader, guard_workers


@pytest.mark.parametrize('cuda', [False, True])
def test_batches_are_pinned_where_a_gpu_takes_them(monkeypatch, cuda):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: cuda)
    parts = dict(dataset=[1, 2], sampler=torch.utils.data.SequentialSampler([1, 2]))
    assert build_loader(dict(parts, batch_size=1), seed=0).pin_memory is cuda
    assert build_loader(dict(parts, pin_memory=not cuda), seed=0).pin_memory is not cuda


SCRIPT = """
import signal
import sys

from torch.utils.data import DataLoader

from segkit.engine.loaders import guard_workers

if __name__ == '__main__':
    seen = []
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, lambda number, frame: seen.append(number))
    loader = guard_workers(DataLoader(
        range(12), num_workers=2, persistent_workers=True, multiprocessing_context=sys.argv[1]))
    batches = iter(loader)
    print(next(batches).item(), next(batches).item(), flush=True)  # one of each worker
    sys.stdin.readline()
    print([batch.item() for batch in batches], [signal.Signals(n).name for n in seen])
"""


def start(tmp_path, method: str) -> subprocess.Popen:
    """A process whose workers run, all in a process group of their own."""
    script = tmp_path / 'load.py'
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), method], text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=dict(
            os.environ, PYTHONPATH=os.pathsep.join(sys.path), OMP_NUM_THREADS='1',
            PYTHONWARNINGS='ignore:This DataLoader will create',  # torch's, on a single core
        ),
    )  # fmt: skip
    assert process.stdout.readline() == '0 1\n'
    return process


def finish(process: subprocess.Popen) -> str:
    """What else it prints, warnings included, up to its end."""
    try:
        output, _ = process.communicate('go on\n', timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, output
    return output


@pytest.mark.parametrize('method', ['fork', 'forkserver'])
def test_a_process_ends_at_once_with_idle_workers(tmp_path, method):
    """Neither waiting for workers that ignore it nor reporting them as killed."""
    assert finish(start(tmp_path, method)) == f'{list(range(2, 12))} []\n'


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGUSR1', 'SIGHUP'])
def test_workers_outlive_a_signal_to_the_whole_group(tmp_path, name):
    process = start(tmp_path, 'fork')
    os.killpg(process.pid, getattr(signal, name))

    assert finish(process) == f"{list(range(2, 12))} ['{name}']\n"


class Large(torch.utils.data.Dataset):
    """Two samples of 1 MB, of which two cannot be in shared memory together."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return torch.full((250_000,), float(index))


@pytest.mark.parametrize('broken', [False, True])
def test_a_batch_that_finds_no_shared_memory_is_a_sentence_and_not_a_silent_wait(
    monkeypatch, broken
):
    def full(storage):
        raise RuntimeError('unable to allocate shared memory(shm) for file </torch_1>: No space')

    if broken:
        monkeypatch.setattr(torch.UntypedStorage, '_share_fd_cpu_', full)
    batches = iter(
        guard_workers(
            DataLoader(Large(), num_workers=1, multiprocessing_context='fork', timeout=60)
        )
    )
    if not broken:
        assert [batch[0, 0].item() for batch in batches] == [0.0, 1.0]
        return
    with pytest.raises(SharedMemoryError, match=r'/dev/shm .* MB free.*--shm-size=8g'):
        next(batches)
