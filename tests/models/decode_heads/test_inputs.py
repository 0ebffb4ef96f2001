"""What a head may be given as maps: a list, a dict by name, one tensor; the rest by a sentence."""

import pytest
import torch
from helpers import found
from helpers.heads import SMALL, samples_of

OWN = {
    'PSAHead': {'mask_size': (3, 3)},
    'DAHead': {'pam_channels': 2},
    'ISAHead': {'isa_channels': 2, 'down_factor': (2, 2)},
    'DepthwiseSeparableASPPHead': {'c1_in_channels': 0},
}
HEADS = sorted(found.heads())


def build(name, **kwargs):
    torch.manual_seed(0)
    return found.heads()[name](**{**SMALL, **OWN.get(name, {}), **kwargs}).eval()


@pytest.fixture
def x():
    torch.manual_seed(1)
    return torch.randn(2, 16, 6, 7)


@torch.no_grad()
@pytest.mark.parametrize('name', HEADS)
def test_a_tensor_is_the_only_map_and_a_dict_is_taken_by_name(name, x):
    want = build(name)([x])
    other = torch.zeros(2, 3, 9, 9)
    assert torch.equal(build(name)(x), want)
    assert torch.equal(build(name, in_index=3)(x), want)
    assert torch.equal(build(name, in_index='out')(x), want)
    assert torch.equal(build(name, in_index=1)([other, x, other]), want)
    assert torch.equal(build(name, in_index='out')({'aux': other, 'out': x}), want)
    labels = samples_of(torch.zeros(2, 12, 14, dtype=torch.uint8))
    losses = [build(name).loss(maps, labels) for maps in ([x], x)]
    assert all(torch.equal(losses[0][key], losses[1][key]) for key in losses[0])


@pytest.mark.parametrize('name', HEADS)
@pytest.mark.parametrize(
    ('in_index', 'given', 'said'),
    [
        (-1, {'aux': 0, 'out': 0}, r"in_index=-1 cannot .* those named \['aux', 'out'\]"),
        ('last', {'out': 0}, r"in_index='last' cannot .* those named \['out'\]"),
        (3, [0, 0], r'in_index=3 cannot .* 2 of them'),
        ('out', (0, 0), r"in_index='out' cannot .* 2 of them"),
    ],
)
def test_maps_that_in_index_does_not_choose_from_are_refused(name, in_index, given, said, x):
    maps = dict.fromkeys(given, x) if isinstance(given, dict) else [x for _ in given]
    with pytest.raises(ValueError, match=f'{name}: {said}.*list of maps'):
        build(name, in_index=in_index)(maps)


@torch.no_grad()
def test_several_maps_are_never_one_tensor(x):
    joined = {'in_channels': [16, 16], 'input_transform': 'resize_concat'}
    head = build('FCNHead', **joined, in_index=['a', 'b'])
    want = build('FCNHead', **joined, in_index=[0, 1])([x, 2 * x])
    assert torch.equal(head({'b': 2 * x, 'a': x}), want)
    with pytest.raises(ValueError, match=r"in_index=\['a', 'b'\] cannot .* one tensor"):
        head(x)
