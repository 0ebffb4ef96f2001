"""conv_cat_upsampled against the upsampling, concatenation and convolution written out."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segkit.ops import conv_cat_upsampled, gemm
from segkit.ops.conv_cat_upsampled import product_nt, shifted_interpolation

CASES = {
    'half': ((9, 11), [(5, 6)]),
    'pooled': ((9, 11), [(1, 1), (2, 2), (3, 3), (6, 6)]),
    'uneven': ((7, 12), [(3, 10), (6, 1)]),
    'grown ring': ((9, 9), [(5, 5), (11, 11)]),  # one low map is larger than the output
    'no low map': ((4, 5), []),
}


def make_case(size, lows, n=2, dtype=torch.float64, bias=True):
    torch.manual_seed(0)
    conv = nn.Conv2d(4 + 3 * len(lows), 5, 3, padding=1, bias=bias).to(dtype)
    x = torch.randn(n, 4, *size, dtype=dtype, requires_grad=True)
    maps = [torch.randn(n, 3, *low, dtype=dtype, requires_grad=True) for low in lows]
    return conv, x, maps


def written_out(conv, x, lows, size, align_corners):
    wide = [F.interpolate(m, size, mode='bilinear', align_corners=align_corners) for m in lows]
    return conv(torch.cat([x, *wide], dim=1))


@pytest.mark.parametrize('n', [1, 2])
@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize('name', CASES)
def test_values_and_all_gradients(name, align_corners, n):
    size, lows = CASES[name]
    conv, x, maps = make_case(size, lows, n)
    out = conv_cat_upsampled(conv, x, maps, size, align_corners)
    expected = written_out(conv, x, maps, size, align_corners)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    grad, leaves = torch.randn_like(out), [x, *maps, *conv.parameters()]
    right = torch.autograd.grad(expected, leaves, grad)
    for got, wanted in zip(torch.autograd.grad(out, leaves, grad), right):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-11)


@pytest.mark.parametrize('name', CASES)
def test_low_maps_before_the_full_one(name):
    size, lows = CASES[name]
    conv, x, maps = make_case(size, lows)
    out = conv_cat_upsampled(conv, x, maps, size, True, lows_first=True)
    wide = [F.interpolate(m, size, mode='bilinear', align_corners=True) for m in maps]
    torch.testing.assert_close(out, conv(torch.cat([*wide, x], dim=1)), rtol=0, atol=1e-12)


@pytest.mark.parametrize('fast', [True, False])
def test_single_precision_through_either_product(fast, monkeypatch):
    monkeypatch.setattr(gemm, 'has_inner_product', lambda: fast)
    conv, x, maps = make_case((12, 14), [(6, 7), (2, 2)], dtype=torch.float32, bias=False)
    out = conv_cat_upsampled(conv, x, maps, (12, 14), False)
    expected = written_out(conv, x, maps, (12, 14), False)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    leaves = [x, *maps, conv.weight]
    right = torch.autograd.grad(expected.square().sum(), leaves)
    for got, wanted in zip(torch.autograd.grad(out.square().sum(), leaves), right):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_autocast():
    conv, x, maps = make_case((8, 8), [(4, 4)], dtype=torch.float32)
    exact = written_out(conv, x, maps, (8, 8), True)
    with torch.autocast('cpu', torch.bfloat16):
        out = conv_cat_upsampled(conv, x, maps, (8, 8), True)
        theirs = written_out(conv, x, maps, (8, 8), True)
    assert out.dtype == torch.bfloat16
    assert (out - exact).abs().max() <= 2 * (theirs - exact).abs().max()


def test_derivatives_of_the_product():
    left, right = torch.randn(3, 4, requires_grad=True), torch.randn(2, 4, requires_grad=True)
    out = product_nt(left, right)
    torch.testing.assert_close(out, left @ right.t())
    grad = torch.autograd.grad(out.pow(2).sum(), (left, right), create_graph=True)
    expected = 2 * out @ right, 2 * out.t() @ left
    torch.testing.assert_close(grad, expected)
    (second,) = torch.autograd.grad(grad[0].sum(), left)
    whole = torch.func.grad(lambda a: product_nt(a, right.detach()).pow(2).sum())(left.detach())
    torch.testing.assert_close(whole, expected[0].detach())
    torch.testing.assert_close(second, (2 * right.t() @ right).sum(0).expand(3, 4))


def test_compiles_and_exports():
    conv, x, maps = make_case((8, 10), [(4, 5)], dtype=torch.float32)

    class Fuse(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv

        def forward(self, x, low):
            return conv_cat_upsampled(self.conv, x, [low], x.shape[2:], False)

    expected = written_out(conv, x, maps, (8, 10), False)
    compiled = torch.compile(Fuse(), fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(x, *maps), expected, rtol=1e-5, atol=1e-5)
    program = torch.export.export(Fuse(), (x, *maps))
    assert not [node for node in program.graph.nodes if 'segkit' in str(node.target)]
    torch.testing.assert_close(program.module()(x, *maps), expected, rtol=1e-5, atol=1e-5)


def test_matrix_of_two_pixels_by_eye():
    matrix = shifted_interpolation(2, 3, True, torch.zeros(1))
    assert matrix.tolist() == [
        [0, 0, 1, 0, 0.5, 0.5],  # above the first row there is padding
        [1, 0, 0.5, 0.5, 0, 1],
        [0.5, 0.5, 0, 1, 0, 0],
    ]


def test_bad_input_is_named():
    conv, x, maps = make_case((8, 8), [(4, 4)])
    with pytest.raises(ValueError, match=r'stride=\(1, 1\), got stride=\(2, 2\)'):
        conv_cat_upsampled(nn.Conv2d(7, 5, 3, stride=2, padding=1), x, maps, (8, 8))
    with pytest.raises(ValueError, match=r'takes 7 channels, but .* have 4 = 4'):
        conv_cat_upsampled(conv, x, [], (8, 8))
    with pytest.raises(ValueError, match='x must already have the output size'):
        conv_cat_upsampled(conv, x, maps, (16, 16))
