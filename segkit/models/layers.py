"""The small bricks of every network: convolution + norm + activation, and how each is chosen.

The state-dict names (`conv`, `bn`, `gn`, ..., `activate`) are those of mmcv's ConvModule, because
published checkpoints carry them. Written here because mmcv imports OpenCV, and a head that someone
borrows for another project should need torch alone.

Legend: x (N, C, H, W) float.
"""

import warnings
from collections.abc import Sequence
from typing import Literal, TypeGuard, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.compat import CountsAsConvModule
from segkit.errors import UserError
from segkit.ops import conv_cat_upsampled, far_taps, wide_conv, winograd

from .layer_types import CONVS, Config, Conv, build_activation, build_norm, look_up

T = TypeVar('T', bound=nn.Module)
LEAST_SPARED = 2**27  # multiplications of a convolution, below which its parts cost more

__all__ = [
    'CellPool', 'Config', 'ConvModule', 'WideConv2d', 'at_least_float32', 'build_activation',
    'build_conv', 'build_norm', 'constant_init', 'is_open', 'is_plain', 'is_replaced',
    'is_untouched', 'join_upsampled', 'kaiming_init', 'refuse_one_picture', 'resize', 'resize_to',
    'revert_sync_bn',
]  # fmt: skip


def resize(
    input: Tensor,
    size: tuple[int, int] | None = None,
    scale_factor: float | tuple[float, float] | None = None,
    mode: str = 'nearest',
    align_corners: bool | None = None,
    warning: bool = False,
) -> Tensor:
    """``F.interpolate`` under the name and with the argument order users of mmsegmentation know.

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


def at_least_float32(x: Tensor) -> Tensor:
    """For sums over pixels: half precision tells three digits apart, and ends at 65504."""
    return x.float() if x.dtype.itemsize < 4 else x


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


class WideConv2d(nn.Conv2d):
    """A 3x3 convolution of many channels: in fewer multiplications where that pays."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        shape = (self.kernel_size, self.stride, self.padding, self.groups, self.padding_mode)
        if shape != ((3, 3), (1, 1), self.dilation, 1, 'zeros'):
            return super().forward(x)
        dilation = self.dilation[0]
        ways = far_taps.ways(x, self.weight, dilation) or winograd.ways(x, self.weight, dilation)
        return wide_conv.conv2d(x, self.weight, self.bias, dilation, ways)


def build_conv(
    cfg: Config | None, before: int, after: int, size: int | tuple[int, int], **kwargs: object
) -> Conv:
    """A convolution of ``cfg['type']`` (None: Conv2d) of so many channels ``before`` and ``after``;
    the other arguments go to its class."""
    cls, extra = look_up('conv_cfg', cfg or {'type': 'Conv2d'}, CONVS)
    wide = size in (3, (3, 3)) and before * after >= wide_conv.LEAST_PAIRS
    if cls is nn.Conv2d and wide and kwargs.get('stride', 1) in (1, (1, 1)):
        cls = WideConv2d
    return cls(before, after, size, **kwargs, **extra)


class ConvModule(CountsAsConvModule, nn.Module):
    """Convolution, then norm, then activation; children `conv`, `bn` (or `gn`, ...), `activate`.

    Args:
        bias: 'auto' means a bias exactly when no norm follows, since the norm would remove it.
        norm_cfg, act_cfg: None leaves the stage out: no batch norm, no activation.
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
        self.kernel_size, self.stride = self.conv.kernel_size, self.conv.stride
        self.padding, self.dilation = padding, self.conv.dilation
        self.groups = self.conv.groups
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
        return self.activate(x) if activate and self.act_cfg is not None else x


def is_untouched(module: nn.Module, cls: type[T]) -> TypeGuard[T]:
    """Whether a module computes what ``cls`` does: no forward of its own and no hooks."""
    return (
        type(module).forward is cls.forward
        and 'forward' not in vars(module)
        and not (module._forward_hooks or module._forward_pre_hooks)
        and not (module._backward_hooks or module._backward_pre_hooks)
    )


def is_replaced(part: object, cls: type, name: str) -> bool:
    """Whether a method of ``cls`` is another one here: a subclass's, or one set on the object."""
    return name in vars(part) or getattr(type(part), name) is not getattr(cls, name)


