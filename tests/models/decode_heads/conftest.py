"""Maps here are small: heads would write joins out, but join them here as they do large ones."""

import pytest

from segkit.models import layers


@pytest.fixture(autouse=True)
def joins_of_large_maps(monkeypatch):
    monkeypatch.setattr(layers, 'LEAST_SPARED', 0)
