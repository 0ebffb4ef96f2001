"""What the sweeps sweep over is found, and nothing that a test made is taken for the package's."""

import inspect

import pytest
from helpers import found

from segkit.registry import MODELS

KINDS = [kind for kind in found.MINIMUM if ' ' not in kind]


@pytest.mark.parametrize('kind', KINDS)
def test_a_kind_is_found_and_named(kind):
    things = getattr(found, kind)()
    assert len(things) >= found.MINIMUM[kind] >= 1
    assert list(things) == sorted(things)
    assert kind in found.__doc__.split()


def test_fewer_than_the_minimum_is_a_failure(monkeypatch):
    monkeypatch.setitem(found.MINIMUM, 'heads', 99)
    with pytest.raises(AssertionError, match='at least 99 wanted: .*PSAHead'):
        found.heads()


def test_what_a_test_registers_is_left_out():
    made = type('TemporaryHead', (found.heads()['FCNHead'],), {'__module__': 'some_test'})
    MODELS.register_module(module=made)
    try:
        assert 'TemporaryHead' not in found.heads()
    finally:
        MODELS.module_dict.pop('TemporaryHead')


def test_inherited_transforms_are_mmcvs_and_ours():
    everything = found.transforms(inherited=True)
    assert everything.items() >= found.transforms().items()
    assert 'Resize' in everything


def test_the_kinds_of_models_leave_nothing_out():
    kinds = [found.heads, found.backbones, found.losses, found.segmentors, found.preprocessors]
    sorted_in = [name for kind in kinds for name in kind()]
    held = [name for name, cls in found.registered('MODELS').items() if inspect.isclass(cls)]
    assert sorted(sorted_in) == sorted(held)


def test_a_reader_is_found_by_what_it_calls():
    assert any('safe_pickle.py' in name for name in found.readers())
    assert not any(name.endswith(':weighted_loss') for name in found.readers())
