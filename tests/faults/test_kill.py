"""Processes that are killed: at any instant, by any signal, they go on as if nothing had been."""

import random
import signal
import time
from pathlib import Path

import pytest
from helpers.fault_child import Training, complete, start_ranks
from helpers.runs import assert_same_run
from helpers.tiny_config import epochs

KILLS_A_RUN = 8
# (what one counts, ranks) -> options of the run, its last checkpoint
KINDS = {
    (unit, ranks): (options, last)
    for unit, options, last in (
        ('iterations', {}, 'iter_8.pth'),
        ('epochs', epochs(), 'epoch_3.pth'),
    )
    for ranks in (1, 2)
}


def start(folder: Path, kind: tuple[str, int]) -> list[Training]:
    """A run of this kind, one process a rank."""
    options, _ = KINDS[kind]
    return start_ranks(folder, **options) if kind[1] > 1 else [Training(folder, **options)]


def end(ranks: list[Training]) -> float:
    """Wait for all ranks to end well; returns the seconds since the start."""
    for rank in ranks:
        assert rank.wait() == 0, rank.log[-3000:]
    return ranks[0].seconds


def kill(ranks: list[Training], seconds: float, chance: random.Random) -> bool:
    """Kill the ranks in any order, the first ``seconds`` after the start and the others within
    half a second, as a launcher would; False if all had ended well by then."""
    time.sleep(seconds)
    order = chance.sample(ranks, len(ranks))
    if not any(rank.process.is_alive() for rank in order):
        end(ranks)
        return False
    for number, rank in enumerate(order):
        rank.kill_after(chance.uniform(0, 0.5) if number else 0, signal.SIGKILL)
    for rank in ranks:
        rank.wait()
    return True


@pytest.mark.parametrize('kind', KINDS, ids=lambda kind: f'{kind[0]}-{kind[1]}')
def test_killed_at_random_instants(tmp_path, kills, chance, record, kind):
    """Anywhere in the length of a whole run: starting, loading, saving, validating included."""
    share = kills // len(KINDS) + (list(KINDS).index(kind) < kills % len(KINDS))
    _, last = KINDS[kind]
    end(start(tmp_path / 'first', kind))  # which may have had to wait for imports
    seconds = end(start(tmp_path / 'straight', kind))
    killed = runs = 0
    while killed < share:
        folder = tmp_path / f'run{runs}'
        for _ in range(min(KILLS_A_RUN, share - killed)):
            if not kill(start(folder, kind), chance.uniform(0, seconds), chance):
                break
            killed += 1
        end(start(folder, kind))
        assert_same_run(folder / last, tmp_path / 'straight' / last)
        runs += 1
        if runs % 5 == 0:  # a machine is not always as busy as it was
            seconds = end(start(tmp_path / f'timed{runs}', kind))
    unit, ranks = kind
    place = 'on one rank' if ranks == 1 else 'on two ranks'
    record(
        f'SIGKILL at a random instant: {unit} {place}',
        killed, killed, 'goes on from the last whole checkpoint',
    )  # fmt: skip


def test_stopped_by_a_scheduler(tmp_path, reference, trials, chance, record):
    final, seconds = reference
    for number in (signal.SIGTERM, signal.SIGUSR1):
        for trial in range(trials):
            folder = tmp_path / f'{number}_{trial}'
            training = Training(folder)
            training.wait_for('Iter(train) [2/8]')
            training.kill_after(chance.uniform(0, seconds / 3), number)
            status = training.wait()
            assert status in (75, 0), training.log[-3000:]
            if status == 75:
                assert 'everything is saved' in training.log
            complete(folder)
            assert_same_run(folder / 'iter_8.pth', final)
        name = signal.Signals(number).name
        record(name, trials, trials, 'saves after the iteration under way and exits with status 75')


def test_a_second_signal_throws_nothing_away(tmp_path, reference, trials, record):
    final, _ = reference
    for trial in range(trials):
        folder = tmp_path / f'run{trial}'
        training = Training(folder)
        training.wait_for('Iter(train) [2/8]')
        training.kill_after(0, signal.SIGSTOP)  # so that both arrive within one iteration
        training.kill_after(0, signal.SIGTERM)
        training.kill_after(0, signal.SIGUSR1)
        training.kill_after(0, signal.SIGCONT)
        assert training.wait() in (75, 0)
        complete(folder)
        assert_same_run(folder / 'iter_8.pth', final)
    record('two signals', trials, trials, 'saves as after one, and exits with status 75')
