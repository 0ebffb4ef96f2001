import datetime
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.distributed as dist

from segkit.engine.errors import TrainingError, explained


def fail(message, on_the_way_out=False):
    """Raise; ``on_the_way_out`` another error follows, as from a file left half-written."""
    with explained(lambda: 'iteration 3'):
        try:
            raise RuntimeError(message)
        finally:
            if on_the_way_out:
                raise RuntimeError('unexpected pos 474560 vs 474456')


@pytest.mark.parametrize(
    ('cause', 'advice'),
    [
        ('DataLoader worker (pid 7) is killed by signal: Killed.', 'lower num_workers'),
        (
            '[third_party/gloo/gloo/transport/tcp/pair.cc:5] Connection closed by peer',
            'contact with another rank was lost',
        ),
    ],
)
@pytest.mark.parametrize('on_the_way_out', [False, True])
def test_a_known_cause_is_named_even_behind_another_error(cause, advice, on_the_way_out):
    message = rf'iteration 3: .*{advice}.*torch said: {re.escape(cause[:10])}'
    with pytest.raises(TrainingError, match=message):
        fail(cause, on_the_way_out)


def test_an_unknown_error_stays_as_it_is():
    with pytest.raises(RuntimeError, match='^shapes differ$') as caught:
        fail('shapes differ')
    assert not isinstance(caught.value, TrainingError)


def lost_contact():
    return pytest.raises(TrainingError, match='iteration 3: contact with another rank was lost')


def group(ranks, seconds):
    """Process groups of gloo, one for each rank, all in this process."""
    store = dist.HashStore()
    limit = datetime.timedelta(seconds=seconds)
    with ThreadPoolExecutor(ranks) as pool:
        return list(
            pool.map(lambda rank: dist.ProcessGroupGloo(store, rank, ranks, limit), range(ranks))
        )


def test_whatever_gloo_says_of_a_silent_rank_is_recognised():
    mine, silent = group(2, 2)
    sums = [mine.allreduce([torch.zeros(8)]) for _ in range(4)]
    said = set()
    for work in sums:
        with lost_contact() as caught, explained(lambda: 'iteration 3'):
            work.wait()
        said.add(str(caught.value).partition('torch said: ')[2])
    assert len(said) > 1  # those that were not the first to time out say something else
    del silent


def test_a_rank_that_left_is_recognised():
    mine, other = group(2, 30)
    del other
    with lost_contact(), explained(lambda: 'iteration 3'):
        mine.allreduce([torch.zeros(8)]).wait()


def test_errors_of_other_backends_are_recognised_by_their_type():
    with lost_contact(), explained(lambda: 'iteration 3'):
        raise dist.DistBackendError('remote process exited')
