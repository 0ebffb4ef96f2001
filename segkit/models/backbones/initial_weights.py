"""What a backbone starts from: a file of weights, mmengine's initialisers, or its own draw."""

import os
from collections.abc import Callable, Mapping, Sequence

from torch import nn

from segkit.errors import UserError

Config = Mapping[str, object]


def named_once(
    who: str, pretrained: str | os.PathLike | None, init_cfg: Config | Sequence[Config] | None
) -> Config | Sequence[Config] | None:
    """The ``init_cfg`` that two arguments of a backbone, ``who``, come down to."""
    if pretrained is None:
        return init_cfg
    if not isinstance(pretrained, str | os.PathLike):
        raise UserError(
            f'{who}: pretrained={pretrained!r} names no weights; give a path or a URL, or None.'
        )
    if init_cfg is not None:
        raise UserError(f'{who}: give either pretrained or init_cfg, not both.')
    return {'type': 'Pretrained', 'checkpoint': os.fspath(pretrained)}


def start(backbone: nn.Module, draw: Callable[[], None]) -> None:
    """Pretrained weights if any were named, else as ``init_cfg`` says, else ``draw()``.

    Reads ``backbone.pretrained`` and ``backbone.init_cfg``, which say the same if both are there.
    """
    cfg = getattr(backbone, 'init_cfg', None)
    source = getattr(backbone, 'pretrained', None)
    if isinstance(cfg, Mapping) and cfg.get('type') == 'Pretrained':
        if not cfg.get('checkpoint'):
            raise KeyError("backbone.init_cfg: type 'Pretrained' needs the key 'checkpoint'.")
        source = cfg['checkpoint']
    if source is not None:
        from segkit.weights import load_backbone_weights  # nothing that a head alone needs

        load_backbone_weights(backbone, source)
    elif cfg:
        from segkit.weights import apply_init_cfg

        apply_init_cfg(backbone, cfg)
    else:
        draw()
