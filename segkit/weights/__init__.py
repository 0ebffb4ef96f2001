"""Checkpoints in: every published format and source, read as data and never run.

    load_checkpoint('psanet_...-99fac37c.pth')          a dict, whatever the format
    load_into(model, checkpoint, purpose='test')        weights into a model, with a table
    load_backbone_weights(backbone, 'open-mmlab://resnet50_v1c')
    use_in_mmengine()                                   the same reader for all of mmengine

Imports torch, numpy and safetensors alone, so that a backbone can load weights without a Runner.
"""

from collections.abc import Mapping, Sequence

from torch import nn

from segkit.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    DownloadError,
    UnsafeCheckpointError,
)

from .contents import dataset_meta_of, load_checkpoint, read_verified, state_dict_of
from .integrity import write_checkpoint, write_safetensors
from .loading import LoadReport, load_into
from .pretrained_backbone import inflate_stem, load_backbone_weights, to_our_names
from .skip_init import Undrawn, build_undrawn, initialise, without_pretrained
from .sources import local_file

__all__ = [
    'CheckpointError',
    'CheckpointNotFoundError',
    'DownloadError',
    'LoadReport',
    'Undrawn',
    'UnsafeCheckpointError',
    'apply_init_cfg',
    'build_undrawn',
    'dataset_meta_of',
    'inflate_stem',
    'initialise',
    'load_backbone_weights',
    'load_checkpoint',
    'load_into',
    'local_file',
    'read_verified',
    'state_dict_of',
    'to_our_names',
    'use_in_mmengine',
    'without_pretrained',
    'write_checkpoint',
    'write_safetensors',
]


def use_in_mmengine() -> None:
    """Make mmengine's ``CheckpointLoader`` read through ``load_checkpoint``, whatever the source.

    mmengine 0.10 refuses its own files (numpy and HistoryBuffer in the message hub) and 0.11
    unpickles them without a check. Our Runner does not ask it; ``init_cfg`` does.
    """
    from mmengine.runner.checkpoint import CheckpointLoader

    prefixes = [
        '', 'http://', 'https://', 'torchvision://', 'open-mmlab://', 'openmmlab://', 'timm://',
    ]  # fmt: skip
    CheckpointLoader.register_scheme(prefixes, load_checkpoint, force=True)


def apply_init_cfg(module: nn.Module, init_cfg: Mapping | Sequence[Mapping]) -> None:
    """mmengine's ``initialize``, whose 'Pretrained' reads files as we do."""
    from mmengine.model import initialize  # slow to import, and seldom asked for

    use_in_mmengine()
    initialize(module, init_cfg)
