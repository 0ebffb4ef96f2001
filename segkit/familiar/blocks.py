"""Blocks of networks that are not here, which networks written for mmsegmentation are made of.

Legend: x (N, C, H, W) a map; parameters are named as there.
"""

from typing import Any

from mmcv.cnn.bricks.transformer import PatchEmbed as _PatchEmbed
from torch import Tensor, nn

from segkit.models.layer_types import build_activation
from segkit.models.layers import Config, ConvModule

_BN, _RELU = {'type': 'BN'}, {'type': 'ReLU', 'inplace': True}


class PatchEmbed(_PatchEmbed):
    """mmcv's, whose stride is 16 unless given; here it is ``kernel_size``."""

    def __init__(
        self,
        in_channels: int = 3,
        embed_dims: int = 768,
        conv_type: str = 'Conv2d',
        kernel_size: int | tuple[int, int] = 16,
        stride: int | tuple[int, int] | None = None,
        *args: object,
        **kwargs: object,
    ) -> None:
        stride = kernel_size if stride is None else stride
        super().__init__(in_channels, embed_dims, conv_type, kernel_size, stride, *args, **kwargs)


class _Block(nn.Module):
    """``conv1``, ``conv2``, ... and the input (or ``downsample`` of it), then ``act_cfg_out``."""

    sizes: tuple[int, ...]
    expansion: int

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        norm_cfg: Config | None = _BN,
        act_cfg: Config | None = _RELU,
        act_cfg_out: Config | None = None,
        init_cfg: Config | None = None,
    ) -> None:
        super().__init__()
        first = self.sizes.index(3)  # the 3x3 convolution that has the stride
        for i, size in enumerate(self.sizes):
            last = i == len(self.sizes) - 1
            out = channels * self.expansion if last else channels
            conv = ConvModule(
                in_channels,
                out,
                size,
                stride=stride if i == first else 1,
                padding=size // 2,
                norm_cfg=norm_cfg,
                act_cfg=None if last else act_cfg,
            )
            self.add_module(f'conv{i + 1}', conv)
            in_channels = out
        self.downsample = downsample
        if act_cfg_out:
            self.act = build_activation(act_cfg_out, True)

    def forward(self, x: Tensor) -> Tensor:
        """A map of ``expansion * channels``."""
        out = x
        for i in range(len(self.sizes)):
            out = getattr(self, f'conv{i + 1}')(out)
        out = out + (x if self.downsample is None else self.downsample(x))
        return self.act(out) if hasattr(self, 'act') else out


class BasicBlock(_Block):
    """Two 3x3 convolutions."""

    sizes, expansion = (3, 3), 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if len(args) < 7:
            kwargs.setdefault('act_cfg_out', _RELU)
        super().__init__(*args, **kwargs)


class Bottleneck(_Block):
    """A 1x1, a 3x3 and a 1x1 convolution to twice the channels."""

    sizes, expansion = (1, 3, 1), 2
