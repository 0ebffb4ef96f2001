"""Seeded samplers: one order for any number of ranks, resumable anywhere, exact evaluation."""

import math
import pickle
from itertools import islice

import mmengine.dataset
import pytest
from torch.utils.data import DataLoader, Subset

from segkit.datasets import samplers
from segkit.datasets.samplers import InfiniteSeededSampler, SeededIndex, UnpaddedSampler
from segkit.registry import DATA_SAMPLERS


def take(monkeypatch, rank, world_size, count, **kwargs):
    monkeypatch.setattr(samplers, 'get_dist_info', lambda: (rank, world_size))
    indices = islice(InfiniteSeededSampler(range(10), seed=3, **kwargs), count)
    return [(int(index), index.seed) for index in indices]


def test_each_epoch_is_a_permutation_in_its_own_order(monkeypatch):
    got = [index for index, _ in take(monkeypatch, 0, 1, 30)]
    epochs = [got[0:10], got[10:20], got[20:30]]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_ranks_together_follow_the_order_of_one_process(monkeypatch):
    alone = take(monkeypatch, 0, 1, 30)
    for world_size in (2, 3):
        ranks = [take(monkeypatch, rank, world_size, 10) for rank in range(world_size)]
        assert [item for step in zip(*ranks) for item in step] == alone[: 10 * world_size]


def test_starting_at_a_position_continues_with_the_same_seeds(monkeypatch):
    whole = take(monkeypatch, 0, 1, 30)
    assert take(monkeypatch, 0, 1, 13, start=17) == whole[17:]
    # Another number of ranks takes over: the samples keep their order and their seeds.
    ranks = [take(monkeypatch, rank, 2, 5, start=16) for rank in range(2)]
    assert [item for step in zip(*ranks) for item in step] == whole[16:26]


def test_seeds_differ_between_positions_and_runs(monkeypatch):
    seeds = {seed for _, seed in take(monkeypatch, 0, 1, 1000)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert samplers.sample_seed(3, 5) != samplers.sample_seed(4, 5)


def test_without_shuffling_the_order_is_that_of_the_dataset(monkeypatch):
    got = [index for index, _ in take(monkeypatch, 0, 1, 12, shuffle=False)]
    assert got == [*range(10), 0, 1]


@pytest.mark.parametrize('world_size', [1, 3, 8, 13])
def test_evaluation_sees_each_sample_exactly_once(monkeypatch, world_size):
    seen = []
    for rank in range(world_size):
        monkeypatch.setattr(samplers, 'get_dist_info', lambda rank=rank: (rank, world_size))
        sampler = UnpaddedSampler(range(10))
        part = list(sampler)
        assert len(part) == len(sampler)
        seen += part
    assert sorted(seen) == list(range(10))


def test_names_users_know_give_these_samplers():
    infinite = DATA_SAMPLERS.build(dict(type='InfiniteSampler', dataset=range(4), seed=0))
    assert isinstance(next(iter(infinite)), SeededIndex)
    default = DATA_SAMPLERS.build(dict(type='DefaultSampler', dataset=range(5), shuffle=False))
    assert not default.round_up
    assert DATA_SAMPLERS.build(dict(type='DefaultSampler', dataset=range(5), seed=0)).round_up


def test_an_empty_dataset_is_an_error():
    with pytest.raises(ValueError, match='training dataset is empty'):
        InfiniteSeededSampler([], seed=0)


class SquaresOfMMEngine(mmengine.dataset.BaseDataset):
    """Knows of no seeds; sample i is i ** 2."""

    def load_data_list(self):
        return [dict(square=i**2) for i in range(4)]

    def prepare_data(self, idx):
        return self.get_data_info(idx)['square']


SQUARES = [0, 1, 4, 9]
FOREIGN = {
    'a list': SQUARES,
    'a subset': Subset([None, *SQUARES], range(1, 5)),
    "mmengine's": SquaresOfMMEngine(serialize_data=True),
}


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('name', list(FOREIGN))
def test_a_dataset_that_knows_of_no_seeds_takes_the_index_as_a_number(name, workers):
    dataset = FOREIGN[name]
    sampler = InfiniteSeededSampler(dataset, shuffle=False, seed=0)
    loader = DataLoader(dataset, sampler=sampler, batch_size=None, num_workers=workers)
    assert list(islice(loader, 6)) == [0, 1, 4, 9, 0, 1]


def test_an_index_keeps_its_seed_on_the_way_to_a_worker():
    sent = SeededIndex(5, 2**32 - 1)
    received = pickle.loads(pickle.dumps(sent))
    assert isinstance(received, SeededIndex)
    assert (received, received.seed) == (5, 2**32 - 1)
    assert repr(received) == 'SeededIndex(5, seed=4294967295)'


def weighted(weights, start=0, dataset=range(10)):
    return DATA_SAMPLERS.build(
        dict(type='WeightedSampler', dataset=dataset, weights=weights, seed=3, start=start)
    )


def test_a_sample_comes_as_often_as_its_weight_says():
    weights = [0, 1, 1, 2, 4, 0.5, 0.5, 1, 0, 6]
    got = [int(index) for index in islice(weighted(weights), 10_000)]
    for index, weight in enumerate(weights):
        share = weight / sum(weights)
        assert abs(got.count(index) / len(got) - share) < 0.01
        each = {got[first : first + 10].count(index) for first in range(0, len(got), 10)}
        assert each <= {math.floor(10 * share), math.ceil(10 * share)}
    assert len({tuple(got[first : first + 10]) for first in range(0, 500, 10)}) > 40


def test_a_weighted_run_goes_on_where_it_was_stopped():
    whole = [(int(i), i.seed) for i in islice(weighted([*range(10)]), 30)]
    later = [(int(i), i.seed) for i in islice(weighted([*range(10)], start=13), 17)]
    assert later == whole[13:]
    equal = [int(i) for i in islice(weighted(None), 20)]
    assert sorted(equal[:10]) == sorted(equal[10:]) == list(range(10))


def test_classes_are_drawn_alike():
    held = [[0], [0, 1], [0], [0, 2], [], []]
    quarter = {0: 1 / 4, 1: 1, 2: 1}
    wanted = [sum(quarter[c] for c in classes) or 1 / 2 for classes in held]
    assert samplers.weights_by_class(held).tolist() == wanted

    class Labelled(list):
        def get_cat_ids(self, index):
            return self[index]

    assert weighted('classes', dataset=Labelled(held)).weights.tolist() == wanted


@pytest.mark.parametrize(
    ('weights', 'words'),
    [
        ('classes', 'which range does not'),
        ('class', "'classes' is the only word"),
        ([1] * 9, 'must be 10 numbers'),
        ([-1] + [1] * 9, 'the smallest is -1'),
        ([0] * 10, 'all weights are 0'),
    ],
)
def test_weights_that_cannot_be_are_refused(weights, words):
    with pytest.raises(ValueError, match=words):
        weighted(weights)
