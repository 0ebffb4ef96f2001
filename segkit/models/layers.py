"""The small bricks of every network: convolution + norm + activation, and how each is chosen.

The state-dict names (`conv`, `bn`, `gn`, ..., `activate`) are those of mmcv's ConvModule, because
published checkpoints carry them. Written here because mmcv imports OpenCV, and a head that someone
borrows for another project should need torch alone.

Legend: x (N, C, H, W) float.
"""

import warnings
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layer_types import Config, Conv, build_activation, build_conv, build_norm

__all__ = [
    'Config',
    'ConvModule',
    'build_activation',
    'build_conv',
    'build_norm',
    'constant_init',
    'kaiming_init',
    'resize',
    'revert_sync_bn',
]


def resize(
    input: Tensor,
    size: tuple[int, int] | None = None,
    scale_factor: float | tuple[float, float] | None = None,
    mode: str = 'nearest',
    align_corners: bool | None = None,
    warning: bool = False,
) -> Tensor:
    """``F.interpolate`` under the name and with the argument order users of the older toolbox know.

    ``warning=True`` tells when ``align_corners=True`` meets sizes that do not align (not n*x + 1).
    """
    if warning and size is not None and align_corners:
        pairs = list(zip(input.shape[2:], size))
        if any(o > i > 1 and (o - 1) % (i - 1) for i, o in pairs):
            warnings.warn(
                f'align_corners=True with sizes {pairs} (input, output): corners line up exactly '
                'only when output = n * (input - 1) + 1.',
                stacklevel=2,
            )
    return F.interpolate(input, size, scale_factor, mode, align_corners)


def kaiming_init(
    module: Conv | nn.Linear,
    a: float = 0.0,
    nonlinearity: Literal['relu', 'leaky_relu'] = 'relu',
) -> None:
    """He initialisation over the fan out (arXiv:1502.01852, section 2.2), bias 0."""
    nn.init.kaiming_normal_(module.weight, a=a, mode='fan_out', nonlinearity=nonlinearity)
    bias = getattr(module, 'bias', None)  # a convolution from elsewhere may have no such attribute
    if bias is not None:
        nn.init.zeros_(bias)


def constant_init(module: nn.Module, value: float, bias: float = 0.0) -> None:
    """Fill the weight with ``value`` and the bias with ``bias``, where there are such."""
    for name, number in (('weight', value), ('bias', bias)):
        tensor = getattr(module, name, None)
        if tensor is not None:
            nn.init.constant_(tensor, number)


class ConvModule(nn.Module):
    """Convolution, then norm, then activation; children `conv`, `bn` (or `gn`, ...), `activate`.

    Args:
        bias: 'auto' means a bias exactly when no norm follows, since the norm would remove it.
        norm_cfg, act_cfg: None leaves the stage out.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool | str = 'auto',
        conv_cfg: Config | None = None,
        norm_cfg: Config | None = None,
        act_cfg: Config | None = {'type': 'ReLU'},  # noqa: B006, read only
        inplace: bool = True,
    ) -> None:
        super().__init__()
        shape = (in_channels, out_channels, kernel_size)
        bias = norm_cfg is None if bias == 'auto' else bias
        self.conv = build_conv(
            conv_cfg, *shape, stride=stride, padding=padding, dilation=dilation, groups=groups,
            bias=bias,
        )  # fmt: skip
        self.in_channels, self.out_channels = in_channels, out_channels
        self.norm_name: str | None = None
        if norm_cfg is not None:
            self.norm_name, norm = build_norm(norm_cfg, out_channels)
            self.add_module(self.norm_name, norm)
        if act_cfg is not None:
            self.activate = build_activation(act_cfg, inplace)
        self.act_cfg = act_cfg
        self.init_weights()

    @property
    def with_norm(self) -> bool:
        return self.norm_name is not None

    @property
    def with_activation(self) -> bool:
        return self.act_cfg is not None

    @property
    def norm(self) -> nn.Module | None:
        return getattr(self, self.norm_name) if self.norm_name else None

    def init_weights(self) -> None:
        """He for the convolution (with the slope of a leaky ReLU), one and zero for the norm."""
        act_cfg = self.act_cfg or {}
        leaky = act_cfg.get('type') == 'LeakyReLU'
        slope = act_cfg.get('negative_slope', 0.01) if leaky else 0.0
        kaiming_init(self.conv, slope, 'leaky_relu' if leaky else 'relu')
        if self.norm is not None:
            constant_init(self.norm, 1)

    def forward(self, x: Tensor, activate: bool = True, norm: bool = True) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H', W')."""
        x = self.conv(x)
        if norm and self.norm_name is not None:
            x = getattr(self, self.norm_name)(x)
        return self.activate(x) if activate and self.with_activation else x


def revert_sync_bn(model: nn.Module) -> nn.Module:
    """Replace every SyncBatchNorm by BatchNorm2d in place, sharing parameters and buffers.

    SyncBatchNorm refuses CPU tensors once a process group exists; the arithmetic of one process
    is the same. Returns the model (or its replacement, if it is itself a SyncBatchNorm).
    """
    if isinstance(model, nn.SyncBatchNorm):
        return _plain_bn(model)
    for name, child in model.named_children():
        new = revert_sync_bn(child)
        if new is not child:
            setattr(model, name, new)
    return model


def _plain_bn(sync: nn.SyncBatchNorm) -> nn.BatchNorm2d:
    with torch.device('meta'):  # its own parameters are replaced in a moment
        plain = nn.BatchNorm2d(
            sync.num_features, sync.eps, sync.momentum, sync.affine, sync.track_running_stats
        )
    plain._parameters.update(sync._parameters)
    plain._buffers.update(sync._buffers)
    return plain.train(sync.training)
