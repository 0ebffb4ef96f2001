"""What a backbone starts from: a file of weights, mmengine's initialisers, or its own draw."""

from collections.abc import Callable, Mapping

from torch import nn


def start(backbone: nn.Module, draw: Callable[[], None]) -> None:
    """Pretrained weights if any were named, else as ``init_cfg`` says, else ``draw()``.

    Reads ``backbone.pretrained`` and ``backbone.init_cfg``, of which one at most is given.
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
