"""A training process that a test may kill: forked from a server that has imported everything.

Starting Python and importing torch takes seconds, more than the training itself; with the
``forkserver`` start method that is paid once, and each process is as fresh as a new one.
"""

import multiprocessing
import os
import socket
import sys
import time
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from helpers.tiny_config import tiny_config
from mmengine.hooks import Hook

from segkit.engine import Runner, components  # noqa: F401  (preloads all the engine registers)
from segkit.engine.dist import leave_dist
from segkit.registry import HOOKS

SERVER = multiprocessing.get_context('forkserver')
SERVER.set_forkserver_preload(['helpers.fault_child'])


def _ensure_server() -> None:
    """Python 3.11's server does not know this process's ``sys.path``, and passes over in silence
    what it cannot import: every child would import torch anew."""
    before = os.environ.get('PYTHONPATH')
    os.environ['PYTHONPATH'] = os.pathsep.join(path for path in sys.path if path)
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ['PYTHONPATH']
        else:
            os.environ['PYTHONPATH'] = before


@HOOKS.register_module()
class SlowValidation(Hook):
    """Sleep in each batch of a validation; ``seconds`` by rank."""

    def __init__(self, seconds: list[float]) -> None:
        self.seconds = seconds[int(os.environ.get('RANK', 0))]

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        time.sleep(self.seconds)


@HOOKS.register_module()
class SlowStart(Hook):
    """Say that training is about to begin and sleep; ``seconds`` by rank."""

    priority = 'VERY_LOW'

    def __init__(self, seconds: list[float]) -> None:
        self.seconds = seconds[int(os.environ.get('RANK', 0))]

    def before_train(self, runner) -> None:
        print('about to train', flush=True)
        time.sleep(self.seconds)


def _train(work_dir: str, options: dict, log: str, environment: dict) -> None:
    os.environ.update(environment)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = os.fdopen(1, 'w', 1), os.fdopen(2, 'w', 1)
    torch.set_num_threads(1)
    cfg = tiny_config(Path('x'), **options)
    cfg.work_dir = work_dir  # which may be an address
    Runner.from_cfg(cfg).train()
    leave_dist()


class Training:
    """A real training run in a process of its own; ``log`` is what it printed."""

    def __init__(
        self,
        work_dir: Path | str,
        environment: dict | None = None,
        log: Path | None = None,
        **options,
    ) -> None:
        environment = environment or {}
        self.log_file = Path(f'{log or work_dir}{environment.get("RANK", "")}.log')
        options = dict(dict(resume=True), **options)
        arguments = (str(work_dir), options, str(self.log_file), environment)
        _ensure_server()
        self.process: BaseProcess = SERVER.Process(target=_train, args=arguments)
        self.started = time.monotonic()
        self.process.start()

    def kill_after(self, seconds: float, signal_number: int) -> bool:
        """Send a signal ``seconds`` after the start; False if the run had ended by then."""
        self.process.join(seconds)
        if not self.process.is_alive():
            return False
        os.kill(self.process.pid, signal_number)
        return True

    def wait(self, limit: float = 180) -> int:
        """The exit status; negative is a signal."""
        self.process.join(limit)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            raise AssertionError(f'no end within {limit} s:\n{self.log[-3000:]}')
        return self.process.exitcode

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started

    @property
    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ''

    def wait_for(self, text: str, limit: float = 60) -> None:
        """Return when ``text`` is in the log."""
        while text not in self.log:
            if self.seconds > limit or not self.process.is_alive():
                raise AssertionError(f'{text!r} never came:\n{self.log[-3000:]}')
            time.sleep(0.01)


def complete(work_dir: Path, **options) -> str:
    """Run to the end, resuming what is there; returns the log."""
    training = Training(work_dir, **options)
    status = training.wait()
    assert status == 0, f'exit status {status}:\n{training.log[-3000:]}'
    return training.log


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def start_ranks(work_dir: Path, count: int = 2, **options) -> list[Training]:
    """One process a rank, with the variables that torchrun sets."""
    port = str(free_port())
    shared = dict(WORLD_SIZE=str(count), MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    shared['TORCHELASTIC_RUN_ID'] = 'test'
    ranks = [dict(shared, RANK=str(r), LOCAL_RANK=str(r)) for r in range(count)]
    return [Training(work_dir, environment=rank, **options) for rank in ranks]


def complete_ranks(work_dir: Path, count: int = 2, **options) -> str:
    """Run all ranks to the end; returns the log of the first."""
    ranks = start_ranks(work_dir, count, **options)
    for rank in ranks:
        status = rank.wait()
        assert status == 0, f'exit status {status}:\n{rank.log[-3000:]}'
    return ranks[0].log
