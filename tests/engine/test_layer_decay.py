"""Rates fall from block to block, whatever the backbone calls them."""

import pytest
import torch
from helpers.timm_alone import require_timm
from helpers.tiny_config import NO_VALIDATION, tiny_config

from segkit.engine import Runner
from segkit.engine.layer_decay import LearningRateDecayOptimizerConstructor
from segkit.errors import UserError
from segkit.registry import MODELS

ADAMW = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.1))
HEAD = dict(type='FCNHead', num_convs=0, concat_input=False, num_classes=3, in_index=-1)
TINY_VIT = dict(depth=3, embed_dim=16, num_heads=2, out_indices=(0, 1, 2))
# backbone, channels of its last map, layers by blocks, by stages
NETWORKS = {
    'MixVisionTransformer': (dict(embed_dims=4, num_layers=(1, 2, 1, 1)), 32, 5, 4),
    'ResNetV1c': (dict(depth=18, base_channels=4, stem_channels=4), 32, 8, 4),
    'vit_tiny_patch16_224': (TINY_VIT, 16, 3, 1),
    'vit_small_patch16_dinov3': (TINY_VIT, 16, 3, 1),
    'convnext_atto': (dict(depths=(1, 2, 1, 1)), 320, 5, 4),
    'swin_tiny_patch4_window7_224': (dict(depths=(1, 1, 2, 1), img_size=64), 768, 5, 4),
    'resnet18': ({}, 512, 8, 4),
    'tf_efficientnet_lite0': ({}, 320, 16, 7),
}


def network(name):
    args, channels, *counts = NETWORKS[name]
    backbone = dict(type=name, **args)
    if name not in ('MixVisionTransformer', 'ResNetV1c'):
        require_timm()
        backbone = dict(type='TimmBackbone', model_name=name, **args)
    head = dict(HEAD, in_channels=channels, channels=channels)
    model = MODELS.build(dict(type='EncoderDecoder', backbone=backbone, decode_head=head))
    return model, counts


def groups(model, **settings):
    made = LearningRateDecayOptimizerConstructor(ADAMW, settings)(model)
    return made.optimizer.param_groups


@pytest.mark.parametrize('name', NETWORKS)
@pytest.mark.parametrize('kind', ['layer_wise', 'stage_wise'])
def test_rates_fall_towards_the_image(name, kind):
    model, counts = network(name)
    layers = counts[kind == 'stage_wise']
    made = groups(model, decay_rate=0.5, decay_type=kind)
    rates = {id(p): group['lr'] for group in made for p in group['params']}
    named = dict(model.named_parameters())
    assert len(rates) == len(named)
    assert {rates[id(p)] for p in model.decode_head.parameters()} == {1.0}
    backbone = [rates[id(p)] for n, p in named.items() if n.startswith('backbone.')]
    assert sorted({*backbone}) == [0.5**k for k in range(layers + 1, 0, -1)]
    if 'dinov3' not in name:
        assert backbone == sorted(backbone), 'in the order of the network'
    for group in made:
        bare = {p.dim() <= 1 for p in group['params']}
        assert bare == {True} or group['weight_decay'] in (0, 0.1)
        assert bare != {True} or group['weight_decay'] == 0


def test_layers_can_be_spread_over_fewer_steps():
    made = groups(network('ResNetV1c')[0], decay_rate=0.5, num_layers=4)
    assert sorted({group['lr'] for group in made}) == [0.5**k for k in (5, 4, 3, 2, 1, 0)]


def test_what_is_refused():
    with pytest.raises(UserError, match='takes decay_rate'):
        groups(network('ResNetV1c')[0], decay_type='layer_wise')
    with pytest.raises(UserError, match='takes decay_rate'):
        groups(network('ResNetV1c')[0], decay_rate=0.9, custom_keys={})
    with pytest.raises(UserError, match='no blocks are known'):
        groups(torch.nn.Conv2d(1, 1, 1), decay_rate=0.9)


def test_a_run_keeps_the_ratios_of_its_rates(tmp_path):
    options = dict(
        optim_wrapper=dict(
            _delete_=True, type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3),
            constructor='LearningRateDecayOptimizerConstructor',
            paramwise_cfg=dict(decay_rate=0.5)),
        train_cfg__max_iters=2, param_scheduler=None, **NO_VALIDATION,
    )  # fmt: skip
    runner = Runner.from_cfg(tiny_config(tmp_path, **options))
    runner.train()
    rates = sorted({group['lr'] for group in runner.optim_wrapper.param_groups})
    assert len(rates) == 10
    for low, high in zip(rates, rates[1:]):
        assert high == pytest.approx(2 * low)
