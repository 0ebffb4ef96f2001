"""The Mix Transformer against torch's own attention and its layers written out in float64."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segkit.models.backbones import MixVisionTransformer
from segkit.models.backbones.mix_transformer import Attention, DropPath, as_map, as_tokens
from segkit.weights import CheckpointError

TINY = {'embed_dims': 4, 'num_heads': (1, 2, 4, 8), 'num_layers': (1, 2, 1, 1)}
# Table 1 of the paper gives the parameters of the encoders in millions.
SIZES = {
    0: ((32, (1, 2, 5, 8), (2, 2, 2, 2)), 3.4),
    1: ((64, (1, 2, 5, 8), (2, 2, 2, 2)), 13.1),
    2: ((64, (1, 2, 5, 8), (3, 4, 6, 3)), 24.2),
    3: ((64, (1, 2, 5, 8), (3, 4, 18, 3)), 44.0),
    4: ((64, (1, 2, 5, 8), (3, 8, 27, 3)), 60.8),
    5: ((64, (1, 2, 5, 8), (3, 6, 40, 3)), 81.4),
}


def tiny(**kwargs):
    torch.manual_seed(0)
    made = MixVisionTransformer(**{**TINY, **kwargs})
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return made.eval()


@pytest.mark.parametrize('size', SIZES)
def test_the_published_sizes(size):
    (dims, heads, layers), millions = SIZES[size]
    with torch.device('meta'):
        made = MixVisionTransformer(embed_dims=dims, num_heads=heads, num_layers=layers)
    count = sum(parameter.numel() for parameter in made.parameters()) / 1e6
    assert count == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize('bias', [True, False])
def test_attention_is_torchs_with_the_same_state(bias):
    torch.manual_seed(0)
    ours = Attention(12, 3, bias, 0.0).eval()
    theirs = nn.MultiheadAttention(12, 3, bias=bias, batch_first=True).eval()
    nn.init.normal_(ours.in_proj_weight)
    theirs.load_state_dict(ours.state_dict())
    x, others = torch.randn(2, 30, 12), torch.randn(2, 7, 12)
    torch.testing.assert_close(ours(x, others), theirs(x, others, others)[0])


def written(net, x):
    """The maps by the layers' weights alone: no module of ours is called."""
    outs = []
    for embed, blocks, norm in net.layers:
        conv = embed.projection
        x = F.conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding)
        n, c, h, w = x.shape
        x = layer_norm(embed.norm, x.reshape(n, c, h * w).mT)
        for block in blocks:
            x = x + attention(block.attn, layer_norm(block.norm1, x), (h, w))
            y = layer_norm(block.norm2, x).mT.reshape(n, c, h, w)
            first, deep, _, _, last, _ = block.ffn.layers
            y = F.conv2d(y, first.weight, first.bias)
            y = F.conv2d(y, deep.weight, deep.bias, padding=1, groups=y.shape[1])
            y = y * 0.5 * (1 + torch.erf(y / 2**0.5))
            x = x + F.conv2d(y, last.weight, last.bias).reshape(n, c, h * w).mT
        x = layer_norm(norm, x).mT.reshape(n, c, h, w)
        outs.append(x)
    return outs


def layer_norm(norm, x):
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.pow(2).mean(-1, keepdim=True)
    return centred / (variance + 1e-6).sqrt() * norm.weight + norm.bias


