"""Dilated convolutions without the taps outside of the map are those of torch."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from segkit.models.layers import build_conv
from segkit.ops import far_taps, wide_conv, winograd

# images, inputs, outputs, height, width, dilation
SHAPES = [
    (2, 3, 4, 4, 4, 2),
    (2, 8, 6, 8, 8, 4),
    (1, 5, 7, 13, 6, 5),
    (2, 3, 4, 5, 9, 6),  # taps of other rows meet nothing
    (1, 3, 2, 3, 3, 3),  # only the centre meets anything
]
WIDE, WEIGHT = torch.randn(2, 512, 16, 16), torch.randn(512, 512, 3, 3) / 70


def always(monkeypatch):
    monkeypatch.setattr(wide_conv, 'LEAST_PAIRS', 1)
    monkeypatch.setattr(wide_conv, 'LEAST_PIXELS', 1)
    monkeypatch.setattr(far_taps, 'OUTPUTS', 4)  # several runs of them, the last a shorter one
    monkeypatch.setattr(far_taps, 'MOST_INSIDE', 1)
    monkeypatch.setattr(far_taps, 'MOST_INSIDE_BY_FILTERS', 1)


def conv2d(x, weight, bias, dilation):
    return wide_conv.conv2d(x, weight, bias, dilation, far_taps.ways(x, weight, dilation))


def inputs_of(n, channels, count, height, width, dtype=torch.float32):
    torch.manual_seed(0)
    x = torch.randn(n, channels, height, width, dtype=dtype, requires_grad=True)
    return x, torch.randn(count, channels, 3, 3, dtype=dtype, requires_grad=True)


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
    found = far_taps.ways(x, weight, dilation)
    assert found[:2] == (far_taps.convolve, far_taps.by_filters)
    for a, b in zip((out, *got), (want, *torch.autograd.grad(want, exact, upstream.double()))):
        assert (a.double() - b).norm() <= 1e-6 * b.norm()


def test_gradients_have_gradients(monkeypatch):
    always(monkeypatch)
    monkeypatch.setattr(far_taps, 'takes', lambda *_: True)
    args = inputs_of(1, 2, 3, 5, 4, torch.float64)

    def call(x, weight):
        return conv2d(x, weight, None, 3)

    assert torch.autograd.gradcheck(call, args)
    assert torch.autograd.gradgradcheck(call, args)


def test_only_what_asks_for_a_gradient_gets_one(monkeypatch):
    always(monkeypatch)
    x, weight = inputs_of(1, 2, 3, 4, 4)
    (dx,) = torch.autograd.grad(conv2d(x, weight.detach(), None, 2).sum(), x)
    (dw,) = torch.autograd.grad(conv2d(x.detach(), weight, None, 2).sum(), weight)
    assert (dx.shape, dw.shape) == (x.shape, weight.shape)
    assert not conv2d(x.detach(), weight.detach(), None, 2).requires_grad


@pytest.mark.parametrize(('height', 'width', 'dilation'), [(8, 8, 4), (16, 9, 12), (64, 64, 24)])
def test_the_share_inside_is_what_is_multiplied(height, width, dilation):
    x, weight = torch.zeros(1, 2, height, width), torch.zeros(3, 2, 3, 3)
    with FlopCounterMode(display=False) as counter:
        far_taps.convolve(x, weight, dilation)
    whole = 2 * 9 * 2 * 3 * height * width
    assert counter.get_total_flops() == pytest.approx(
        whole * far_taps.inside(height, width, dilation)
    )


@pytest.mark.parametrize(
    ('x', 'dilation', 'trains', 'pays'),
    [
        (WIDE, 8, False, True),
        (WIDE, 2, True, False),  # most taps meet the map
        (WIDE[..., :8, :8].contiguous(), 4, False, False),  # few pixels
        (WIDE[..., :8, :8].contiguous(), 4, True, True),  # the filters do not mind
        (WIDE[:, :, :8].contiguous(), 1, True, False),
        (WIDE.double(), 8, True, False),
        (WIDE.to(memory_format=torch.channels_last), 8, True, False),
    ],
)  # fmt: skip
def test_where_it_pays(x, dilation, trains, pays):
    weight = WEIGHT.to(x.dtype).requires_grad_(trains)
    few = x.shape[2] == 8
    wanted = (None if few else far_taps.convolve, far_taps.by_filters) if pays else None
    found = far_taps.ways(x, weight, dilation)
    assert (found and found[:2]) == wanted
    with torch.no_grad():
        assert far_taps.ways(x, weight, dilation) == (None if few else found)
    with torch.autocast('cpu', torch.bfloat16):
        assert far_taps.ways(x, weight, dilation) is None


def test_layers_of_a_network_go_this_way_or_by_tiles(monkeypatch):
    calls = []
    for way in (far_taps, winograd):
        convolve = way.convolve
        monkeypatch.setattr(
            way, 'convolve', lambda *args, c=convolve, w=way: calls.append(w) or c(*args)
        )
    for dilation, way in ((8, far_taps), (4, winograd), (1, winograd), (5, None)):
        conv = build_conv(None, 512, 512, 3, padding=dilation, dilation=dilation)
        calls.clear()
        with torch.no_grad():
            got = conv(WIDE)
            want = F.conv2d(WIDE, conv.weight, conv.bias, padding=dilation, dilation=dilation)
        assert calls == [way] * (way is not None)
        assert (got - want).norm() < 3e-6 * want.norm()
