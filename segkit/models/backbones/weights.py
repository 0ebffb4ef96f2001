"""How a backbone starts: from published weights if some were named, else from He initialisation."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import nn

from ..layers import constant_init, kaiming_init

if TYPE_CHECKING:
    from .resnet import ResNet


def init_backbone(backbone: 'ResNet') -> None:
    """By `pretrained` or `init_cfg` if they say something, else as He with `zero_init_residual`."""
    source = pretrained_source(backbone)
    if source is not None:
        from segkit.weights import load_backbone_weights  # seldom asked for

        load_backbone_weights(backbone, source)
    elif backbone.init_cfg:
        from mmengine.model import initialize  # slow to import, and rarely asked for

        initialize(backbone, backbone.init_cfg)
    else:
        _he(backbone, backbone.zero_init_residual)


def pretrained_source(backbone: 'ResNet') -> str | None:
    """The checkpoint named by `pretrained` or by an `init_cfg` of type 'Pretrained', or None."""
    cfg = backbone.init_cfg
    if isinstance(cfg, Mapping) and cfg.get('type') == 'Pretrained':
        if not cfg.get('checkpoint'):
            raise KeyError("backbone.init_cfg: type 'Pretrained' needs the key 'checkpoint'.")
        return cfg['checkpoint']
    return backbone.pretrained


def _he(backbone: nn.Module, zero_init_residual: bool) -> None:
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            kaiming_init(module)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm | nn.GroupNorm):
            constant_init(module, 1)
    if zero_init_residual:
        for module in backbone.modules():
            norm = getattr(module, 'last_norm', None)
            if norm is not None:
                constant_init(norm, 0)
