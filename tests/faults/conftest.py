"""Faults are tests that also fill the table of docs/reliability.md.

``SEGKIT_SOAK_KILLS`` raises the number of kills and writes the table anew.
"""

import csv
import os
import random
from pathlib import Path

import pytest
from helpers.fault_child import complete
from helpers.reliability import COLUMNS, CSV, PAGE, page, rows

_rows: list[tuple] = []
KILLS = int(os.environ.get('SEGKIT_SOAK_KILLS', 0))


@pytest.fixture
def record():
    """record(fault, trials, recovered, outcome): one row of the table."""

    def add(fault: str, trials: int, recovered: int, outcome: str) -> None:
        _rows.append((fault, trials, recovered, outcome))
        assert recovered == trials

    return add


@pytest.fixture
def kills() -> int:
    """How often to kill: 25 times in CI, several hundred in a soak."""
    return KILLS or 25


@pytest.fixture
def trials() -> int:
    """How often to try a fault other than SIGKILL: one kill in fifty."""
    return max(2, KILLS // 50)


@pytest.fixture
def chance() -> random.Random:
    """Random instants, different each time; the seed is printed with a failure."""
    seed = int(os.environ.get('SEGKIT_FAULT_SEED', random.SystemRandom().randrange(10**6)))
    print(f'SEGKIT_FAULT_SEED={seed}')
    return random.Random(seed)


@pytest.fixture(scope='session')
def reference(tmp_path_factory):
    """Final checkpoint of a run that nothing happened to, and the seconds it took."""
    from helpers.fault_child import Training

    folder = tmp_path_factory.mktemp('reference') / 'run'
    complete(folder)
    again = Training(folder.with_name('timed'))
    again.wait()
    return Path(folder / 'iter_8.pth'), again.seconds


def pytest_sessionfinish(session) -> None:
    if not (KILLS and _rows) or session.testsfailed:
        return
    measured = {row[0]: row for row in [*rows(), *_rows]}
    with open(CSV, 'w', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerows([COLUMNS, *(measured[fault] for fault in sorted(measured))])
    PAGE.write_text(page())