def attention(layer, x, size):
    others = x
    if layer.sr_ratio > 1:
        y = x.mT.reshape(x.shape[0], x.shape[2], *size)
        y = F.conv2d(y, layer.sr.weight, layer.sr.bias, stride=layer.sr_ratio)
        others = layer_norm(layer.norm, y.flatten(2).mT)
    channels, heads, inner = x.shape[2], layer.attn.num_heads, layer.attn
    weight, bias = inner.in_proj_weight.chunk(3), inner.in_proj_bias.chunk(3)
    query, key, value = (
        (t @ w.T + b).reshape(*t.shape[:2], heads, channels // heads).transpose(1, 2)
        for t, w, b in zip((x, others, others), weight, bias)
    )
    score = query @ key.mT / (channels // heads) ** 0.5
    context = (score.softmax(-1) @ value).transpose(1, 2).reshape(x.shape)
    return context @ inner.out_proj.weight.T + inner.out_proj.bias


@pytest.mark.parametrize('size', [(64, 64), (70, 97)])
def test_maps_and_gradients_are_those_of_the_written_out_layers(size):
    net = tiny()
    exact = copy.deepcopy(net).double()
    image = torch.randn(2, 3, *size)
    maps, want = net(image), written(exact, image.double())
    assert [m.shape[1] for m in maps] == [4, 8, 16, 32]
    for ours, theirs, stride in zip(maps, want, (4, 8, 16, 32)):
        assert tuple(ours.shape[2:]) == tuple(-(-side // stride) for side in size)
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-4)
    sum(m.pow(2).mean() for m in maps).backward()
    sum(m.pow(2).mean() for m in want).backward()
    for (name, ours), theirs in zip(net.named_parameters(), exact.parameters()):
        scale = float(theirs.grad.abs().max()) + 1e-4
        assert (ours.grad.double() - theirs.grad).abs().max() <= 1e-4 * scale, name


def test_recomputing_blocks_changes_nothing():
    plain, saving = tiny(), tiny(with_cp=True)
    image = torch.randn(1, 3, 64, 64)
    for net in (plain, saving):
        net.train()(image)[-1].sum().backward()
    for ours, theirs in zip(saving.parameters(), plain.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_blocks_are_left_out_more_often_the_deeper_they_lie():
    rates = [m.rate for m in tiny(drop_path_rate=0.4).modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_a_branch_left_out_keeps_its_mean():
    torch.manual_seed(0)
    drop, x = DropPath(0.25), torch.ones(4000, 2, 3)
    kept = drop.train()(x)
    assert (kept == kept[:, :1, :1]).all(), 'a picture as a whole'
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert kept.mean() == pytest.approx(1, abs=0.05)
    assert torch.equal(drop.eval()(x), x)


def test_tokens_and_maps_are_the_same_numbers():
    x = torch.randn(2, 5, 3, 4)
    assert torch.equal(as_map(as_tokens(x), (3, 4)), x)


def test_weights_are_drawn_as_published():
    net = MixVisionTransformer(embed_dims=32, num_layers=(1, 1, 1, 1))
    net.init_weights()
    net.requires_grad_(False)
    block = net.layers[3][1][0]
    assert block.attn.attn.out_proj.weight.std() == pytest.approx(0.02, rel=0.1)
    first, deep = block.ffn.layers[:2]
    assert first.weight.std() == pytest.approx((2 / first.out_channels) ** 0.5, rel=0.05)
    assert deep.weight.std() == pytest.approx((2 / 9) ** 0.5, rel=0.05)
    assert not deep.bias.any()


def test_a_file_of_published_weights(tmp_path):
    net, other = tiny(), tiny()
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    state = {**net.state_dict(), 'head.weight': torch.zeros(7, 32), 'head.bias': torch.zeros(7)}
    torch.save({'state_dict': state}, tmp_path / 'mit.pth')
    other.pretrained = str(tmp_path / 'mit.pth')
    other.init_weights()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters()))
    five = tiny(in_channels=5, init_cfg=dict(type='Pretrained', checkpoint=other.pretrained))
    five.init_weights()
    stem = five.layers[0][0].projection.weight
    torch.testing.assert_close(stem.sum(1), net.layers[0][0].projection.weight.sum(1))
    deeper = tiny(num_layers=(2, 2, 1, 1), pretrained=other.pretrained)
    with pytest.raises(
        CheckpointError, match=r'(?s)layers\.0\.1\.1.*not of a MixVisionTransformer'
    ):
        deeper.init_weights()


@pytest.mark.parametrize(
    ('kwargs', 'said'),
    [
        ({'num_layers': (1, 1)}, r'one value for each of the num_stages=4 stages'),
        ({'out_indices': (0, 4)}, r'out_indices \(0, 4\) must name stages 0 to 3'),
        ({'pretrained': 'a', 'init_cfg': {'type': 'Pretrained'}}, 'not both'),
    ],
)
def test_what_is_refused(kwargs, said):
    with pytest.raises(ValueError, match=said):
        MixVisionTransformer(**{**TINY, **kwargs})


def test_an_image_too_small_to_reduce():
    with pytest.raises(ValueError, match=r'map of 6x10 pixels cannot be reduced 8 times'):
        tiny()(torch.zeros(1, 3, 24, 40))
