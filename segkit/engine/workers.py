"""Data workers that outlive a signal to the job, so that it can save before it goes."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


def _obey_parent_only() -> None:
    """End this worker on a signal from its parent; let those from elsewhere pass.

    A handler is not told who sent a signal, a thread that waits for one is. multiprocessing ends
    its workers by SIGTERM and then waits for them without limit, so that one cannot be ignored.
    The status is 0, so that torch does not report the worker as lost. ``os.getppid()`` would be
    the fork server where that starts the workers.
    """
    parent: Any = multiprocessing.parent_process()  # a worker has one
    while True:
        if signal.sigwaitinfo(_SIGNALS).si_pid == parent.pid:
            os._exit(0)


def start_worker(worker_id: int, then: Callable | None = None) -> None:
    """``worker_init_fn``: schedulers signal a whole process group, workers included.

    torch's own handler would end a worker at once, and with it the iteration under way.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    threading.Thread(target=_obey_parent_only, daemon=True).start()
    if then is not None:
        then(worker_id)


def fit_loader_config(config: dict) -> dict:
    """A loader config without the settings that ``num_workers=0`` makes torch refuse.

    Unless it names another way, batches travel as few large buffers (``seg_collate``), pinned where
    there is a GPU to copy them to.
    """
    from segkit.datasets import seg_collate

    usual = dict(collate_fn=dict(type=seg_collate), pin_memory=torch.cuda.is_available())
    config = {**usual, **config}
    if config.get('num_workers', 0) == 0:
        config = {k: v for k, v in config.items() if k != 'prefetch_factor'}
        config['persistent_workers'] = False
    return config


def guard_workers(loader: DataLoader) -> DataLoader:
    """Have the workers of ``loader`` leave SIGTERM and SIGUSR1 to the process that owns it."""
    loader.worker_init_fn = partial(start_worker, then=loader.worker_init_fn)
    return loader
