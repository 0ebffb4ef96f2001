"""Where in the endless stream of training samples a run is, and jumping there without reading.

The position is counted in samples of all ranks together, so it keeps its meaning when a run goes
on with another number of processes. The project's own samplers compute the order of any position;
for another sampler the indices (never the data) of the past batches are drawn and dropped.
"""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Sampler

from segkit.engine.errors import TrainingError
from segkit.engine.randomness import preserved_randomness


class _Advanced(Sampler):
    """A batch sampler whose first pass begins after ``skip`` batches."""

    def __init__(self, batches: Any, skip: int) -> None:
        self.batches, self.skip = batches, skip

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
    skip = samples // (world_size * batches.batch_size)
    passes = 0
    if not hasattr(sampler, 'indices') and len(batches):  # a finite sampler, in epochs
        passes, skip = divmod(skip, len(batches))
    # DataLoader forbids replacing its batch sampler, and building another one would need all
    # the arguments it was built from.
    object.__setattr__(loader, 'batch_sampler', _Advanced(batches, skip))
    return passes


def endless_batches(loader: DataLoader, samples: int, world_size: int) -> Iterator:
    """Batches from global position ``samples`` on, in pass after pass over the dataset."""
    passes = _jump(loader, samples, world_size) if samples else 0
    return _passes(loader, _begin(loader, passes), passes)


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
