import re
import runpy

import pytest
import torch
from helpers.run_tool import TOOLS, run_tool
from helpers.tiny_config import write_tiny_config
from torch import nn


def test_table_of_parts(tmp_path):
    status, text = run_tool('get_flops', write_tiny_config(tmp_path), '--shape', 64)
    assert status == 0, text
    assert 'Input: 1 x 3 x 64 x 64' in text
    whole, backbone = (
        float(re.search(rf'\| {name} +\| +([\d.]+)', text)[1]) for name in ('whole', 'backbone')
    )
    assert whole > backbone > 0


def test_operations_of_one_convolution_are_twice_its_macs():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)

        def forward(self, x, mode):
            return self.conv(x)

    count = runpy.run_path(str(TOOLS / 'get_flops.py'))['count']
    flops = count(Net(), [10, 12])
    assert flops['conv'] == flops['Global'] == 2 * 10 * 12 * 8 * 27


def test_a_wide_convolution_counts_as_what_it_is_said_to_take():
    """On a CPU it takes a quarter of that."""
    from segkit.models.layers import build_conv

    net = nn.Module()
    net.conv = build_conv(None, 512, 512, 3, padding=1, bias=False)
    net.forward = lambda x, mode: net.conv(x[:, :1].repeat(1, 512, 1, 1))
    image = torch.ones(1, 512, 24, 24)
    with torch.no_grad():
        assert not torch.equal(
            net.conv(image), nn.functional.conv2d(image, net.conv.weight, None, 1, 1)
        )
    count = runpy.run_path(str(TOOLS / 'get_flops.py'))['count']
    assert count(net, [24, 24])['Global'] == 2 * 24 * 24 * 512 * 512 * 9


def test_point_wise_attention_is_counted():
    """A mask that reaches everything: L * L logits of C products, and as many sums of values."""
    from torch.utils.flop_counter import FlopCounterMode

    from segkit.ops import psa_attention

    own = runpy.run_path(str(TOOLS / 'get_flops.py'))['own_operators']()
    value, feat, weight = torch.randn(1, 3, 4, 5), torch.randn(1, 6, 4, 5), torch.randn(63, 6)
    with FlopCounterMode(display=False, custom_mapping=own) as counter:
        psa_attention(value, feat, weight, 'collect', (7, 9))
    assert counter.get_total_flops() == 2 * 20 * 20 * (6 + 3)


@pytest.mark.parametrize(('size', 'mask'), [((5, 7), (3, 5)), ((5, 7), (4, 6)), ((3, 3), (2, 1))])
def test_logits_are_counted_where_the_mask_holds_them(size, mask):
    from segkit.ops import psa_mask

    count = runpy.run_path(str(TOOLS / 'get_flops.py'))['pairs']
    held = psa_mask(torch.ones(1, mask[0] * mask[1], *size), 'collect', mask)
    assert count(size[0], mask[0]) * count(size[1], mask[1]) == int(held.sum())