def is_plain(conv: nn.Module | None) -> TypeGuard[nn.Conv2d]:
    """Whether it is one of torch's convolutions, or ours, and nobody changed or watches it."""
    if conv is None or type(conv) not in (nn.Conv2d, WideConv2d):
        return False
    return is_untouched(conv, type(conv))


def _commutes(conv: nn.Module, side: int) -> TypeGuard[nn.Conv2d]:
    """Whether a convolution is a plain one of ``side`` x ``side``, padded to keep the size by 0."""
    if not is_plain(conv):
        return False
    shape = (conv.kernel_size, conv.stride, conv.padding, conv.dilation)
    plain = (conv.groups, conv.padding_mode) == (1, 'zeros')
    return plain and shape == ((side, side), (1, 1), (side // 2, side // 2), (1, 1))


def join_upsampled(
    module: ConvModule,
    x: Tensor,
    lows: Sequence[Tensor],
    align_corners: bool | int,
    lows_first: bool = False,
) -> Tensor:
    """``module(cat([x, *lows resized to x]))``; x (N, C0, h, w), lows (N, Ci, hi, wi).

    Without the concatenation where the convolution, 1x1 (`_mixed`) or 3x3 (`conv_cat_upsampled`),
    commutes with upsampling and nobody replaced or watches what would be left out; the latter only
    where it saves enough multiplications to be worth its many small steps.

    Args:
        lows_first: they stand before ``x`` in the concatenation.
    """
    untouched = is_untouched(module, ConvModule)
    if untouched and _commutes(module.conv, 1):
        x = _mixed(module.conv, x, lows, align_corners, lows_first)
    elif untouched and _commutes(module.conv, 3) and _saves_enough(module.conv, x, lows):
        size = x.shape[2:]
        x = conv_cat_upsampled(module.conv, x, lows, size, bool(align_corners), lows_first)
    else:
        lows = [resize_to(y, x.shape[2:], align_corners) for y in lows]
        return module(torch.cat([*lows, x] if lows_first else [x, *lows], dim=1))
    x = x if module.norm is None else module.norm(x)
    return module.activate(x) if module.with_activation else x


def _saves_enough(conv: nn.Conv2d, x: Tensor, lows: Sequence[Tensor]) -> bool:
    """Whether mixing ``lows`` at their own sizes spares a 3x3 convolution many multiplications."""
    if is_open(x):
        return False
    pixels = [x.shape[2] * x.shape[3] - low.shape[2] * low.shape[3] for low in lows]
    spared = sum(max(n, 0) * low.shape[1] for n, low in zip(pixels, lows))
    return 9 * conv.out_channels * x.shape[0] * spared >= LEAST_SPARED


def _mixed(
    conv: nn.Conv2d, x: Tensor, lows: Sequence[Tensor], align_corners: bool | int, lows_first: bool
) -> Tensor:
    """A 1x1 convolution of the concatenation: each map mixed at its own size, then resized."""
    maps = [*lows, x] if lows_first else [x, *lows]
    weights = conv.weight.split([part.shape[1] for part in maps], dim=1)
    own = -1 if lows_first else 0
    out = F.conv2d(x, weights[own], conv.bias)
    for low, weight in zip(lows, weights if lows_first else weights[1:]):
        out = out + resize_to(F.conv2d(low, weight), x.shape[2:], align_corners)
    return out


def is_open(x: Tensor) -> bool:
    """Whether the height or width of a map is left open by an exporter."""
    return torch.SymInt in map(type, x.shape[-2:])


def resize_to(x: Tensor, size: Sequence[int], align_corners: bool | int) -> Tensor:
    """Bilinear (N, C, h, w) -> (N, C, *size); an open ``align_corners`` is 0 or 1.

    An exporter specialises what branches on a size, so with open ones the resize is written as two
    small matrices whose entries are arithmetic on the sizes themselves.
    """
    if torch.SymInt not in map(type, (*x.shape[2:], *size)):
        return resize(x, (size[0], size[1]), mode='bilinear', align_corners=bool(align_corners))
    rows, columns = (
        _interpolation(source, target, align_corners, x)
        for source, target in zip(x.shape[2:], size)
    )
    return rows @ x @ columns.transpose(0, 1)


def _interpolation(source: int, target: int, align_corners: bool | int, like: Tensor) -> Tensor:
    """(target, source): entry (i, j) is 1 - |position of i - j|, where that is positive."""
    steps = torch.arange(target, device=like.device, dtype=torch.float32)
    places = torch.arange(source, device=like.device, dtype=torch.float32)
    one = torch.ones(1, device=like.device)  # sizes become tensors by it, not branches
    centres = (steps + 0.5) * source / target - 0.5
    corners = steps * (source - 1) / (one * (target - 1)).clamp(min=1)
    position = corners * align_corners + centres * (1 - align_corners)
    position = torch.minimum(position.clamp(min=0), one * (source - 1))
    return (1 - (position[:, None] - places).abs()).clamp(min=0).to(like.dtype)


class CellPool(nn.AdaptiveAvgPool2d):
    """Adaptive average pooling; by two matrices with open sizes, as ONNX has no such operator, and
    in training where bits are asked to repeat, as CUDA adds its gradient up in any order."""

    def __init__(self, cells: int) -> None:
        super().__init__(cells)
        self.cells = cells

    def forward(self, x: Tensor) -> Tensor:
        if torch.SymInt in map(type, x.shape):
            return self._by_matrices(x)
        if not (x.requires_grad and torch.are_deterministic_algorithms_enabled()):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return self._by_matrices(at_least_float32(x)).to(x.dtype)

    def _by_matrices(self, x: Tensor) -> Tensor:
        rows, columns = (_averages(source, self.cells, x) for source in x.shape[2:])
        return rows @ x @ columns.transpose(0, 1)


def _averages(source: int, cells: int, like: Tensor) -> Tensor:
    """Row i averages [floor(i * source / cells), ceil((i + 1) * source / cells))."""
    starts = torch.arange(cells, device=like.device)[:, None] * source
    first = torch.div(starts, cells, rounding_mode='floor')
    last = torch.div(starts + source + cells - 1, cells, rounding_mode='floor')
    index = torch.arange(source, device=like.device)
    inside = ((index >= first) & (index < last)).to(like.dtype)
    return inside / (last - first).to(like.dtype)


def refuse_one_picture(mixer: nn.Module, x: Tensor) -> None:
    """Batch norm over a 1x1 cell has no variance to go by when there is one image.

    Raises:
        UserError: the convolution's norm would take its statistics from one value a channel.
    """
    norm = getattr(mixer, 'norm', None)
    if isinstance(norm, nn.BatchNorm2d) and norm.training and x.shape[0] == 1:
        raise UserError(
            'Batch norm over a map pooled to 1x1 cannot train on one image. Use a batch_size of at '
            "least 2, or norm_cfg=dict(type='GN', num_groups=32) in the head."
        )


def revert_sync_bn(model: nn.Module) -> nn.Module:
    """Replace every SyncBatchNorm by BatchNorm2d in place, sharing parameters and buffers.

    SyncBatchNorm refuses CPU tensors once a process group exists; the arithmetic of one process
    is the same. Returns the model (or its replacement, if it is itself a SyncBatchNorm).
    """
    plain = {m: _plain_bn(m) for m in model.modules() if isinstance(m, nn.SyncBatchNorm)}
    for module in model.modules():
        for name, child in list(module._modules.items()):  # a shared layer stays shared
            if isinstance(child, nn.SyncBatchNorm):
                setattr(module, name, plain[child])
    return plain[model] if isinstance(model, nn.SyncBatchNorm) else model


def _plain_bn(sync: nn.SyncBatchNorm) -> nn.BatchNorm2d:
    with torch.device('meta'):  # its own parameters are replaced in a moment
        plain = nn.BatchNorm2d(
            sync.num_features, sync.eps, sync.momentum, sync.affine, sync.track_running_stats
        )
    plain._parameters.update(sync._parameters)
    plain._buffers.update(sync._buffers)
    return plain.train(sync.training)
