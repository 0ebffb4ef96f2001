"""The inference switches keep the network's function."""

from functools import partial

import pytest
import torch
from torch import nn

from segkit.models.inference.fuse import fuse_conv_bn, speed_up
from segkit.models.layers import ConvModule
from segkit.models.segmentors import EncoderDecoder


def segmentor(norm='BN'):
    """PSPNet on ResNet-18 whose norms have statistics to fold."""
    torch.manual_seed(0)
    norm_cfg = {'type': norm}
    model = EncoderDecoder(
        backbone={
            'type': 'ResNetV1c', 'depth': 18, 'strides': (1, 2, 1, 1), 'dilations': (1, 1, 2, 4),
            'norm_cfg': norm_cfg,
        },
        decode_head={
            'type': 'PSPHead', 'in_channels': 512, 'channels': 32, 'in_index': 3, 'num_classes': 7,
            'norm_cfg': norm_cfg, 'align_corners': False,
        },
    )  # fmt: skip
    model.init_weights()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.mark.parametrize('norm', ['BN', 'SyncBN'])
def test_folding_leaves_no_norm_and_the_same_logits(norm):
    model = segmentor(norm).double()
    image = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    want = model.encode_decode(image, [{}])
    fuse_conv_bn(model)
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
    torch.testing.assert_close(model.encode_decode(image, [{}]), want, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_float32_switches_stay_within_rounding_and_bf16_is_said():
    image = torch.randn(1, 3, 64, 64)
    want = segmentor().encode_decode(image, [{}])
    exact = speed_up(segmentor(), fuse_bn=True, channels_last=True)
    got = exact.encode_decode(image, [{}])
    assert (got - want).abs().max() <= 2e-5 * want.abs().max()
    rough = speed_up(segmentor(), fuse_bn=True, channels_last=True, bf16=True)
    got = rough.encode_decode(image, [{}])
    assert exact.autocast_dtype is None
    assert 0 < (got - want).abs().max() <= 0.1 * want.abs().max()
    classes = rough.predict(image)[0].pred_sem_seg.data
    assert (classes.long() == want.argmax(1)).float().mean() > 0.8


def test_training_norms_are_not_folded():
    model = segmentor().train()
    fuse_conv_bn(model)
    assert any(isinstance(m, nn.BatchNorm2d) for m in model.modules())


class Normless(nn.Sequential):
    """Has its own forward, in which the norm comes first."""

    def forward(self, x):
        conv, norm, *rest = self
        return conv(norm(x))


class Watched(nn.Module):
    """Uses a convolution beside the sequence that it stands in."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3)
        self.first = nn.Sequential(self.conv, nn.BatchNorm2d(4))

    def forward(self, x):
        return self.first(x) + self.conv(x)


def twice():
    """conv, norm, the same conv, another norm."""
    conv = nn.Conv2d(4, 4, 1)
    return nn.Sequential(conv, nn.BatchNorm2d(4), conv, nn.BatchNorm2d(4))


def shared_norm():
    """One norm after two convolutions, and a second norm that follows none."""
    norm = nn.BatchNorm2d(4)
    first, second = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
    return nn.Sequential(first, norm, second, norm, nn.BatchNorm2d(4))


def hooked(which, hook):
    net = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    if hook == 'after':
        net[which].register_forward_hook(lambda module, args, out: 2 * out)
    elif hook == 'before':
        net[which].register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    else:
        forward = net[which].forward
        net[which].forward = lambda x: forward(x) + 3
    return net


def reversed_forward():
    net = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    net.forward = lambda x: net[0](net[1](x))
    return net


class OwnNorm(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x) * 2


class OwnConv(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) * 2


class NormFirst(ConvModule):
    def forward(self, x):
        return self.conv(self.bn(x))


def sequence(*modules):
    return lambda: nn.Sequential(*(make() for make in modules))


BN = partial(nn.BatchNorm2d, 4)
# what: how to make it, how many norms are left after folding
SIBLINGS = {
    'plain': (sequence(partial(nn.Conv2d, 4, 4, 3), BN), 0),
    'without bias, groups': (sequence(partial(nn.Conv2d, 4, 4, 3, groups=2, bias=False), BN), 0),
    'padded with reflection': (
        sequence(partial(nn.Conv2d, 4, 4, 3, padding=1, padding_mode='reflect'), BN),
        0,
    ),
    'no affine': (sequence(partial(nn.Conv2d, 4, 4, 1), partial(BN, affine=False)), 0),
    'no statistics': (
        sequence(partial(nn.Conv2d, 4, 4, 1), partial(BN, track_running_stats=False)),
        1,
    ),
    'instance norm': (
        sequence(
            partial(nn.Conv2d, 4, 4, 1), partial(nn.InstanceNorm2d, 4, track_running_stats=True)
        ),
        0,
    ),
    'transposed': (sequence(partial(nn.ConvTranspose2d, 4, 4, 3), BN), 1),
    'own forward of the sequence': (
        lambda: Normless(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)),
        1,
    ),
    'own forward of one sequence': (reversed_forward, 1),
    'own forward of the norm': (sequence(partial(nn.Conv2d, 4, 4, 1), partial(OwnNorm, 4)), 1),
    'own forward of the conv': (sequence(partial(OwnConv, 4, 4, 1), BN), 1),
    'own forward of a ConvModule': (lambda: NormFirst(4, 4, 1, norm_cfg={'type': 'BN'}), 1),
    'ConvModule': (lambda: ConvModule(4, 4, 1, norm_cfg={'type': 'BN'}), 0),
    'one conv twice': (twice, 2),
    'one norm twice': (shared_norm, 1),
    'conv used elsewhere': (Watched, 1),
    'hook after conv': (partial(hooked, 0, 'after'), 1),
    'hook before conv': (partial(hooked, 0, 'before'), 1),
    'hook after norm': (partial(hooked, 1, 'after'), 1),
    'hook before norm': (partial(hooked, 1, 'before'), 1),
    'conv replaced': (partial(hooked, 0, 'forward'), 1),
    'norm replaced': (partial(hooked, 1, 'forward'), 1),
    'weight norm': (
        sequence(lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 1)), BN),
        1,
    ),
    'spectral norm': (sequence(lambda: nn.utils.spectral_norm(nn.Conv2d(4, 4, 1)), BN), 1),
    'a shared sequence': (
        lambda: nn.Sequential(*[nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))] * 2),
        0,
    ),
    'a list, not a sequence': (lambda: Listed(), 1),
}


class Listed(nn.Module):
    """Whose order of children is not that of its forward."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList([nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)])

    def forward(self, x):
        return self.parts[0](self.parts[1](x))


@torch.no_grad()
@pytest.mark.parametrize('what', SIBLINGS)
def test_folding_changes_no_output_and_leaves_alone_what_it_cannot_fold(what):
    torch.manual_seed(0)
    make, left = SIBLINGS[what]
    net = nn.ModuleDict({'net': make()}).double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.weight, module.bias):
                if tensor is not None:
                    tensor.normal_()
            if module.running_var is not None:
                module.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 4, 9, 8, dtype=torch.float64)
    want = net['net'](x)
    fuse_conv_bn(net)
    torch.testing.assert_close(net['net'](x), want, rtol=1e-9, atol=1e-9)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) == left


def test_a_norm_in_training_mode_is_not_folded_in_a_network_that_is_not():
    net = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)).eval()
    net[1].train()
    fuse_conv_bn(net)
    assert type(net[1]) is nn.BatchNorm2d
