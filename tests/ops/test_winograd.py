"""Convolutions in fewer multiplications are those of torch, in values, gradients and their own."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segkit.models.layers import ConvModule, WideConv2d, build_conv
from segkit.ops import conv_cat_upsampled, wide_conv, winograd

# images, inputs, outputs, height, width, dilation
SHAPES = [
    (1, 3, 4, 4, 4, 1),
    (2, 8, 6, 7, 9, 1),
    (2, 8, 6, 8, 8, 2),
    (2, 5, 7, 13, 11, 4),  # two rows of tiles a remainder, most of the second outside
    (1, 3, 4, 2, 3, 4),  # smaller than a tile
    (1, 300, 150, 65, 33, 1),  # several bands and runs of channels
    (3, 2, 2, 40, 70, 3),
]


def conv2d(x, weight, bias, dilation=1):
    return wide_conv.conv2d(x, weight, bias, dilation, winograd.ways(x, weight, dilation))


def inputs_of(n, channels, count, height, width, dtype=torch.float32):
    torch.manual_seed(0)
    x = torch.randn(n, channels, height, width, dtype=dtype, requires_grad=True)
    return x, torch.randn(count, channels, 3, 3, dtype=dtype, requires_grad=True)


def always(monkeypatch):
    monkeypatch.setattr(wide_conv, 'LEAST_PAIRS', 1)
    monkeypatch.setattr(wide_conv, 'LEAST_PIXELS', 1)
    monkeypatch.setattr(winograd, 'MOST_WHOLE', 1e9)


def off_by(got, want):
    return ((got.double() - want).norm() / want.norm()).item()


@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_values_and_gradients_are_those_of_float64(shape, monkeypatch):
    always(monkeypatch)
    *sizes, dilation = shape
    x, weight = inputs_of(*sizes)
    bias = torch.randn(sizes[2], requires_grad=True)
    exact = [t.detach().double().requires_grad_() for t in (x, weight, bias)]
    out = conv2d(x, weight, bias, dilation)
    want = F.conv2d(*exact, padding=dilation, dilation=dilation)
    upstream = torch.randn_like(out)
    got = torch.autograd.grad(out, (x, weight, bias), upstream)
    for a, b in zip((out, *got), (want, *torch.autograd.grad(want, exact, upstream.double()))):
        assert off_by(a, b) < 2e-6


def test_many_channels_are_as_near_to_float64_as_float32_allows():
    """An outlier would show in the largest error, a bad matrix in the mean one."""
    torch.manual_seed(0)
    x, weight = torch.randn(1, 1024, 32, 32).relu(), torch.randn(512, 1024, 3, 3) / 96
    want = F.conv2d(x.double(), weight.double(), padding=1)
    out = conv2d(x, weight, None)
    assert winograd.ways(x, weight, 1)
    assert not torch.equal(out, F.conv2d(x, weight, padding=1))
    assert off_by(out, want) < 2e-6
    assert (out.double() - want).abs().max() < 5e-6 * want.abs().max()
    assert torch.equal(out, conv2d(x, weight, None))


def test_gradients_have_gradients(monkeypatch):
    always(monkeypatch)
    monkeypatch.setattr(winograd, 'takes', lambda *_: True)
    for name in 'AGB':
        monkeypatch.setattr(winograd, name, getattr(winograd, name).double())
    x, weight = inputs_of(1, 2, 3, 5, 6, torch.float64)

    def call(x, weight):
        return conv2d(x, weight, None, 2)

    # The matrices were rounded to float32, so that values are off by as much.
    assert torch.autograd.gradcheck(call, (x, weight), atol=1e-5)
    assert torch.autograd.gradgradcheck(call, (x, weight), atol=1e-4)


def test_only_what_asks_for_a_gradient_gets_one(monkeypatch):
    always(monkeypatch)
    x, weight = inputs_of(1, 2, 3, 8, 8)
    (dx,) = torch.autograd.grad(conv2d(x, weight.detach(), None).sum(), x)
    (dw,) = torch.autograd.grad(conv2d(x.detach(), weight, None).sum(), weight)
    assert dx.shape == x.shape
    assert dw.shape == weight.shape
    assert not conv2d(x.detach(), weight.detach(), None).requires_grad


X, WEIGHT = torch.randn(1, 512, 32, 32), torch.randn(512, 512, 3, 3)
PLAIN = {
    'it pays': (X, WEIGHT, 1, True),
    'dilated': (X, WEIGHT, 4, True),
    'half precision': (X.bfloat16(), WEIGHT.bfloat16(), 1, False),
    'float64': (X.double(), WEIGHT.double(), 1, False),
    'channels last': (X.to(memory_format=torch.channels_last), WEIGHT, 1, False),
    'another device': (X.to('meta'), WEIGHT.to('meta'), 1, False),
    'few channels': (X, WEIGHT[:256], 1, False),
    'few pixels': (X[..., :16, :16], WEIGHT, 1, False),
    'mostly outside': (X[..., :17].contiguous(), WEIGHT, 16, False),
    'no batch': (X[0], WEIGHT, 1, False),
    '1x1': (X, WEIGHT[..., :1, :1], 1, False),
}


@pytest.mark.parametrize('case', PLAIN)
def test_where_it_does_not_pay_torch_convolves(case):
    x, weight, dilation, pays = PLAIN[case]
    found = winograd.ways(x, weight, dilation)
    assert found == ((winograd.convolve, winograd.by_filters, winograd.operator) if pays else None)


def test_autocast_and_exporters_get_the_plain_convolution():
    with torch.autocast('cpu', torch.bfloat16):
        assert winograd.ways(X, WEIGHT, 1) is None
        assert build_conv(None, 512, 512, 3, padding=1)(X).dtype == torch.bfloat16
    conv = build_conv(None, 512, 512, 3, padding=1)
    program = torch.export.export(conv, (X,))
    assert [n.target for n in program.graph.nodes if n.op == 'call_function'] == [
        torch.ops.aten.conv2d.default
    ]


def test_wide_convolutions_of_a_network_are_these():
    wide = {'padding': 2, 'dilation': 2}
    assert type(build_conv(None, 512, 512, 3, **wide)) is WideConv2d
    assert type(build_conv({'type': 'Conv'}, 512, 512, (3, 3), stride=(1, 1))) is WideConv2d
    others = [(256, 512, 3, {}), (512, 512, 1, {}), (512, 512, 3, {'stride': 2})]
    for before, after, size, more in others:
        assert type(build_conv(None, before, after, size, **more)) is nn.Conv2d
    assert type(ConvModule(2048, 512, 3, padding=1).conv) is WideConv2d


@pytest.mark.parametrize(
    'more', [{'padding': 0}, {'padding': 1, 'padding_mode': 'reflect'}, {'padding': 1, 'groups': 2}]
)
def test_another_kind_of_convolution_is_left_alone(more):
    conv = build_conv(None, 512, 512, 3, **more)
    plain = nn.Conv2d(512, 512, 3, **more)
    plain.load_state_dict(conv.state_dict())
    with torch.no_grad():
        assert torch.equal(conv(X), plain(X))


def test_a_layer_is_the_plain_layer_to_rounding():
    conv = build_conv(None, 512, 512, 3, padding=4, dilation=4)
    with torch.no_grad():
        want = F.conv2d(X, conv.weight, conv.bias, padding=4, dilation=4)
        got = conv(X)
    assert not torch.equal(got, want)
    assert off_by(got, want.double()) < 3e-6


def test_so_is_the_convolution_of_upsampled_maps():
    conv = nn.Conv2d(512 + 8, 512, 3, padding=1)
    low = torch.randn(1, 8, 3, 3)
    with torch.no_grad():
        got = conv_cat_upsampled(conv, X, [low], (32, 32))
        wide = F.interpolate(low, (32, 32), mode='bilinear')
        want = conv.double()(torch.cat([X, wide], 1).double())
    assert off_by(got, want) < 3e-6
