"""Switches that make a trained network faster on the same weights.

fuse_bn         a norm with stored statistics is a scale and a shift: both go into the weights
                of the convolution before it. The same to float32 rounding.
channels_last   maps are laid out (N, H, W, C) in memory, which bfloat16 convolutions and most
                GPUs read faster. The same to float32 rounding.
bf16            the network runs under bfloat16 autocast, logits are resized in float32. About
                three digits: classes change where two are nearly equal. Never set silently.
weights         the type that weights, and pictures before the network, are turned to: half the
                memory in bfloat16 or float16. Rounds more than autocast over float32 weights.
"""

from collections import Counter
from typing import Any

import torch
from torch import nn

from segkit.compat import sync_batch_norm

from ..backbones.resnet import BasicBlock, Bottleneck, ResNet, ResNetV1c, ResNetV1d
from ..layers import ConvModule, is_plain, is_untouched

# In these and no subclass of theirs, which may have a forward of its own, a convolution followed
# by a norm among the children is so in the forward pass too, and nobody else has its output.
FUSED = (ConvModule, BasicBlock, Bottleneck, ResNet, ResNetV1c, ResNetV1d, nn.Sequential)
NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)


@torch.no_grad()
def fuse_conv_bn(model: nn.Module) -> nn.Module:
    """Fold every batch norm that follows a convolution into it, in place; for evaluation only.

    Left alone: what stands in modules other than `FUSED`, or in one whose forward was replaced; a
    convolution used in several places; a convolution or norm that somebody watches with hooks; a
    norm that takes its statistics from the batch.
    """
    whole: Any = model
    places = Counter(child for parent in model.modules() for child in parent._modules.values())
    for module in model.modules():
        if type(module) not in FUSED or 'forward' in vars(module):
            continue
        children = list(module._modules.items())  # named_children would leave out a second use
        for (_, conv), (name, norm) in zip(children, children[1:]):
            if places[conv] == 1 and _fold(conv, norm):
                setattr(module, name, nn.Identity())
                whole.bn_fused = True  # its weights are no longer those that its config describes
    return model


def _fold(conv: nn.Module | None, norm: nn.Module | None) -> bool:
    """conv <- norm(conv), computed in float64 so that only one rounding is added.

    False, with nothing done, for what cannot be folded; see `fuse_conv_bn`.
    """
    if not isinstance(conv, nn.Conv2d) or not isinstance(norm, NORMS):
        return False
    known = (*NORMS, sync_batch_norm())
    if not is_plain(conv) or type(norm) not in known or not is_untouched(norm, type(norm)):
        return False
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None or norm.training or len(mean) != conv.out_channels:
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
    model: nn.Module,
    fuse_bn: bool = False,
    channels_last: bool = False,
    bf16: bool = False,
    weights: torch.dtype | None = None,
) -> nn.Module:
    """Apply the switches to a segmentor in place, set it to evaluation and return it."""
    model.eval()
    if fuse_bn:
        fuse_conv_bn(model)
    if channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stub
    segmentor: Any = model  # an EncoderDecoder, or what tests like one
    segmentor.channels_last = channels_last
    segmentor.autocast_dtype = torch.bfloat16 if bf16 else None
    segmentor.weights_dtype = weights
    if weights is not None:
        for part in (part for name, part in model.named_children() if name != 'data_preprocessor'):
            part.to(weights)
    return model
