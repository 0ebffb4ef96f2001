"""From a config to a convolution, a norm or an activation, by the type names users know.

A norm comes with the name it has in a state dict ('bn', 'gn', 'ln', 'in'), which published
checkpoints depend on.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from segkit.compat import sync_batch_norm
from segkit.errors import suggestion

Config = Mapping[str, Any]
Conv = nn.modules.conv._ConvNd  # what all of torch's convolutions are

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
CONVS = {'Conv': nn.Conv2d, 'Conv1d': nn.Conv1d, 'Conv2d': nn.Conv2d, 'Conv3d': nn.Conv3d}
ACTIVATIONS: dict[str, type[nn.Module]] = {
    'ReLU': nn.ReLU, 'LeakyReLU': nn.LeakyReLU, 'PReLU': nn.PReLU, 'RReLU': nn.RReLU,
    'ReLU6': nn.ReLU6, 'ELU': nn.ELU, 'Sigmoid': nn.Sigmoid, 'Tanh': nn.Tanh, 'GELU': nn.GELU,
    'SiLU': nn.SiLU, 'Swish': nn.SiLU, 'Mish': nn.Mish, 'HSwish': nn.Hardswish,
    'Hardswish': nn.Hardswish,
}  # fmt: skip
_KIN: tuple[tuple[type[nn.Module], str], ...] = (
    (nn.modules.instancenorm._InstanceNorm, 'in'),
    (nn.modules.batchnorm._BatchNorm, 'bn'),
    (nn.GroupNorm, 'gn'),
    (nn.LayerNorm, 'ln'),
)
_NO_INPLACE = {'Tanh', 'PReLU', 'Sigmoid', 'GELU'}


def look_up(kind: str, cfg: Config, table: Mapping[str, object]) -> tuple[Any, dict[str, Any]]:
    """The table's entry (or the registered class) named by ``cfg['type']``, and its arguments."""
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        raise TypeError(f"{kind} must be a dict with the key 'type', got {cfg!r}.")
    args = dict(cfg)
    name = args.pop('type')
    if name in table:
        return table[name], args
    if isinstance(name, type):
        return name, args
    from segkit.registry import find_class  # only for what other projects register

    found = find_class(name)
    if found is None:
        raise KeyError(f'{kind}: unknown type {name!r}.{suggestion(str(name), table)}')
    return found, args


def build_norm(cfg: Config, channels: int, postfix: int | str = '') -> tuple[str, nn.Module]:
    """The attribute name ('bn', 'gn', ... + postfix) and the norm layer over ``channels``.

    ``requires_grad=False`` in the config freezes the affine parameters, as in mmcv.
    """
    found, args = look_up('norm_cfg', cfg, NORMS)
    prefix, cls = found if isinstance(found, tuple) else (_norm_prefix(found), found)
    cls = sync_batch_norm() if cls is nn.SyncBatchNorm else cls
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
    for base, prefix in _KIN:
        if issubclass(cls, base):
            return prefix
    name = cls.__name__.lower()
    words = (('batch', 'bn'), ('group', 'gn'), ('layer', 'ln'), ('instance', 'in'))
    return next((prefix for word, prefix in words if word in name), 'norm_layer')


def build_activation(cfg: Config, inplace: bool | None = None) -> nn.Module:
    """The activation of ``cfg['type']``; ``inplace`` is dropped where the class has no such."""
    cls, args = look_up('act_cfg', cfg, ACTIVATIONS)
    if inplace is not None and cfg['type'] not in _NO_INPLACE:
        args.setdefault('inplace', inplace)
    return cls(**args)
