"""Starting a script."""

import gc

import pytest

from segkit.engine.launch import starting_up


def test_the_collector_rests_while_starting_and_works_afterwards():
    with starting_up():
        assert not gc.isenabled()

    assert gc.isenabled()


def test_what_the_start_made_is_never_looked_at_again():
    before = gc.get_freeze_count()
    try:
        with starting_up():
            made = [object() for _ in range(3)]
        frozen = gc.get_freeze_count()
    finally:
        gc.unfreeze()

    assert frozen > before
    assert len(made) == 3


def test_the_collector_works_after_a_start_that_failed():
    with pytest.raises(ValueError, match='no such config'), starting_up():
        raise ValueError('no such config')

    assert gc.isenabled()
