"""How many operations attention issues on a device, where each is a launch."""

import pytest
import torch
from helpers.operations import Operations

from segkit.ops import psa_softmax
from segkit.ops.psa_grouped_passes import grouped_forward

MASKS = ((193, 193), (97, 97), (24, 25))  # all in reach, truncated, the closed form


def inputs_of(n, side, mask, dtype=torch.float32):
    shapes = (n, 512, side, side), (n, 512, side, side), (mask[0] * mask[1], 512)
    return [torch.empty(shape, device='meta', dtype=dtype) for shape in shapes]


@pytest.mark.parametrize('n', [1, 2])
@pytest.mark.parametrize('softmax', [True, False], ids=['softmax', 'plain'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize('mask', MASKS, ids=str)
@pytest.mark.parametrize('collect', [True, False], ids=['collect', 'distribute'])
def test_attention_of_a_large_map_is_few_operations(collect, mask, dtype, softmax, n):
    inputs = inputs_of(n, 97, mask, dtype)
    with Operations() as forward, torch.no_grad():
        out, lse, kept = psa_softmax.attend(*inputs, collect, *mask, softmax, False)
    assert out.shape == inputs[0].shape
    assert {'mm', 'bmm'} <= set(forward.issued)  # the counter saw the inside
    assert forward.issued.total() <= 120
    with Operations() as backward, torch.no_grad():
        psa_softmax.attend_backward(out, *inputs, out, lse, kept, collect, *mask, softmax)
    assert backward.issued.total() <= 150


@pytest.mark.parametrize('collect', [True, False], ids=['collect', 'distribute'])
def test_the_grouped_form_is_fewer_still(collect):
    with Operations() as forward, torch.no_grad():
        grouped_forward(*inputs_of(2, 97, (97, 97)), collect, (97, 97))
    assert forward.issued['bmm'] == 2
    assert forward.issued.total() <= 30
