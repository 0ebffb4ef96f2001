"""The names under which the older toolbox had its registry of networks, and built from it."""

from collections.abc import Mapping

from torch import nn

from segkit.registry import MODELS, build_ours

BACKBONES = NECKS = HEADS = LOSSES = SEGMENTORS = MODELS


def build_segmentor(cfg: Mapping[str, object]) -> nn.Module:
    """The network of a config; `train_cfg` and `test_cfg` stand in it."""
    return build_ours(cfg)


build_backbone = build_neck = build_head = build_loss = build_segmentor
