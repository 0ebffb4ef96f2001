"""The hub's short history: same averages as a whole one, constant cost and constant size."""

import io
import time

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from segkit.compat import keep_last_values
from segkit.engine.checkpoints import hub_state, load_hub_state, plain

KEPT = 1000


def short_hub(name: str, count: int = KEPT) -> MessageHub:
    hub = MessageHub.get_instance(f'test_scalars_{name}')
    keep_last_values(hub, count)
    return hub


@pytest.fixture
def hub(request) -> MessageHub:
    return short_hub(request.node.name)


def test_windows_average_as_those_of_a_whole_history(hub):
    values = np.random.default_rng(0).normal(size=1300)
    whole = HistoryBuffer()
    for value in values.tolist():
        whole.update(value)
        hub.update_scalar('train/loss', value)
    short = hub.get_scalar('train/loss')
    for window in (1, 7, 50, 300):
        assert short.mean(window) == whole.mean(window) == pytest.approx(values[-window:].mean())
        assert short.max(window) == values[-window:].max()
        assert short.min(window) == values[-window:].min()
    assert short.current() == values[-1]


def test_only_the_last_values_are_kept(request):
    hub = short_hub(request.node.name, count=3)
    for value in range(10):
        hub.update_scalar('train/loss', float(value))
    assert hub.get_scalar('train/loss').data[0].tolist() == [7.0, 8.0, 9.0]


def test_the_cost_of_an_update_does_not_grow(hub):
    def cost(updates: int) -> float:
        start = time.process_time()
        for _ in range(updates):
            hub.update_scalar('train/loss', 1.0)
        return time.process_time() - start

    early = min(cost(2000) for _ in range(5))
    cost(100_000)
    late = min(cost(2000) for _ in range(5))
    assert late < 3 * early


def test_the_saved_hub_is_plain_and_of_constant_size(hub):
    hub.update_info('eta', np.float64(3.5))
    hub.update_info('classes', ('a', 'b'))

    def size() -> int:
        file = io.BytesIO()
        torch.save(hub_state(hub, window=10), file)
        file.seek(0)
        torch.load(file, weights_only=True)
        return len(file.getvalue())

    sizes = []
    for count in (20, 2000):
        for _ in range(count):
            hub.update_scalar('train/loss', 0.25)
        sizes.append(size())
    assert sizes[0] == sizes[1]


def test_a_restored_hub_averages_as_the_saved_one(hub):
    for value in (1.0, 2.0, 4.0):
        hub.update_scalar('train/loss', value)
    hub.update_info('best', dict(score=0.5))
    other = short_hub('restored')
    load_hub_state(other, hub_state(hub))
    other.update_scalar('train/loss', 8.0)
    assert other.get_scalar('train/loss').mean(2) == 6.0
    assert other.get_info('best') == dict(score=0.5)


def test_plain_keeps_tensors_and_turns_the_rest_to_builtins():
    tensor = torch.ones(2)
    value = plain({'a': (np.int64(1), np.array([1.5])), 'b': tensor, 'c': object})
    assert value['a'] == (1, [1.5])
    assert type(value['a'][0]) is int
    assert value['b'] is tensor
    assert isinstance(value['c'], str)
