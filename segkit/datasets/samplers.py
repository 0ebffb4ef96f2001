"""Samplers whose order is a pure function of (seed, position), for exact resume and evaluation.

A run that is stopped and resumed must see the very samples, with the very augmentations, that a
run never stopped would have seen. Two things make that so without reading any past data: the
order of epoch e is computed from (seed, e) alone, and every sample carries its own seed, derived
from (seed, global position), from which the dataset seeds its random generators before the
pipeline runs. Neither depends on the number of workers or of ranks: rank r of W takes the
positions r, r + W, r + 2W, ...
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Sized

import numpy as np
from mmengine.dataset import DefaultSampler as _PaddedSampler
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from segkit.errors import UserError
from segkit.old_names import serve
from segkit.registry import DATA_SAMPLERS

_MASK = (1 << 64) - 1
_NO_CLASS = -1


class SeededIndex(int):
    """What a seeded sampler yields: the index of a sample, with the seed of its augmentation.

    A number like any other to a dataset that knows of no seed. One that computes another index from
    it (``torch.utils.data.Subset``) drops the seed: its samples are augmented from the worker's own
    generators, and a resumed run continues them anew.
    """

    seed: int

    def __new__(cls, index: int, seed: int) -> 'SeededIndex':
        number = super().__new__(cls, index)
        number.seed = seed
        return number

    def __reduce__(self) -> tuple:
        return type(self), (int(self), self.seed)

    def __repr__(self) -> str:
        return f'{type(self).__name__}({int(self)}, seed={self.seed})'


def sample_seed(seed: int, position: int) -> int:
    """A 32-bit seed from the run's seed and a global position (splitmix64's finaliser)."""
    z = (seed * 0xD1342543DE82EF95 + (position + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return (z ^ (z >> 31)) & 0xFFFFFFFF


def epoch_order(size: int, seed: int, epoch: int, shuffle: bool = True) -> np.ndarray:
    """Indices 0..size-1 in the order of one epoch: int64, shape (size,)."""
    if not shuffle:
        return np.arange(size)
    return np.random.default_rng([seed, epoch]).permutation(size)


@DATA_SAMPLERS.register_module(name=['InfiniteSeededSampler', 'InfiniteSampler'])
class InfiniteSeededSampler(Sampler):
    """Endless passes over a dataset, each in its own order; yields :class:`SeededIndex`.

    Args:
        dataset: anything with a length.
        shuffle: a new order each epoch, or 0, 1, 2, ... each time.
        seed: of the whole run, equal on all ranks; ``None`` draws one and shares it.
        start: global position (samples of all ranks together) of the first sample. After ``n``
            iterations it is ``n * batch_size * world_size``; setting it costs nothing.
    """

    def __init__(
        self, dataset: Sized, shuffle: bool = True, seed: int | None = None, start: int = 0
    ) -> None:
        self.rank, self.world_size = get_dist_info()
        self.size = len(dataset)
        if self.size == 0:
            raise UserError('The training dataset is empty: there is nothing to sample from.')
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.start = start

    def __iter__(self) -> Iterator[SeededIndex]:
        position, epoch, order = self.start + self.rank, -1, np.arange(0)
        while True:
            if position // self.size != epoch:
                epoch = position // self.size
                order = self.order(epoch)
            index = int(order[position % self.size])
            yield SeededIndex(index, sample_seed(self.seed, position))
            position += self.world_size

    def order(self, epoch: int) -> np.ndarray:
        """The indices of one pass."""
        return epoch_order(self.size, self.seed, epoch, self.shuffle)

    def __len__(self) -> int:
        """Length of the dataset, as users of mmengine's infinite sampler expect."""
        return self.size

    def set_epoch(self, epoch: int) -> None:
        """Nothing to set: the epoch follows from the position."""


