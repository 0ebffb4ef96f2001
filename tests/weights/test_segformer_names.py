"""Weights under the names of SegFormer's authors, checked by what is computed from them."""

import pytest
import torch
import torch.nn.functional as F
from helpers.checkpoint_files import save
from torch import nn

from segkit.models.backbones import MixVisionTransformer
from segkit.models.decode_heads import SegformerHead
from segkit.weights import CheckpointError, load_backbone_weights, load_into
from segkit.weights.segformer_names import of_segformer

DEPTHS, HEADS, RATIOS, DIM = (2, 2, 2, 2), (1, 2, 5, 8), (8, 4, 2, 1), 8
SETTINGS = dict(embed_dims=DIM, num_layers=DEPTHS, num_heads=HEADS, sr_ratios=RATIOS)


def theirs():
    """Key -> tensor as the authors' class of this width has them."""
    shapes, before = {}, 3
    for i, (depth, heads, ratio) in enumerate(zip(DEPTHS, HEADS, RATIOS), 1):
        c, size = DIM * heads, 7 if i == 1 else 3
        shapes |= {f'patch_embed{i}.proj.weight': (c, before, size, size)}
        norms = [f'patch_embed{i}.norm', f'norm{i}']
        biases = {f'patch_embed{i}.proj': c}
        for j in range(depth):
            at = f'block{i}.{j}'
            norms += [f'{at}.norm1', f'{at}.norm2', *([f'{at}.attn.norm'] if ratio > 1 else [])]
            shapes |= {
                f'{at}.attn.q.weight': (c, c), f'{at}.attn.kv.weight': (2 * c, c),
                f'{at}.attn.proj.weight': (c, c), f'{at}.mlp.fc1.weight': (4 * c, c),
                f'{at}.mlp.dwconv.dwconv.weight': (4 * c, 1, 3, 3),
                f'{at}.mlp.fc2.weight': (c, 4 * c),
            }  # fmt: skip
            biases |= {f'{at}.attn.q': c, f'{at}.attn.kv': 2 * c, f'{at}.attn.proj': c,
                       f'{at}.mlp.fc1': 4 * c, f'{at}.mlp.dwconv.dwconv': 4 * c,
                       f'{at}.mlp.fc2': c}  # fmt: skip
            if ratio > 1:
                shapes[f'{at}.attn.sr.weight'] = (c, c, ratio, ratio)
                biases[f'{at}.attn.sr'] = c
        shapes |= {f'{name}.{kind}': (c,) for name in norms for kind in ('weight', 'bias')}
        shapes |= {f'{name}.bias': (width,) for name, width in biases.items()}
        before = c
    torch.manual_seed(0)
    return {name: 0.3 * torch.randn(shape) + (len(shape) == 1) * 0.5
            for name, shape in shapes.items()} | {'head.weight': torch.zeros(3, 3)}  # fmt: skip


def maps_of(state, x):
    """The authors' forward, step by step from the paper, reading their names."""

    def linear(x, name):
        return F.linear(x, state[f'{name}.weight'], state[f'{name}.bias'])

    def conv(x, name, **options):
        return F.conv2d(x, state[f'{name}.weight'], state[f'{name}.bias'], **options)

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], state[f'{name}.weight'], state[f'{name}.bias'], 1e-6)

    maps = []
    for i, (depth, heads, ratio) in enumerate(zip(DEPTHS, HEADS, RATIOS), 1):
        stride, pad = (4, 3) if i == 1 else (2, 1)
        x = conv(x, f'patch_embed{i}.proj', stride=stride, padding=pad)
        (n, c, h, w), x = x.shape, norm(x.flatten(2).transpose(1, 2), f'patch_embed{i}.norm')
        for j in range(depth):
            at = f'block{i}.{j}'
            y = norm(x, f'{at}.norm1')
            q, other = linear(y, f'{at}.attn.q'), y
            if ratio > 1:
                other = y.transpose(1, 2).reshape(n, c, h, w)
                other = conv(other, f'{at}.attn.sr', stride=ratio).flatten(2).transpose(1, 2)
                other = norm(other, f'{at}.attn.norm')
            k, v = linear(other, f'{at}.attn.kv').split(c, 2)
            q, k, v = (t.reshape(n, -1, heads, c // heads).transpose(1, 2) for t in (q, k, v))
            attention = (q @ k.transpose(2, 3) / (c // heads) ** 0.5).softmax(3) @ v
            x = x + linear(attention.transpose(1, 2).reshape(n, -1, c), f'{at}.attn.proj')
            y = linear(norm(x, f'{at}.norm2'), f'{at}.mlp.fc1')
            y = y.transpose(1, 2).reshape(n, -1, h, w)
            y = conv(y, f'{at}.mlp.dwconv.dwconv', padding=1, groups=y.shape[1])
            x = x + linear(F.gelu(y.flatten(2).transpose(1, 2)), f'{at}.mlp.fc2')
        x = norm(x, f'norm{i}').transpose(1, 2).reshape(n, c, h, w)
        maps.append(x)
    return maps


def ready(model):
    return model.eval().requires_grad_(False)


def check(model):
    x = torch.randn(2, 3, 64, 96)
    for got, want in zip(ready(model)(x), maps_of(theirs(), x), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('prefix', ['', 'backbone.', 'module.backbone.'])
def test_a_backbone_begins_with_them(tmp_path, prefix):
    state = {prefix + name: tensor for name, tensor in theirs().items()}
    model = MixVisionTransformer(**SETTINGS)
    report = load_backbone_weights(model, save(state, tmp_path / 'mit.pth'))
    assert not report.missing
    assert len(report.loaded) == len(model.state_dict()) == len(of_segformer(theirs())) - 1
    check(model)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = MixVisionTransformer(**SETTINGS)
        widths = [DIM * heads for heads in HEADS]
        self.decode_head = SegformerHead(
            in_channels=widths, in_index=[0, 1, 2, 3], channels=8, num_classes=3
        )


def test_a_whole_network_takes_the_backbone_and_tells_of_the_head(tmp_path):
    state = {f'backbone.{name}': t for name, t in theirs().items() if name != 'head.weight'}
    head = {'linear_c1.proj.weight': (8, 8), 'linear_fuse.conv.weight': (8, 32, 1, 1),
            'linear_pred.weight': (3, 8, 1, 1)}  # fmt: skip
    state |= {f'decode_head.{name}': torch.zeros(shape) for name, shape in head.items()}
    path, model = save({'state_dict': state}, tmp_path / 'segformer.pth'), Network()
    report = load_into(model, path, 'finetune')
    assert {name for name in report.missing if name.startswith('backbone.')} == set()
    check(model.backbone)
    with pytest.raises(CheckpointError, match='no ReLU behind its four linear layers'):
        load_into(Network(), path, 'test')


def test_other_names_stay_as_they_are():
    state = {'block1.0.mlp.fc1.weight': torch.ones(2, 2), 'norm1.weight': torch.ones(2)}
    assert of_segformer(state) == state
