import builtins

import pytest
import torch
from helpers.timm_alone import require_timm

from segkit.models.backbones.timm_backbone import TimmBackbone
from segkit.registry import MODELS

IMAGE = torch.zeros(1, 3, 64, 64)


@pytest.fixture(autouse=True)
def timm():
    return require_timm()


@pytest.mark.parametrize('name', ['resnet18', 'convnext_atto', 'mobilenetv3_small_050'])
def test_maps_have_the_announced_channels_and_strides(name):
    backbone = MODELS.build(dict(type='TimmBackbone', model_name=name)).eval()
    maps = backbone(IMAGE)
    assert len(maps) == len(backbone.channels)
    for feature, channels, stride in zip(maps, backbone.channels, backbone.strides):
        assert feature.shape == (1, channels, 64 // stride, 64 // stride)


def test_output_stride_dilates():
    backbone = TimmBackbone('resnet18', output_stride=8, out_indices=(1, 2, 3, 4))
    assert [tuple(m.shape[-2:]) for m in backbone(IMAGE)] == [(16, 16), (8, 8), (8, 8), (8, 8)]


def test_channels_last_models_are_turned_to_channels_first():
    backbone = TimmBackbone('swin_tiny_patch4_window7_224', img_size=64, window_size=2)
    assert [m.shape[1] for m in backbone.eval()(IMAGE)] == backbone.channels


def test_more_input_channels_reach_the_stem():
    backbone = TimmBackbone('resnet18', in_channels=5).eval()
    assert backbone(torch.zeros(1, 5, 32, 32))[-1].shape == (1, 512, 1, 1)


def test_a_head_on_top_trains():
    backbone = TimmBackbone('resnet18', output_stride=8)
    head = MODELS.build(
        dict(
            type='FCNHead', in_channels=512, in_index=-1, channels=8, num_classes=3, num_convs=1,
            norm_cfg=dict(type='BN'),
        )
    )  # fmt: skip
    head(backbone(torch.rand(2, 3, 64, 64))).sum().backward()
    assert backbone.timm_model.conv1.weight.grad.abs().sum() > 0


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(ValueError, match=r"no model 'resnet81'.*Nearest: .*resnet"):
        TimmBackbone('resnet81')


def test_a_missing_timm_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == 'timm':
            raise ImportError('No module named timm')
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', refuse)
    with pytest.raises(ImportError, match='pip install timm'):
        TimmBackbone('resnet18')