@DATA_SAMPLERS.register_module()
class WeightedSampler(InfiniteSeededSampler):
    """Endless passes in which a sample comes as often as its weight says.

    A pass is as long as the dataset; in it a sample comes n w / sum(w) times, rounded down or up.

    Args:
        weights: a number for each sample; ``'classes'`` to draw a class and then one of the samples
            that hold it, each alike (every label is read once, when it is set up); None for equal
            weights.
        shuffle, seed, start: as in `InfiniteSeededSampler`, so that a run resumes exactly.
    """

    def __init__(
        self,
        dataset: Sized,
        weights: Sequence[float] | str | None = None,
        shuffle: bool = True,
        seed: int | None = None,
        start: int = 0,
    ) -> None:
        super().__init__(dataset, shuffle, seed, start)
        if isinstance(weights, str):
            classes_of: Callable[[int], list[int]] | None = getattr(dataset, 'get_cat_ids', None)
            if weights != 'classes' or classes_of is None:
                raise UserError(
                    f"WeightedSampler(weights={weights!r}): 'classes' is the only word, for a data "
                    f'set that tells its classes (get_cat_ids), which {type(dataset).__name__} '
                    f'does{"" if classes_of else " not"}. Give a number for each sample.'
                )
            weights = weights_by_class([classes_of(i) for i in range(self.size)]).tolist()
        given = np.ones(self.size) if weights is None else np.asarray(weights, np.float64)
        if given.shape != (self.size,) or not (np.isfinite(given) & (given >= 0)).all():
            raise UserError(
                f'WeightedSampler: weights must be {self.size} numbers from 0 on, one for each '
                f'sample, not {given.size} of which the smallest is {given.min(initial=np.inf)}.'
            )
        if not given.any():
            raise UserError('WeightedSampler: all weights are 0, so that no sample is drawn.')
        self.weights = given

    def order(self, epoch: int) -> np.ndarray:
        """The indices of one pass: evenly spaced points on the weights laid end to end."""
        rng = np.random.default_rng([self.seed, epoch])
        ends = self.weights.cumsum()
        points = (np.arange(self.size) + rng.random()) / self.size * ends[-1]
        drawn = np.searchsorted(ends, points, side='right')
        drawn = np.minimum(drawn, np.flatnonzero(self.weights)[-1])
        return rng.permutation(drawn) if self.shuffle else drawn


def weights_by_class(held: Sequence[Sequence[int]]) -> np.ndarray:
    """A weight for each sample from the classes it holds: 1 / n of each, where n samples hold it.

    Samples without a class count as those of one more.
    """
    named = [classes or [_NO_CLASS] for classes in held]
    counts = Counter(name for classes in named for name in classes)
    return np.array([sum(1 / counts[name] for name in classes) for classes in named])


@DATA_SAMPLERS.register_module()
class UnpaddedSampler(Sampler):
    """Splits a dataset over the ranks for evaluation: each sample exactly once, none repeated.

    A padded sampler repeats up to W - 1 samples to give all ranks the same count. Metrics that sum
    a matrix over ranks would count those twice.
    """

    def __init__(self, dataset: Sized, shuffle: bool = False, seed: int | None = None) -> None:
        self.rank, self.world_size = get_dist_info()
        self.size = len(dataset)
        self.shuffle = shuffle
        self.seed = sync_random_seed() if shuffle and seed is None else seed

    def __iter__(self) -> Iterator[int]:
        order = epoch_order(self.size, self.seed or 0, 0, self.shuffle)
        return iter(order[self.rank :: self.world_size].tolist())

    def __len__(self) -> int:
        return len(range(self.rank, self.size, self.world_size))

    def set_epoch(self, epoch: int) -> None:
        """The same split at each evaluation."""


@DATA_SAMPLERS.register_module()
class DefaultSampler(_PaddedSampler):
    """mmengine's sampler, padded only where that is wanted: when shuffling, i.e. in training.

    There each index carries the seed of its augmentation, so that a run by epochs resumes exactly.
    """

    def __init__(
        self,
        dataset: Sized,
        shuffle: bool = True,
        seed: int | None = None,
        round_up: bool | None = None,
    ) -> None:
        super().__init__(dataset, shuffle, seed, shuffle if round_up is None else round_up)

    def __iter__(self) -> Iterator[int]:
        indices = super().__iter__()
        if not self.shuffle:
            return indices
        first = self.epoch * self.total_size + self.rank
        return (
            SeededIndex(index, sample_seed(self.seed, first + number * self.world_size))
            for number, index in enumerate(indices)
        )


serve(__name__)
