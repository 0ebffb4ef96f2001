import pytest

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
        ('DataLoader worker (pid 7) is killed by signal: Killed.', 'lower train_dataloader'),
        ('Connection closed by peer [10.0.0.1]', 'contact with another rank was lost'),
    ],
)
@pytest.mark.parametrize('on_the_way_out', [False, True])
def test_a_known_cause_is_named_even_behind_another_error(cause, advice, on_the_way_out):
    message = rf'iteration 3: .*{advice}.*torch said: {cause[:10]}'
    with pytest.raises(TrainingError, match=message):
        fail(cause, on_the_way_out)


def test_an_unknown_error_stays_as_it_is():
    with pytest.raises(RuntimeError, match='^shapes differ$') as caught:
        fail('shapes differ')
    assert not isinstance(caught.value, TrainingError)
