import pytest
from helpers.checks import SIZES
from helpers.make_data import write_dataset


@pytest.fixture
def root(tmp_path) -> str:
    """A dataset of three pairs whose labels hold classes 0 to 4 and 255."""
    return write_dataset(tmp_path, SIZES)
