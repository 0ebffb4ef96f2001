"""Whole jobs of two processes under torchrun: one dies, or the scheduler wants the node back."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.runs import assert_same_run
from helpers.tiny_config import write_tiny_config

SCRIPT = Path(__file__).resolve().parents[2] / 'tools' / 'dist_train.sh'
LIMIT = 240  # seconds a job may take on a busy machine


class Job:
    """``tools/dist_train.sh tiny.py 2 --resume`` in a session of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.log_file = folder / 'job.log'
        environment = dict(os.environ, PYTHON=sys.executable, OMP_NUM_THREADS='1')
        environment.pop('PYTEST_CURRENT_TEST', None)
        command = ['bash', str(SCRIPT), str(folder / 'tiny.py'), '2', '--work-dir',
                   str(folder / 'run'), '--resume', *arguments]  # fmt: skip
        with open(self.log_file, 'a') as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def wait(self) -> int:
        try:
            return self.process.wait(LIMIT)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)

    def wait_for(self, text: str) -> None:
        end = time.monotonic() + LIMIT
        while text not in self.log:
            assert time.monotonic() < end, self.log[-3000:]
            assert self.process.poll() is None, self.log[-3000:]
            time.sleep(0.05)

    def ranks(self) -> list[int]:
        """Process ids of the ranks: this job's descendants that run train.py themselves."""
        parents, is_rank = {}, set()
        for folder in Path('/proc').glob('[0-9]*'):
            try:
                words = (folder / 'cmdline').read_bytes().split(b'\0')
                parent = int((folder / 'stat').read_text().rpartition(')')[2].split()[1])
            except OSError:
                continue
            parents[int(folder.name)] = parent
            if any(word.endswith(b'train.py') for word in words[:3]):
                is_rank.add(int(folder.name))

        def ours(pid: int) -> bool:
            return pid == self.process.pid or (pid in parents and ours(parents[pid]))

        return sorted(pid for pid in is_rank if ours(pid))


@pytest.fixture(scope='module')
def straight(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('straight')
    write_tiny_config(folder)
    job = Job(folder)
    assert job.wait() == 0, job.log[-3000:]
    return folder / 'run' / 'iter_8.pth'


def test_a_killed_rank_ends_the_job_and_the_job_resumes(tmp_path, straight, record):
    write_tiny_config(tmp_path)
    job = Job(tmp_path)
    job.wait_for('Iter(train) [2/8]')
    ranks = job.ranks()
    assert len(ranks) >= 2
    os.kill(ranks[-1], signal.SIGKILL)
    start = time.monotonic()
    status = job.wait()
    took = time.monotonic() - start
    assert status in (0, 1)
    assert took < 120
    if status:
        assert re.search(r'Signal 9 \(SIGKILL\)', job.log)
    again = Job(tmp_path)
    assert again.wait() == 0, again.log[-3000:]
    assert_same_run(tmp_path / 'run' / 'iter_8.pth', straight)
    record('one of two ranks killed', 1, 1, 'the job ends with status 1; goes on from the last')


def test_a_job_told_to_stop_saves_and_asks_to_be_requeued(tmp_path, straight, record):
    write_tiny_config(tmp_path)
    job = Job(tmp_path)
    job.wait_for('Iter(train) [2/8]')
    job.process.send_signal(signal.SIGTERM)
    assert job.wait() in (75, 0), job.log[-3000:]
    again = Job(tmp_path)
    assert again.wait() == 0, again.log[-3000:]
    assert_same_run(tmp_path / 'run' / 'iter_8.pth', straight)
    record('SIGTERM to a job of two ranks', 1, 1, 'all ranks save one iteration; status 75')
