"""Data workers that outlive a signal to the job, so that it can save before it goes."""

import atexit
import multiprocessing
import os
import signal
from collections.abc import Callable
from functools import partial

from torch.utils.data import DataLoader


def _worker_handler(number: int, frame: object) -> None:
    """Ignore the first signal, leave at the second."""
    signal.signal(number, signal.SIG_DFL)


def start_worker(worker_id: int, then: Callable | None = None) -> None:
    """``worker_init_fn``: schedulers signal a whole process group, workers included.

    torch's own handler would end a worker at once, and with it the iteration under way.
    """
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, _worker_handler)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if then is not None:
        then(worker_id)
    # A parent killed outright (SIGKILL) leaves no one to tell this worker to end.
    if os.getppid() == 1:
        os._exit(0)


def fit_loader_config(config: dict) -> dict:
    """A loader config without the settings that ``num_workers=0`` makes torch refuse."""
    if config.get('num_workers', 0) == 0:
        config = {k: v for k, v in config.items() if k != 'prefetch_factor'}
        config['persistent_workers'] = False
    return config


@atexit.register
def _end_workers() -> None:
    """multiprocessing ends idle workers with one SIGTERM at exit, which ours ignore, and waits."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch would report each as a lost worker
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def guard_workers(loader: DataLoader) -> DataLoader:
    """Have the workers of ``loader`` ignore the first signal."""
    loader.worker_init_fn = partial(start_worker, then=loader.worker_init_fn)
    return loader
