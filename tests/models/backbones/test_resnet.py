"""ResNet: names and shapes of published checkpoints, values against timm, and its switches."""

import pytest
import torch
from helpers.published_keys import published_shapes
from helpers.timm_alone import require_timm
from torch import nn

from segkit.models.backbones import ResNet, ResNetV1c, ResNetV1d

D8 = {'strides': (1, 2, 1, 1), 'dilations': (1, 1, 2, 4), 'contract_dilation': True}


@pytest.mark.parametrize(('depth', 'count'), [(50, 330), (101, 636)])
def test_state_dict_is_that_of_the_published_checkpoints_in_order(depth, count):
    with torch.device('meta'):
        net = ResNetV1c(depth, norm_cfg={'type': 'SyncBN', 'requires_grad': True}, **D8)
    name = f'pspnet_r{depth}-d8_512x1024_40k_cityscapes'
    recipe = {'config': name, 'depth': str(depth), 'num_classes': '19', 'mask_size': ''}
    published = published_shapes('pspnet', recipe)
    want = [(k.removeprefix('backbone.'), v) for k, v in published.items() if 'backbone.' in k]
    assert [(k, tuple(v.shape)) for k, v in net.state_dict().items()] == want
    assert len(want) == count
    assert isinstance(net.stem[1], nn.SyncBatchNorm)


@pytest.mark.parametrize(
    ('depth', 'channels'), [(18, (64, 128, 256, 512)), (50, (256, 512, 1024, 2048))]
)
def test_the_four_maps_of_a_64_pixel_image(depth, channels):
    with torch.device('meta'):
        maps = ResNetV1c(depth, **D8)(torch.empty(1, 3, 64, 64))
    assert [tuple(m.shape) for m in maps] == [
        (1, c, side, side) for c, side in zip(channels, (16, 8, 8, 8))
    ]


def randomised(module):
    """Weights and statistics such that every norm matters."""
    torch.manual_seed(1)
    for name, tensor in module.state_dict().items():
        if tensor.dim() == 4:
            nn.init.kaiming_normal_(tensor)
        elif name.endswith(('running_var', 'weight')):
            tensor.uniform_(0.5, 1.0)
        elif tensor.is_floating_point():
            tensor.uniform_(-0.2, 0.2)
    return module.eval()


def timm_twin(ours, name, **kwargs):
    """timm's network of the same architecture with our weights; only the stem's names differ."""
    twin = require_timm().create_model(name, features_only=True, out_indices=(1, 2, 3, 4), **kwargs)
    state, renamed = ours.state_dict(), {}
    for key in twin.state_dict():
        source = key
        if ours.deep_stem:
            source = key.replace('bn1.', 'stem.7.') if key.startswith('bn1.') else key
            source = key.replace('conv1.', 'stem.') if key.startswith('conv1.') else source
        renamed[key] = state[source]
    twin.load_state_dict(renamed)
    return twin.eval()


@pytest.mark.parametrize(
    ('build', 'name', 'ours', 'theirs'),
    [
        (ResNet, 'resnet18', {'depth': 18}, {}),
        (ResNetV1c, 'resnet50c', {'depth': 50, **D8}, {'output_stride': 8}),
        (ResNetV1d, 'resnet50d', {'depth': 50}, {}),
    ],
)
def test_maps_equal_timms(build, name, ours, theirs):
    net = randomised(build(**ours)).double()
    twin = timm_twin(net, name, **theirs).double()
    image = torch.randn(1, 3, 75, 61, dtype=torch.float64)
    with torch.no_grad():
        for a, b in zip(net(image), twin(image), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * b.abs().max().item())


def dilations(stage):
    return [block.conv2.dilation[0] for block in stage]


def test_contracted_dilation_and_multi_grid_reach_the_blocks():
    with torch.device('meta'):
        net = ResNet(50, **D8, multi_grid=(1, 2, 4))
        plain = ResNet(50, **{**D8, 'contract_dilation': False})
    assert dilations(net.layer3) == [1, 2, 2, 2, 2, 2]
    assert dilations(net.layer4) == [1, 2, 4]
    assert dilations(plain.layer4) == [4, 4, 4]


@pytest.mark.parametrize(('style', 'strides'), [('pytorch', (1, 2)), ('caffe', (2, 1))])
def test_style_says_where_a_bottleneck_strides(style, strides):
    with torch.device('meta'):
        block = ResNet(50, style=style).layer2[0]
    assert (block.conv1.stride[0], block.conv2.stride[0]) == strides


