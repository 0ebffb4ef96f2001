"""ConvModule and its bricks: names, defaults, initial values, errors, and light imports."""

import pytest
import torch
from helpers.imports import modules_after
from torch import nn

from segkit.models import layers
from segkit.models.layers import (
    ConvModule,
    build_activation,
    build_norm,
    join_upsampled,
    resize,
    revert_sync_bn,
)


@pytest.mark.parametrize(
    ('norm_cfg', 'keys'),
    [
        (None, {'conv.weight', 'conv.bias'}),
        ({'type': 'GN', 'num_groups': 2}, {'conv.weight', 'gn.weight', 'gn.bias'}),
        ({'type': 'IN', 'affine': True}, {'conv.weight', 'in.weight', 'in.bias'}),
        (
            {'type': 'SyncBN'},
            {'conv.weight'}
            | {f'bn.{k}' for k in ('weight', 'bias', 'running_mean', 'running_var')}
            | {'bn.num_batches_tracked'},
        ),
    ],
)
def test_state_dict_names_follow_the_norm(norm_cfg, keys):
    module = ConvModule(4, 6, 3, padding=1, norm_cfg=norm_cfg)
    assert set(module.state_dict()) == keys
    assert module.with_norm == (norm_cfg is not None)


def test_forward_is_conv_norm_activation():
    module = ConvModule(3, 4, 3, norm_cfg={'type': 'BN'}, act_cfg={'type': 'LeakyReLU'}).eval()
    x = torch.randn(2, 3, 7, 7)
    want = nn.functional.leaky_relu(module.bn(module.conv(x)), 0.01)
    assert torch.equal(module(x), want)
    assert torch.equal(module(x, activate=False, norm=False), module.conv(x))


def test_weights_start_as_he_et_al_over_the_fan_out():
    module = ConvModule(64, 128, 3, norm_cfg={'type': 'BN'})
    assert module.conv.weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.01)
    assert module.conv.bias is None
    assert ConvModule(4, 4, 1).conv.bias.abs().max() == 0


def test_norm_config_freezes_and_names():
    name, norm = build_norm({'type': 'BN', 'requires_grad': False, 'momentum': 0.01}, 8, postfix=3)
    assert (name, norm.momentum, norm.weight.requires_grad) == ('bn3', 0.01, False)


def test_unknown_types_name_the_nearest():
    with pytest.raises(KeyError, match="norm_cfg: unknown type 'SynBN'.*'SyncBN'"):
        build_norm({'type': 'SynBN'}, 8)
    with pytest.raises(KeyError, match="act_cfg: unknown type 'Relu'.*'ReLU'"):
        build_activation({'type': 'Relu'})
    with pytest.raises(KeyError, match='needs num_groups'):
        build_norm({'type': 'GN'}, 8)


def test_sync_bn_reverts_to_the_same_function():
    net = nn.Sequential(ConvModule(3, 4, 1, norm_cfg={'type': 'SyncBN'}), nn.SyncBatchNorm(4))
    nn.init.uniform_(net[1].weight)
    net[1].running_mean.uniform_()
    state = {k: v.clone() for k, v in net.state_dict().items()}
    reverted = revert_sync_bn(net.eval())
    assert not any(isinstance(m, nn.SyncBatchNorm) for m in reverted.modules())
    assert all(torch.equal(v, state[k]) for k, v in reverted.state_dict().items())
    x = torch.rand(2, 4, 3, 3)
    want = nn.functional.batch_norm(
        x, state['1.running_mean'], state['1.running_var'], state['1.weight'], state['1.bias']
    )
    assert torch.equal(reverted[1](x), want)


def test_resize_warns_when_asked_and_corners_cannot_align():
    x = torch.rand(1, 1, 4, 4)
    assert resize(x, scale_factor=2, mode='bilinear').shape == (1, 1, 8, 8)
    with pytest.warns(UserWarning, match='corners line up exactly'):
        resize(x, (8, 8), mode='bilinear', align_corners=True, warning=True)


def test_heads_and_backbones_import_nothing_heavy():
    heavy = {'cv2', 'matplotlib', 'mmcv', 'mmengine.runner', 'mmengine.model'}
    assert not heavy & modules_after(
        'import segkit, segkit.models.layers, segkit.models.backbones\n'
        'import segkit.models.decode_heads, segkit.models.losses'
    )


@pytest.mark.parametrize('watch', ['module', 'conv', 'forward of the module', 'class'])
def test_a_join_leaves_out_nothing_that_someone_watches_or_replaced(watch, monkeypatch):
    monkeypatch.setattr(layers, 'LEAST_SPARED', 0)
    module, seen = ConvModule(4, 3, 3, padding=1), []
    x, low = torch.randn(1, 2, 8, 9), torch.randn(1, 2, 3, 3)
    want = join_upsampled(module, x, [low], False)
    if watch == 'forward of the module':
        forward = module.forward
        module.forward = lambda x: seen.append(x.shape) or forward(x)
    elif watch == 'class':

        class Mine(ConvModule):
            def forward(self, x):
                seen.append(x.shape)
                return super().forward(x)

        module.__class__ = Mine
    else:
        watched = module if watch == 'module' else module.conv
        watched.register_forward_hook(lambda module, args, out: seen.append(args[0].shape))
    torch.testing.assert_close(join_upsampled(module, x, [low], False), want)
    assert seen == [(1, 4, 8, 9)]


def test_joins_of_small_maps_are_written_out_and_of_large_ones_are_not(monkeypatch):
    joined, given = layers.conv_cat_upsampled, []
    monkeypatch.setattr(
        layers, 'conv_cat_upsampled', lambda *args: given.append(args[3]) or joined(*args)
    )
    module, lows = ConvModule(512 + 128, 128, 3, padding=1), [torch.randn(1, 128, 3, 3)]
    for side, sizes in ((8, []), (64, [(64, 64)])):
        x = torch.randn(1, 512, side, side)
        with torch.no_grad():
            got = join_upsampled(module, x, lows, False)
            want = module(torch.cat([x, layers.resize_to(lows[0], x.shape[2:], False)], dim=1))
        assert given == sizes
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_a_shared_sync_norm_is_reverted_everywhere_and_stays_shared():
    sync = nn.SyncBatchNorm(4)
    net = nn.Sequential(nn.Conv2d(4, 4, 1), sync, nn.Sequential(nn.Conv2d(4, 4, 1), sync), sync)
    assert revert_sync_bn(net) is net
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in net.modules())
    assert net[1] is net[2][1] is net[3]
    assert net[1].weight is sync.weight
    assert type(revert_sync_bn(sync)) is nn.BatchNorm2d
