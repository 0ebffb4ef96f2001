"""One function over many items: in order, in parallel, and past failures."""

import os
import signal
import sys

import pytest

from segkit.datasets.parallel import Failure, bar, parallel


def square_and_place(value: int) -> tuple[int, int]:
    if value == 13:
        raise ValueError('unlucky')
    if value == 14:
        sys.exit('a script that gives up')
    return value * value, os.getpid()


@pytest.mark.parametrize('workers', [0, 2])
def test_results_come_in_order_and_failures_do_not_stop_the_rest(workers):
    results = list(parallel(square_and_place, range(40), workers=workers))

    assert [r.reason for r in results if isinstance(r, Failure)] == [
        'ValueError: unlucky', 'SystemExit: a script that gives up',
    ]  # fmt: skip
    good = [r for r in results if not isinstance(r, Failure)]
    assert [value for value, _ in good] == [i * i for i in range(40) if i not in (13, 14)]
    others = {place for _, place in good} - {os.getpid()}
    assert bool(others) is (workers > 1)


def passes_over_interrupts(_: int) -> bool:
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_ctrl_c_is_answered_by_the_first_process_alone():
    assert all(parallel(passes_over_interrupts, range(20), workers=2))
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def test_the_bar_is_one_line_where_nobody_watches(capsys):
    assert list(bar(iter('abc'), 3, 'letters')) == list('abc')

    assert capsys.readouterr().err.startswith('letters: 3 in 0.')


def test_the_bar_is_drawn_in_place_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)

    list(bar(range(2), 2, 'x'))

    text = capsys.readouterr().err
    assert '\r' in text
    assert 'x: 100%' in text
    assert '2/2' in text
