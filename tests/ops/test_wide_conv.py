"""Products of ours are nodes of compiled networks without gradients, and of no other program."""

import pytest
import torch
from torch import nn

from segkit.models.layers import WideConv2d
from segkit.ops import far_taps, wide_conv, winograd

OPS = torch.ops.segkit
# the operator, dilation, a side of the map
WAYS = [('winograd', 1, 32), ('winograd', 2, 32), ('far_taps', 24, 32)]


@pytest.fixture(autouse=True)
def _narrow_ones_too(monkeypatch):
    monkeypatch.setattr(wide_conv, 'LEAST_PAIRS', 1)
    torch._dynamo.reset()


def case(dilation: int, side: int) -> tuple[WideConv2d, torch.Tensor]:
    torch.manual_seed(0)
    conv = WideConv2d(6, 5, 3, padding=dilation, dilation=dilation)
    return conv, torch.randn(1, 6, side, side)


def compiled(conv: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, str]:
    graphs = []

    def keep(module, example_inputs):
        graphs.append(str(module.graph))
        return module.forward

    return torch.compile(conv, fullgraph=True, backend=keep)(x), ''.join(graphs)


@pytest.mark.parametrize('turned', [False, True])
@pytest.mark.parametrize('ways', [winograd.ways, far_taps.ways])
def test_operators_keep_their_promises(ways, turned):
    conv, x = case(24, 32) if ways is far_taps.ways else case(2, 32)
    x = torch.randn(1, 5, 32, 32) if turned else x
    name = 'far_taps' if ways is far_taps.ways else 'winograd'
    weight = conv.weight.detach()
    torch.library.opcheck(getattr(OPS, name).default, (x, weight, conv.dilation[0], turned))


@pytest.mark.parametrize(('name', 'dilation', 'side'), WAYS)
def test_compiled_without_gradients_they_are_used(name, dilation, side):
    conv, x = case(dilation, side)
    expected = nn.Conv2d.forward(conv.double(), x.double()).float()
    conv.float()
    with torch.no_grad():
        out, graph = compiled(conv, x)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    assert f'segkit.{name}' in graph


@pytest.mark.parametrize(('name', 'dilation', 'side'), WAYS)
def test_compiled_with_gradients_or_exported_it_is_a_convolution(name, dilation, side):
    conv, x = case(dilation, side)
    out, graph = compiled(conv, x)
    (grad,) = torch.autograd.grad(out.pow(2).sum(), conv.weight)
    (right,) = torch.autograd.grad(nn.Conv2d.forward(conv, x).pow(2).sum(), conv.weight)
    torch.testing.assert_close(grad, right, rtol=1e-4, atol=1e-4)
    program = torch.export.export(conv.eval(), (x,))
    for text in (graph, str(program.graph)):
        assert 'segkit' not in text
        assert 'conv2d' in text


def test_compiled_in_half_precision_it_is_a_convolution():
    conv, x = case(2, 32)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        out, graph = compiled(conv, x)
    assert out.dtype == torch.bfloat16
    assert 'segkit' not in graph
