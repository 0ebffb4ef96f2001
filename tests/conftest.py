"""One thread a test process: several processes with several threads each wait for one another."""

import os
import signal
import sys
from collections.abc import Iterator

import pytest

import segkit  # noqa: F401  (before any test imports mmengine: see segkit/compat.py)
from segkit.engine import stops

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('MKL_NUM_THREADS', '1')
HANDLERS = {number: signal.getsignal(number) for number in (*stops.SIGNALS, signal.SIGINT)}


@pytest.fixture(autouse=True, scope='session')
def own_state_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Lists of written files (segkit/outputs.py) outside of the user's own."""
    os.environ['XDG_STATE_HOME'] = str(tmp_path_factory.mktemp('state'))


@pytest.fixture(autouse=True)
def environment_restored() -> Iterator[None]:
    """What a test, or the code under test, sets in the environment ends with the test."""
    before = dict(os.environ)
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(autouse=True)
def signals_restored() -> Iterator[None]:
    """A tool hears signals until its process has ended, and tests run tools in theirs."""
    yield
    for number, handler in HANDLERS.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)
    stops._Stop.asked, stops._Stop.training, stops._Stop.tool = None, False, False
    stops._Stop.previous, stops._Stop.begun = {}, False


@pytest.fixture(autouse=True)
def determinism_restored() -> Iterator[None]:
    """A deterministic run sets it for its process, where later tests would train in other bits."""
    yield
    torch = sys.modules.get('torch')
    if torch is not None and torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = False
