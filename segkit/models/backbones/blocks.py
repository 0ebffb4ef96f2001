"""Residual blocks (He et al., Deep Residual Learning, arXiv:1512.03385, section 3.3 and figure 5).

Legend: x (N, inplanes, H, W) -> (N, planes * expansion, H / stride, W / stride).

Attribute names (conv1, bn1, ..., downsample) and their order are those of published checkpoints:
an optimiser's saved state goes by the order of the parameters.
"""

from typing import Any

import torch.utils.checkpoint
from torch import Tensor, nn

from ..layers import Config, build_conv, build_norm


class _Block(nn.Module):
    """What both blocks share: residual sum, checkpointing, norm look-up by its real name."""

    expansion: int

    def __init__(self, with_cp: bool, norm_cfg: Config, conv_cfg: Config | None) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.norm_cfg, self.conv_cfg = norm_cfg, conv_cfg
        self.norm_names: list[str] = []

    def _add_conv(self, in_channels: int, out_channels: int, kernel: int, **kwargs: Any) -> None:
        """Append the next convolution, `conv1`, `conv2`, ..., and its norm."""
        index = len(self.norm_names) + 1
        conv = build_conv(self.conv_cfg, in_channels, out_channels, kernel, bias=False, **kwargs)
        self.add_module(f'conv{index}', conv)
        name, norm = build_norm(self.norm_cfg, out_channels, postfix=index)
        self.add_module(name, norm)
        self.norm_names.append(name)

    def _add_end(self, downsample: nn.Module | None) -> None:
        """What follows the convolutions; after them, since the order of parameters is published."""
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    @property
    def last_norm(self) -> nn.Module:
        """The norm that scales the residual branch."""
        return getattr(self, self.norm_names[-1])

    def _residual(self, x: Tensor) -> Tensor:
        out = x
        for index, name in enumerate(self.norm_names, 1):
            out = getattr(self, name)(getattr(self, f'conv{index}')(out))
            if index < len(self.norm_names):
                out = self.relu(out)
        return out + (x if self.downsample is None else self.downsample(x))

    def forward(self, x: Tensor) -> Tensor:
        if self.with_cp and x.requires_grad:
            out = torch.utils.checkpoint.checkpoint(self._residual, x, use_reentrant=False)
        else:
            out = self._residual(x)
        return self.relu(out)


class BasicBlock(_Block):
    """Two 3x3 convolutions, for ResNet-18 and -34. Only the first is dilated, as published."""

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        downsample: nn.Module | None = None,
        style: str = 'pytorch',
        with_cp: bool = False,
        conv_cfg: Config | None = None,
        norm_cfg: Config = {'type': 'BN'},  # noqa: B006, read only
    ) -> None:
        super().__init__(with_cp, norm_cfg, conv_cfg)
        self._add_conv(inplanes, planes, 3, stride=stride, padding=dilation, dilation=dilation)
        self._add_conv(planes, planes, 3, padding=1)
        self._add_end(downsample)


class Bottleneck(_Block):
    """1x1, 3x3, 1x1 convolutions, for ResNet-50 and deeper.

    The stride sits on the 3x3 (``style='pytorch'``) or on the first 1x1 (``'caffe'``), according to
    where the weights were trained.
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        downsample: nn.Module | None = None,
        style: str = 'pytorch',
        with_cp: bool = False,
        conv_cfg: Config | None = None,
        norm_cfg: Config = {'type': 'BN'},  # noqa: B006, read only
    ) -> None:
        super().__init__(with_cp, norm_cfg, conv_cfg)
        first, second = (1, stride) if style == 'pytorch' else (stride, 1)
        self._add_conv(inplanes, planes, 1, stride=first)
        self._add_conv(planes, planes, 3, stride=second, padding=dilation, dilation=dilation)
        self._add_conv(planes, planes * self.expansion, 1)
        self._add_end(downsample)
