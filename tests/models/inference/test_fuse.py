"""The inference switches keep the network's function."""

import pytest
import torch
from torch import nn

from segkit.models.inference.fuse import fuse_conv_bn, speed_up
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
