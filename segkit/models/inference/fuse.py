"""Switches that make a trained network faster on the same weights.

fuse_bn         a norm with stored statistics is a scale and a shift: both go into the weights
                of the convolution before it. The same to float32 rounding.
channels_last   maps are laid out (N, H, W, C) in memory, which bfloat16 convolutions and most
                GPUs read faster. The same to float32 rounding.
bf16            the network runs under bfloat16 autocast, logits are resized in float32. About
                three digits: classes change where two are nearly equal. Never set silently.
"""

from typing import Any

import torch
from torch import nn

from ..backbones.resnet import ResidualBlock, ResNet
from ..layers import ConvModule

# In these, a convolution followed by a norm among the children is so in the forward pass too.
FUSED = (ConvModule, ResidualBlock, ResNet, nn.Sequential)
_BatchNorm = nn.modules.batchnorm._BatchNorm


@torch.no_grad()
def fuse_conv_bn(model: nn.Module) -> nn.Module:
    """Fold every batch norm that follows a convolution into it, in place; for evaluation only.

    Convolutions inside modules other than ours and ``nn.Sequential`` are left alone: the order of
    their children need not be that of their forward pass.
    """
    whole: Any = model
    for module in model.modules():
        if not isinstance(module, FUSED):
            continue
        children = list(module.named_children())
        for (_, conv), (name, norm) in zip(children, children[1:]):
            if type(conv) is nn.Conv2d and isinstance(norm, _BatchNorm) and _fold(conv, norm):
                setattr(module, name, nn.Identity())
                whole.bn_fused = True  # its weights are no longer those that its config describes
    return model


def _fold(conv: nn.Conv2d, norm: _BatchNorm) -> bool:
    """conv <- norm(conv), computed in float64 so that only one rounding is added.

    False, with nothing done, for a norm whose statistics are those of the batch.
    """
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None or norm.training:
        return False
    gain = (var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        gain = gain * norm.weight.double()
    shift = -mean.double() * gain
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    if conv.bias is not None:
        shift = shift + conv.bias.double() * gain
    weight = conv.weight.double() * gain.view(-1, 1, 1, 1)
    conv.weight = nn.Parameter(weight.to(conv.weight.dtype), requires_grad=False)
    conv.bias = nn.Parameter(shift.to(conv.weight.dtype), requires_grad=False)
    return True


def speed_up(
    model: nn.Module, fuse_bn: bool = False, channels_last: bool = False, bf16: bool = False
) -> nn.Module:
    """Apply the switches to a segmentor in place, set it to evaluation and return it."""
    model.eval()
    if fuse_bn:
        fuse_conv_bn(model)
    if channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stub
    segmentor: Any = model  # an EncoderDecoder, or what tests like one
    segmentor.memory_format = torch.channels_last if channels_last else torch.contiguous_format
    segmentor.autocast_dtype = torch.bfloat16 if bf16 else None
    return model
