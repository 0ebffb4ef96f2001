"""One thread a test process: several processes with several threads each wait for one another."""

import os
from collections.abc import Iterator

import pytest

import segkit  # noqa: F401  (before any test imports mmengine: see segkit/compat.py)

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('MKL_NUM_THREADS', '1')


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
