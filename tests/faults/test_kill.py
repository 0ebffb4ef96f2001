"""Processes that are killed: at any instant, by any signal, they go on as if nothing had been."""

import signal

from helpers.fault_child import Training, complete
from helpers.runs import assert_same_run

KILLS_A_RUN = 8


def test_killed_at_random_instants(tmp_path, reference, kills, chance, record):
    """Anywhere in the length of a whole run: starting, loading, saving, validating included."""
    final, seconds = reference
    killed = runs = 0
    while killed < kills:
        folder = tmp_path / f'run{runs}'
        for _ in range(min(KILLS_A_RUN, kills - killed)):
            training = Training(folder)
            hit = training.kill_after(chance.uniform(0, seconds), signal.SIGKILL)
            status = training.wait()
            if not hit:
                assert status == 0, training.log[-3000:]
                break
            killed += 1
        complete(folder)
        assert_same_run(folder / 'iter_8.pth', final)
        runs += 1
        if runs % 5 == 0:  # a machine is not always as busy as it was
            timed = Training(tmp_path / f'timed{runs}')
            timed.wait()
            seconds = timed.seconds
    record('SIGKILL at a random instant', killed, killed, 'goes on from the last whole checkpoint')


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
