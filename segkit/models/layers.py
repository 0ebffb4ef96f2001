"""The small bricks of every network: convolution + norm + activation, and how each is chosen.

The state-dict names (`conv`, `bn`, `gn`, ..., `activate`) are those of mmcv's ConvModule, because
published checkpoints carry them. Written here because mmcv imports OpenCV, and a head that someone
borrows for another project should need torch alone.

Legend: x (N, C, H, W) float.
"""

import difflib
import warnings
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Config = Mapping[str, Any]

# type string -> (prefix of the attribute's name in the state dict, class)
NORMS: dict[str, tuple[str, type[nn.Module]]] = {
    'BN': ('bn', nn.BatchNorm2d),
    'BN1d': ('bn', nn.BatchNorm1d),
    'BN2d': ('bn', nn.BatchNorm2d),
    'BN3d': ('bn', nn.BatchNorm3d),
    'SyncBN': ('bn', nn.SyncBatchNorm),
    'GN': ('gn', nn.GroupNorm),
    'LN': ('ln', nn.LayerNorm),
    'IN': ('in', nn.InstanceNorm2d),
    'IN1d': ('in', nn.InstanceNorm1d),
    'IN2d': ('in', nn.InstanceNorm2d),
}
CONVS: dict[str, type[nn.Module]] = {
    'Conv': nn.Conv2d,
    'Conv1d': nn.Conv1d,
    'Conv2d': nn.Conv2d,
    'Conv3d': nn.Conv3d,
}
ACTIVATIONS: dict[str, type[nn.Module]] = {
    'ReLU': nn.ReLU,
    'LeakyReLU': nn.LeakyReLU,
    'PReLU': nn.PReLU,
    'RReLU': nn.RReLU,
    'ReLU6': nn.ReLU6,
    'ELU': nn.ELU,
    'Sigmoid': nn.Sigmoid,
    'Tanh': nn.Tanh,
    'GELU': nn.GELU,
    'SiLU': nn.SiLU,
    'Swish': nn.SiLU,
    'Mish': nn.Mish,
    'HSwish': nn.Hardswish,
    'Hardswish': nn.Hardswish,
}
_NO_INPLACE = {'Tanh', 'PReLU', 'Sigmoid', 'GELU'}


def _look_up(kind: str, cfg: Config, table: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The table's entry (or the registered class) named by ``cfg['type']``, and its arguments."""
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        raise TypeError(f"{kind} must be a dict with the key 'type', got {cfg!r}.")
    args = dict(cfg)
    name = args.pop('type')
    if name in table:
        return table[name], args
    if isinstance(name, type):
        return name, args
    from segkit.registry import MODELS  # only for what other projects register

    found = MODELS.get(name)
    if found is None:
        near = difflib.get_close_matches(str(name), table, n=3, cutoff=0.3)
        hint = f' Did you mean {" or ".join(repr(n) for n in near)}?' if near else ''
        raise KeyError(f'{kind}: unknown type {name!r}.{hint} Known: {", ".join(table)}.')
    return found, args


def build_conv(cfg: Config | None, *args: Any, **kwargs: Any) -> nn.Module:
    """A convolution of ``cfg['type']`` (None: Conv2d); the other arguments go to its class."""
    cls, extra = _look_up('conv_cfg', cfg or {'type': 'Conv2d'}, CONVS)
    return cls(*args, **kwargs, **extra)


def build_norm(cfg: Config, channels: int, postfix: int | str = '') -> tuple[str, nn.Module]:
    """The attribute name ('bn', 'gn', ... + postfix) and the norm layer over ``channels``.

    ``requires_grad=False`` in the config freezes the affine parameters, as in mmcv.
    """
    found, args = _look_up('norm_cfg', cfg, NORMS)
    prefix, cls = found if isinstance(found, tuple) else (_norm_prefix(found), found)
    requires_grad = args.pop('requires_grad', True)
    args.setdefault('eps', 1e-5)
    if cls is nn.GroupNorm:
        if 'num_groups' not in args:
            raise KeyError("norm_cfg: type 'GN' needs num_groups, e.g. num_groups=32.")
        layer = cls(num_channels=channels, **args)
    else:
        layer = cls(channels, **args)
    for parameter in layer.parameters():
        parameter.requires_grad = requires_grad
    return f'{prefix}{postfix}', layer


def _norm_prefix(cls: type[nn.Module]) -> str:
    """State-dict prefix of a norm class from elsewhere, by mmcv's rules."""
    for base, prefix in (
        (nn.modules.instancenorm._InstanceNorm, 'in'),
        (nn.modules.batchnorm._BatchNorm, 'bn'),
        (nn.GroupNorm, 'gn'),
        (nn.LayerNorm, 'ln'),
    ):
        if issubclass(cls, base):
            return prefix
    name = cls.__name__.lower()
    for word, prefix in (('batch', 'bn'), ('group', 'gn'), ('layer', 'ln'), ('instance', 'in')):
        if word in name:
            return prefix
    return 'norm_layer'


def build_activation(cfg: Config, inplace: bool | None = None) -> nn.Module:
    """The activation of ``cfg['type']``; ``inplace`` is dropped where the class has no such."""
    cls, args = _look_up('act_cfg', cfg, ACTIVATIONS)
    if inplace is not None and cfg['type'] not in _NO_INPLACE:
        args.setdefault('inplace', inplace)
    return cls(**args)


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


def kaiming_init(module: nn.Module, a: float = 0.0, nonlinearity: str = 'relu') -> None:
    """He initialisation over the fan out (arXiv:1502.01852, section 2.2), bias 0."""
    nn.init.kaiming_normal_(module.weight, a=a, mode='fan_out', nonlinearity=nonlinearity)
    if getattr(module, 'bias', None) is not None:
        nn.init.zeros_(module.bias)


def constant_init(module: nn.Module, value: float, bias: float = 0.0) -> None:
    """Fill the weight with ``value`` and the bias with ``bias``, where there are such."""
    if getattr(module, 'weight', None) is not None:
        nn.init.constant_(module.weight, value)
    if getattr(module, 'bias', None) is not None:
        nn.init.constant_(module.bias, bias)


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
        self.norm_name = None
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
        leaky = self.with_activation and self.act_cfg['type'] == 'LeakyReLU'
        slope = self.act_cfg.get('negative_slope', 0.01) if leaky else 0.0
        kaiming_init(self.conv, slope, 'leaky_relu' if leaky else 'relu')
        if self.with_norm:
            constant_init(self.norm, 1)

    def forward(self, x: Tensor, activate: bool = True, norm: bool = True) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H', W')."""
        x = self.conv(x)
        if norm and self.with_norm:
            x = self.norm(x)
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
