"""Data loaders, built from a config, whose workers outlive a signal to the job and fail aloud."""

import copy
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from mmengine.dataset import worker_init_fn
from mmengine.dist import get_rank, get_world_size
from torch.utils.data import DataLoader, get_worker_info

from segkit.datasets import seg_collate
from segkit.datasets.scan import listed_once
from segkit.engine.optimizer import batch_of
from segkit.engine.stops import SIGNALS
from segkit.registry import DATA_SAMPLERS, DATASETS, FUNCTIONS

_SIGNALS = (*SIGNALS, signal.SIGINT)


def build_loader(config: Mapping[str, Any], seed: int | None) -> DataLoader:
    """A loader from its config, in which ``dataset``, ``sampler``, ``batch_sampler``,
    ``collate_fn`` and ``worker_init_fn`` may be configs too; the rest are arguments of torch's.

    Unless it names another way, batches travel as few large buffers (``seg_collate``), pinned where
    there is a GPU to copy them to.

    Args:
        seed: of sampler and workers, the same on all ranks.
    """
    config = {key: copy.copy(value) for key, value in config.items()}
    config.setdefault('pin_memory', torch.cuda.is_available())
    if config.get('num_workers', 0) == 0:  # torch refuses what is for workers
        config.pop('prefetch_factor', None)
        config['persistent_workers'] = False
    dataset: Any = config.pop('dataset')
    if isinstance(dataset, Mapping):
        with listed_once():
            dataset = DATASETS.build(dict(dataset))
            if hasattr(dataset, 'full_init'):
                dataset.full_init()
    if (batches := config.pop('num_batch_per_epoch', None)) is not None:
        dataset = _First(dataset, batches * batch_of(config) * get_world_size())
    sampler = config.pop('sampler')
    if isinstance(sampler, Mapping):
        sampler = DATA_SAMPLERS.build(dict(sampler), default_args=dict(dataset=dataset, seed=seed))
    batches = config.pop('batch_sampler', None)
    if isinstance(batches, Mapping):
        given = dict(sampler=sampler, batch_size=config.pop('batch_size'))
        batches = DATA_SAMPLERS.build(dict(batches), default_args=given)
    if batches is None:
        config['sampler'] = sampler
    else:
        config['batch_sampler'] = batches
    quiet = config.pop('disable_subprocess_warning', False)
    usual: Callable | None = None
    if seed is not None:
        told = dict(num_workers=config.get('num_workers', 0), rank=get_rank(), seed=seed)
        usual = partial(worker_init_fn, **told, disable_subprocess_warning=quiet)
    start = _function(config.pop('worker_init_fn', usual))
    collate = _function(config.pop('collate_fn', seg_collate))
    loader = DataLoader(dataset, collate_fn=collate, worker_init_fn=start, **config)
    return guard_workers(loader)


class _First:
    """The first samples of a dataset, with all that it has."""

    def __init__(self, dataset: Any, length: int) -> None:
        self._dataset, self._length = dataset, length

    def __getattr__(self, name: str) -> object:
        if name.startswith('__') or name == '_dataset':  # asked for while it is unpickled
            raise AttributeError(name)
        return getattr(self._dataset, name)

    def __getitem__(self, index: int) -> object:
        return self._dataset[index]

    def __len__(self) -> int:
        return self._length


def _function(config: Any) -> Callable | None:
    """A function as it is, or from a dict of its registered name and its arguments."""
    if not isinstance(config, Mapping):
        return config
    arguments = {key: value for key, value in config.items() if key != 'type'}
    kind = config['type']
    found = FUNCTIONS.get(kind) if isinstance(kind, str) else kind
    if found is None:
        raise KeyError(f'{kind!r} is not a registered function')
    return partial(found, **arguments)


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

    torch's own handler would end a worker at once, and with it the iteration under way; so it is
    where the system does not tell who sent a signal (macOS, Windows).
    """
    if hasattr(signal, 'sigwaitinfo'):
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        threading.Thread(target=_obey_parent_only, daemon=True).start()
    if then is not None:
        then(worker_id)


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
