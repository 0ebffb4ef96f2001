"""Data workers that outlive a signal to the job, so that it can save before it goes."""

import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch.utils.data import DataLoader, get_worker_info

from segkit.engine.stops import SIGNALS

_SIGNALS = (*SIGNALS, signal.SIGINT)


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
    """Have the workers of ``loader`` leave signals to the process that owns it, and fail aloud."""
    loader.worker_init_fn = partial(start_worker, then=loader.worker_init_fn)
    if loader.num_workers:
        loader.collate_fn = Sharing(loader.collate_fn)
    return loader


class Sharing:
    """``collate_fn`` whose batch is pickled when it returns, in a data worker.

    torch pickles it in a thread of the worker, which moves the tensors into shared memory. When
    that is full the thread prints an error and drops the batch, for which the trainer then waits
    for ever. Here what can fail, fails where torch passes it on.
    """

    def __init__(self, collate: Callable) -> None:
        self.collate = collate

    def __call__(self, samples: list) -> Any:
        batch = self.collate(samples)
        if get_worker_info() is None:
            return batch
        try:
            return _Pickled(bytes(ForkingPickler.dumps(batch)))
        except RuntimeError as error:
            if 'shared memory' not in str(error):
                raise
            raise SharedMemoryError(_full(error)) from None


class _Pickled:
    """Short bytes: tensors are in them by their file descriptors. Unpickled it is the batch."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> tuple:
        return ForkingPickler.loads, (self.data,)


class SharedMemoryError(RuntimeError):
    """The batch of a data worker does not fit into the memory that processes share."""


def _full(error: RuntimeError) -> str:
    memory = shutil.disk_usage('/dev/shm') if os.path.isdir('/dev/shm') else None
    size = f' ({memory.free / 1e6:.1f} of {memory.total / 1e6:.1f} MB free)' if memory else ''
    return (
        f'/dev/shm{size} has no room for a batch of a data worker. In a container start it with '
        '--shm-size=8g or --ipc=host; else lower num_workers or batch_size of the data loader, '
        f'or set num_workers=0. torch said: {str(error).splitlines()[0][:200]}'
    )
