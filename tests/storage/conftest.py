from collections.abc import Iterator

import pytest
from helpers.object_store import Store, forget_connections, s3_server


@pytest.fixture(scope='module')
def _server() -> Iterator[Store]:
    with s3_server() as store:
        yield store


@pytest.fixture
def store(_server: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An S3 server without faults or requests so far; pauses between tries are short."""
    from segkit.storage import stores

    monkeypatch.setattr(stores, '_PAUSE', 0.01)
    _server.faults.clear()
    _server.requests.clear()
    forget_connections()
    yield _server
    forget_connections()
