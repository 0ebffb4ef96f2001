"""Backbone weights of other collections, checked by what the backbone then computes."""

import pytest
import torch
from helpers.checkpoint_files import save
from helpers.timm_alone import require_timm
from torch import nn

from segkit.models.backbones.resnet import ResNet, ResNetV1c, ResNetV1d
from segkit.weights import CheckpointError, inflate_stem, load_backbone_weights


def maps_of(model, x):
    model.eval()
    with torch.no_grad():
        return model(x)


def scrambled(model: nn.Module) -> nn.Module:
    """Random statistics too, so that a swapped or forgotten norm shows."""
    torch.manual_seed(5)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5) if 'running_var' in name else tensor.normal_(0, 0.1)
    return model


@pytest.mark.parametrize('kind', [ResNet, ResNetV1c, ResNetV1d])
@pytest.mark.parametrize('prefix', ['', 'backbone.', 'module.backbone.'])
def test_own_weights_come_back(tmp_path, kind, prefix):
    theirs = scrambled(kind(18))
    state = {prefix + name: tensor for name, tensor in theirs.state_dict().items()}
    state |= {'fc.weight': torch.zeros(2, 2)} if not prefix else {'decode_head.a': torch.zeros(1)}
    ours = kind(18)

    report = load_backbone_weights(ours, save(state, tmp_path / 'a.pth'))

    assert report.missing == report.unexpected == []
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(),
                                                 theirs.state_dict().values()))  # fmt: skip


def test_a_7x7_stem_does_not_fill_three_convolutions(tmp_path):
    path = save(ResNet(18).state_dict(), tmp_path / 'plain.pth')

    with pytest.raises(CheckpointError, match=r'plain\.pth has the single 7x7 stem and ResNetV1c'):
        load_backbone_weights(ResNetV1c(18), path)


def test_three_convolutions_do_not_fill_a_7x7_stem(tmp_path):
    path = save(ResNetV1c(18).state_dict(), tmp_path / 'deep.pth')

    with pytest.raises(CheckpointError, match='use torchvision:// weights'):
        load_backbone_weights(ResNet(18), path)


def test_another_depth_is_refused(tmp_path):
    path = save(ResNetV1c(18).state_dict(), tmp_path / 'a.pth')

    with pytest.raises(CheckpointError, match='not of a ResNetV1c of this depth'):
        load_backbone_weights(ResNetV1c(34), path)


def test_weights_that_were_not_used_are_named(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        'segkit.weights.pretrained_backbone.print_log', lambda text, *_: said.append(text)
    )
    path = save(ResNetV1c(34).state_dict(), tmp_path / 'a.pth')
    load_backbone_weights(ResNetV1c(18), path)
    (text,) = said
    assert 'a.pth: 96 weights were not used, layer1.2.conv1.weight first' in text
    load_backbone_weights(ResNetV1c(34), path)
    assert len(said) == 1


def test_v1c_weights_do_not_fill_the_averaging_shortcuts_of_v1d(tmp_path):
    path = save(ResNetV1c(18).state_dict(), tmp_path / 'a.pth')

    with pytest.raises(CheckpointError, match='the shortcuts differ'):
        load_backbone_weights(ResNetV1d(18), path)


@pytest.mark.parametrize('channels', [1, 2, 3, 4, 5, 6, 8])
def test_an_inflated_stem_answers_a_grey_image_as_before(channels):
    weight = torch.randn(8, 3, 3, 3, dtype=torch.float64)
    grey = torch.randn(2, 1, 6, 6, dtype=torch.float64)

    inflated = inflate_stem(weight, channels)

    assert inflated.shape == (8, channels, 3, 3)
    before = nn.functional.conv2d(grey.expand(-1, 3, -1, -1), weight)
    after = nn.functional.conv2d(grey.expand(-1, channels, -1, -1), inflated)
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize('kind', [ResNet, ResNetV1c])
def test_stems_of_more_channels_load_rgb_weights(tmp_path, kind):
    theirs = scrambled(kind(18))
    ours = kind(18, in_channels=5)

    load_backbone_weights(ours, save(theirs.state_dict(), tmp_path / 'a.pth'))

    grey = torch.randn(1, 1, 32, 32)
    for a, b in zip(maps_of(ours, grey.expand(-1, 5, -1, -1)),
                    maps_of(theirs, grey.expand(-1, 3, -1, -1))):  # fmt: skip
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ('name', 'kind', 'depth'),
    [('resnet18', ResNet, 18), ('resnet18d', ResNetV1d, 18)],
)
def test_timm_weights_compute_what_they_compute_in_timm(tmp_path, name, kind, depth):
    timm = require_timm()
    theirs = scrambled(timm.create_model(name))
    ours = kind(depth, strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1))

    load_backbone_weights(ours, save(theirs.state_dict(), tmp_path / 'a.pth'))

    x = torch.randn(1, 3, 64, 64)
    theirs.eval()
    with torch.no_grad():
        expected = theirs.forward_intermediates(x, intermediates_only=True)[-4:]
    for a, b in zip(maps_of(ours, x), expected):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
