"""The names under which mmsegmentation had its registry of networks, and built from it."""

from collections.abc import Mapping

from torch import nn

from segkit.old_names import serve
from segkit.registry import MODELS, build_ours

BACKBONES = NECKS = HEADS = LOSSES = SEGMENTORS = MODELS


def build_backbone(cfg: Mapping[str, object]) -> nn.Module:
    """A network, or a part of one, of its config."""
    return build_ours(cfg)


build_neck = build_head = build_loss = build_backbone


def build_segmentor(
    cfg: Mapping[str, object],
    train_cfg: Mapping[str, object] | None = None,
    test_cfg: Mapping[str, object] | None = None,
) -> nn.Module:
    """The network of a config; `train_cfg` and `test_cfg` stand in it, or beside it."""
    beside = {'train_cfg': train_cfg, 'test_cfg': test_cfg}
    return build_ours({**cfg, **{key: value for key, value in beside.items() if value is not None}})


serve(__name__)
