"""What a run draws and which samples it sees, as functions of its seed and its place.

**Draws.** Before every iteration each rank seeds its generators from a hash of seed, rank and
iteration. Whatever that iteration draws (dropout, a sampler of pixels, augmentation in a loader
without workers) is then the same whether the process was started an iteration ago or a week ago,
whether it validated in between, and however many other ranks there are. Seeding costs about 20
microseconds, and resuming needs no saved state.

**Samples.** The place in the endless stream of training samples is counted in samples of all ranks
together, so it keeps its meaning when a run goes on with another number of processes. The project's
own samplers compute the order of any place; for another sampler the indices (never the data) of the
past batches are drawn and dropped.
"""

import itertools
import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from segkit.engine.dist import from_first_rank
from segkit.engine.errors import TrainingError
from segkit.engine.optimizer import batch_of

_MASK = (1 << 64) - 1


def mix(*numbers: int) -> int:
    """A 63-bit hash of integers in which neighbouring inputs have nothing in common.

    splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
    """
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


def seed_iteration(seed: int, rank: int, iteration: int) -> None:
    """Seed torch (all devices), NumPy and ``random`` for one iteration of one rank."""
    seed_everything(mix(seed, rank, iteration))


def seed_everything(seed: int | None, offset: int = 0) -> int:
    """Seed the generators of this process; returns the seed, drawn for all ranks if None.

    Args:
        offset: added to it, where each rank is to draw something else.
    """
    if seed is None:
        seed = from_first_rank(int(np.random.randint(2**31)))
    seed += offset
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.manual_seed(seed)
    return seed


def make_deterministic() -> None:
    """Ask for bit-identical runs; operations that cannot be are named in a warning.

    A network of somebody's may hold operations without a deterministic kernel on CUDA: to refuse
    them would refuse the network, so torch warns with the operation's name instead. Under that
    setting torch's fused attention kernels warn and stay as they are, so they are switched off;
    docs/cuda_extension.md lists what is done about each operation of ours.
    """
    os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    if torch.cuda.is_available():  # a CPU's fused attention repeats its bits
        torch.backends.cuda.enable_flash_sdp(False)
        torch.backends.cuda.enable_mem_efficient_sdp(False)
        torch.backends.cuda.enable_cudnn_sdp(False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    warnings.filterwarnings('once', message='.*does not have a deterministic implementation.*')


@contextmanager
def preserved_randomness() -> Iterator[None]:
    """Put the generators back afterwards: starting a DataLoader draws from torch's."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])


class _Advanced(Sampler):
    """A batch sampler whose first pass begins after ``skip`` batches."""

    def __init__(self, batches: Any, skip: int) -> None:
        self.batches, self.skip = batches, skip

    def __getattr__(self, name: str) -> object:
        if name == 'batches':  # asked for while it is unpickled
            raise AttributeError(name)
        return getattr(self.batches, name)  # its size, and the sampler that a hook looks for

    def __iter__(self) -> Iterator:
        skip, self.skip = self.skip, 0
        for number, batch in enumerate(self.batches):
            if number >= skip:
                yield batch

    def __len__(self) -> int:
        return len(self.batches)


def _jump(loader: DataLoader, samples: int, world_size: int) -> int:
    """Place the sampler after ``samples`` samples; return the number of whole passes skipped."""
    batches: Any = loader.batch_sampler  # a BatchSampler, or whatever a config put there
    sampler = getattr(batches, 'sampler', loader.sampler)
    if hasattr(sampler, 'start'):
        sampler.start = samples
        return 0
    skip, number = samples // (world_size * batch_of(loader)), 0
    if not hasattr(sampler, 'indices') and len(batches):  # a finite sampler, in epochs
        number, skip = divmod(skip, len(batches))
    place_after(loader, skip)
    return number


def place_after(loader: DataLoader, batches: int) -> None:
    """Begin the next pass after so many batches, whose data are not read."""
    # DataLoader forbids replacing its batch sampler, and building another one would need all
    # the arguments it was built from.
    object.__setattr__(loader, 'batch_sampler', _Advanced(loader.batch_sampler, batches))


def endless_batches(loader: DataLoader, samples: int, world_size: int) -> Iterator:
    """Batches from global position ``samples`` on, in pass after pass over the dataset."""
    number = _jump(loader, samples, world_size) if samples else 0
    return _passes(loader, _begin(loader, number), number)


def passes(loader: DataLoader, number: int) -> Iterator:
    """Batches of pass ``number``, which begins here, and of those after it."""
    return _passes(loader, _begin(loader, number), number)


def batches_after(
    loader: DataLoader, batches: int, samples: int, world_size: int
) -> Iterator[object]:
    """For a loop of others, which takes the ``batches`` it has done once more: nothing is read for
    those, then come the batches from global position ``samples`` on."""
    yield from itertools.repeat(None, batches)
    yield from endless_batches(loader, samples, world_size)


def _begin(loader: DataLoader, number: int) -> Iterator:
    """Pass ``number``. torch draws a seed for its workers, at the start of each pass: not from the
    generator of the training, which a resumed run would find elsewhere."""
    sampler = loader.batch_sampler
    while sampler is not None and not hasattr(sampler, 'set_epoch'):
        sampler = getattr(sampler, 'sampler', None) or getattr(sampler, 'batches', None)
    if sampler is not None:
        sampler.set_epoch(number)
    with preserved_randomness():
        return iter(loader)


def _passes(loader: DataLoader, batches: Iterator, number: int) -> Iterator:
    empty = 0
    while empty < 2:  # of a resumed pass nothing may be left
        empty += 1
        for batch in batches:
            empty = 0
            yield batch
        number += 1
        batches = _begin(loader, number)
    raise TrainingError(
        'the training data loader gives no batch from its samples: '
        'lower batch_size, or set drop_last=False'
    )