def test_frozen_stages_and_norm_eval_survive_train():
    net = ResNetV1c(18, frozen_stages=1).train()
    frozen = [name for name, p in net.named_parameters() if not p.requires_grad]
    assert {name.split('.')[0] for name in frozen} == {'stem', 'layer1'}
    assert not net.stem[1].training
    assert not net.layer1[0].bn1.training
    assert net.layer2[0].bn1.training
    net = ResNet(18, norm_eval=True).train()
    assert not any(m.training for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    assert net.layer1.training


def test_checkpointed_blocks_give_the_same_gradients():
    net = ResNet(18, num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(1,))
    grads = []
    for with_cp in (False, True):
        for block in (*net.layer1, *net.layer2):
            block.with_cp = with_cp
        net.zero_grad()
        torch.manual_seed(0)
        net(torch.randn(2, 3, 32, 32))[0].square().mean().backward()
        grads.append([p.grad.clone() for p in net.parameters()])
    for plain, checkpointed in zip(*grads):
        torch.testing.assert_close(plain, checkpointed)


def test_a_fresh_network_starts_with_identity_blocks():
    net = ResNetV1c(50)
    net.init_weights()
    assert net.layer1[0].bn3.weight.abs().max() == 0
    assert net.layer1[0].bn2.weight.min() == 1
    kernel = net.layer4[1].conv2.weight
    assert kernel.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    net = ResNet(18, zero_init_residual=False)
    net.init_weights()
    assert net.layer1[0].bn2.weight.min() == 1


def test_in_channels_and_group_norm():
    net = ResNetV1c(18, in_channels=5, norm_cfg={'type': 'GN', 'num_groups': 8})
    assert net(torch.randn(1, 5, 32, 32))[3].shape == (1, 512, 1, 1)
    assert 'layer1.0.gn1.weight' in net.state_dict()


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'depth': 42}, 'depth 42 is unknown; choose one of'),
        ({'depth': 18, 'strides': (1, 2)}, 'need one value for each'),
        ({'depth': 18, 'out_indices': (4,)}, 'must name stages 0 to 3'),
        ({'depth': 50, 'multi_grid': (1, 2)}, 'the last stage has 3 blocks'),
        ({'depth': 18, 'style': 'tf'}, "choose 'pytorch' or 'caffe'"),
        ({'depth': 18, 'pretrained': 'a', 'init_cfg': {'type': 'Pretrained'}}, 'not both'),
    ],
)
def test_wrong_arguments_are_explained(kwargs, message):
    with torch.device('meta'), pytest.raises((KeyError, ValueError), match=message):
        ResNet(**kwargs)


@pytest.mark.parametrize('by', ['pretrained', 'init_cfg'])
def test_named_weights_are_loaded_when_initialising(tmp_path, by):
    source = ResNetV1c(18)
    source.init_weights()
    nn.init.constant_(source.layer4[1].bn2.weight, 0.5)
    path = str(tmp_path / 'weights.pth')
    torch.save(source.state_dict(), path)
    cfg = path if by == 'pretrained' else {'type': 'Pretrained', 'checkpoint': path}
    net = ResNetV1c(18, **{by: cfg})
    net.init_weights()
    assert all(torch.equal(v, source.state_dict()[k]) for k, v in net.state_dict().items())


def test_pretrained_without_a_checkpoint_is_explained():
    net = ResNet(18, init_cfg={'type': 'Pretrained'})
    with pytest.raises(KeyError, match="needs the key 'checkpoint'"):
        net.init_weights()


def test_other_initialisers_are_mmengines():
    net = ResNet(18, init_cfg={'type': 'Constant', 'layer': 'Conv2d', 'val': 0.25})
    net.init_weights()
    assert (net.layer1[0].conv1.weight == 0.25).all()


def test_stages_stem_and_freezing_can_be_replaced():
    class Mine(ResNet):
        def _make_stem_layer(self, in_channels, channels):
            super()._make_stem_layer(in_channels, channels)
            self.relu = nn.ELU()

        def make_res_layer(self, **kwargs):
            asked.append({name: kwargs[name] for name in ('planes', 'stride', 'dilation')})
            return nn.Sequential(*super().make_res_layer(**kwargs), nn.Identity())

        @property
        def norm1(self):
            return nn.Identity()

        def _freeze_stages(self):
            frozen.append(self.res_layers)

    asked, frozen = [], []
    net = Mine(18, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), frozen_stages=1)
    assert [stage['planes'] for stage in asked] == [64, 128, 256, 512]
    assert [(stage['stride'], stage['dilation']) for stage in asked[1:3]] == [(2, 1), (1, 2)]
    assert type(net.layer4[-1]) is nn.Identity
    net.train()
    assert frozen == [['layer1', 'layer2', 'layer3', 'layer4']] * 2
    assert all(p.requires_grad for p in net.parameters())
    net.res_layers = net.res_layers[:2]
    assert len(net(torch.randn(1, 3, 32, 32))) == 2
    net(torch.randn(2, 3, 32, 32))[1].sum().backward()
    assert net.bn1.weight.grad is None  # the replaced norm1 is what ran
