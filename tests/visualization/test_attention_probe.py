"""Attention maps read from a head must be those that make its output."""

import pytest
import torch
from torch import nn

from segkit.models.decode_heads import DAHead, FCNHead, ISAHead, PSAHead
from segkit.ops import psa_attention
from segkit.visualization.attention_probe import NoAttentionError, probe

COMMON = {
    'in_channels': 6,
    'channels': 4,
    'num_classes': 3,
    'in_index': 0,
    'dropout_ratio': 0.0,
    'norm_cfg': None,
}


def all_points(h: int, w: int) -> list[tuple[float, float]]:
    """The middle of every cell of a grid, row by row."""
    return [((i + 0.5) / h, (j + 0.5) / w) for i in range(h) for j in range(w)]


def run(head: nn.Module, size: tuple[int, int], points: list) -> dict[str, torch.Tensor]:
    """Kind of attention -> (points, h * w)."""
    torch.manual_seed(1)
    head.eval()
    with probe(head) as read, torch.no_grad():
        head([torch.randn(1, 6, *size)])
        return {name: torch.stack(rows).flatten(1) for name, rows in read(points).items()}


@pytest.mark.parametrize('psa_type', ['collect', 'distribute', 'bi-direction'])
def test_psa_maps_make_the_output_of_the_operator(psa_type):
    torch.manual_seed(0)
    head = PSAHead(mask_size=(5, 7), psa_type=psa_type, shrink_factor=2, **COMMON)
    h, w = 4, 5
    seen = {}
    layers = {'collect': head.attention, 'distribute': getattr(head, 'attention_p', head.attention)}
    names = ['collect', 'distribute'] if psa_type == 'bi-direction' else [psa_type]
    for name in names:
        layers[name][0].register_forward_hook(
            lambda _, args, out, name=name: seen.update({name: (args[0], out)})
        )
    maps = run(head, (2 * h, 2 * w), all_points(h, w))
    assert list(maps) == names
    for name in names:
        x, feat = seen[name]
        expected = psa_attention(x, feat, layers[name][1].weight, name, (5, 7))[0].flatten(1)
        attention = maps[name].t() if name == 'collect' else maps[name]
        torch.testing.assert_close(x[0].flatten(1) @ attention, expected.detach())


def test_compact_psa_maps_sum_to_one():
    head = PSAHead(mask_size=(4, 5), psa_type='bi-direction', compact=True, **COMMON)
    maps = run(head, (8, 10), all_points(4, 5))
    torch.testing.assert_close(maps['collect'].sum(1), torch.ones(20))
    torch.testing.assert_close(maps['distribute'].sum(0), torch.ones(20))


def test_position_attention_makes_the_output_of_pam():
    torch.manual_seed(0)
    head = DAHead(pam_channels=3, **COMMON)
    nn.init.ones_(head.pam.gamma.scale)
    seen = []
    head.pam.register_forward_hook(lambda _, args, out: seen.append((args[0], out)))
    maps = run(head, (4, 5), all_points(4, 5))['position']
    x, out = seen[0]
    value = head.pam.value_project(x)[0].flatten(1)
    torch.testing.assert_close(value @ maps.t(), (out - x)[0].flatten(1))


def test_interlaced_attention_makes_the_output_of_both_steps():
    torch.manual_seed(0)
    head = ISAHead(isa_channels=3, down_factor=(2, 3), **COMMON)
    for block in (head.global_relation, head.local_relation):
        block.value_project = block.output_project = nn.Identity()
    seen = []
    head.in_conv.register_forward_hook(lambda _, args, out: seen.append(out))
    maps = run(head, (6, 6), all_points(6, 6))['interlaced']
    expected = head._attend(seen[0])[0].flatten(1)
    torch.testing.assert_close(seen[0][0].flatten(1) @ maps.t(), expected.detach())


def test_interlaced_maps_cover_a_picture_that_was_padded():
    head = ISAHead(isa_channels=3, down_factor=(4, 4), **COMMON)
    maps = run(head, (5, 6), all_points(5, 6))['interlaced']
    assert maps.shape == (30, 30)
    assert ((maps.sum(1) > 0) & (maps.sum(1) <= 1 + 1e-5)).all()


def test_a_head_without_attention_says_which_have_one():
    missing = pytest.raises(NoAttentionError, match='FCNHead has no attention.*PSAHead, DAHead')
    with missing, probe(FCNHead(**COMMON)):
        pass
