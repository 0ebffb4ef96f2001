"""Pretrained weights of other collections into our ResNets, where the architecture allows.

Same tensors, other names:

    torchvision, timm resnetNN      conv1, bn1, layer1.0...     as ours
    timm resnetNNc, resnetNNd       conv1.0/1/3/4/6, bn1        stem.0/1/3/4/6, stem.7
    open-mmlab resnetNN_v1c         stem.0 ...                  as ours
    a whole segmentor               backbone.stem.0 ...         the prefix goes
    SegFormer's authors             block1.0.attn.q ...         see segformer_names.py

A 7x7 stem cannot fill three 3x3 convolutions, nor a plain shortcut an averaging one (V1d): that
is refused, because a half-loaded backbone trains, only worse, and nobody notices.
"""

import logging
import re
from pathlib import Path

import torch
from mmengine.logging import print_log
from torch import nn

from segkit.errors import CheckpointError
from segkit.shared_text import without_secrets

from .contents import load_checkpoint, state_dict_of
from .loading import LoadReport, compare
from .segformer_names import of_segformer

# A classifier on top, and the keys of other parts of a segmentor.
_NOT_BACKBONE = ('fc.', 'head.', 'classifier.')
_STEM_WEIGHTS = ('stem.0.weight', 'conv1.weight', 'layers.0.0.projection.weight')


def load_backbone_weights(module: nn.Module, source: str | Path) -> LoadReport:
    """Fill a backbone from a pretrained file.

    For images of other than three channels the first convolution is inflated (``inflate_stem``).

    Args:
        source: whatever ``load_checkpoint`` takes, e.g. ``open-mmlab://resnet50_v1c``.

    Raises:
        CheckpointError: the file lacks weights of this backbone; the message holds the table.
    """
    theirs = state_dict_of(load_checkpoint(source, mmap=True), str(source))
    state = to_our_names(of_segformer(theirs), set(module.state_dict()))
    _inflate(module, state)
    report = compare(module, state, without_secrets(str(source)))
    if report.missing or report.mismatched:
        raise CheckpointError(f'{report.table(12)}\n{_advice(report, module)}')
    module.load_state_dict({name: state[name] for name in report.loaded}, strict=False)
    if report.unexpected:
        print_log(
            f'{report.source}: {len(report.unexpected)} weights were not used, '
            f'{report.unexpected[0]} first: {type(module).__name__} has no such part. Is it of the '
            'depth that was meant?',
            'current',
            logging.WARNING,
        )
    return report


def to_our_names(
    state: dict[str, torch.Tensor], ours: set[str] | None = None
) -> dict[str, torch.Tensor]:
    """Rename the keys of torchvision, timm and whole-model files; drop what is no backbone's.

    Args:
        ours: the keys of the backbone; names that are among them already are never changed.
    """
    if any(name.startswith('backbone.') for name in state):
        prefix = len('backbone.')
        state = {n[prefix:]: t for n, t in state.items() if n.startswith('backbone.')}
    deep = 'conv1.0.weight' in state
    renamed = {}
    for name, tensor in state.items():
        if name.startswith(_NOT_BACKBONE):
            continue
        if deep and name not in (ours or ()):
            name = re.sub(r'^conv1\.(\d)', r'stem.\1', name)
            name = re.sub(r'^bn1\.', 'stem.7.', name)
        renamed[name] = tensor
    return renamed


def inflate_stem(weight: torch.Tensor, channels: int) -> torch.Tensor:
    """(O, 3, k, k) -> (O, channels, k, k), keeping the answer to a grey image exactly.

    More channels: the filters repeat in turn, each sharing its weight among its copies. Fewer:
    each gets the mean of the three.
    """
    given = weight.shape[1]
    if channels < given:
        return (weight.sum(1, keepdim=True) / channels).expand(-1, channels, -1, -1).contiguous()
    index = torch.arange(channels) % given
    copies = torch.bincount(index, minlength=given)[index]
    return weight[:, index] / copies.view(1, -1, 1, 1)


def _inflate(module: nn.Module, state: dict[str, torch.Tensor]) -> None:
    ours = module.state_dict()
    for name in _STEM_WEIGHTS:
        if name not in state or name not in ours:
            continue
        theirs, wanted = state[name].shape, ours[name].shape
        if theirs[1] != wanted[1] and theirs[0] == wanted[0] and theirs[2:] == wanted[2:]:
            state[name] = inflate_stem(state[name], wanted[1])


def _advice(report: LoadReport, module: nn.Module) -> str:
    kind, missing = type(module).__name__, set(report.missing)
    if 'stem.0.weight' in missing and 'conv1.weight' in report.unexpected:
        return (
            f'{report.source} has the single 7x7 stem and {kind} three 3x3 convolutions: use '
            'open-mmlab://resnet50_v1c or its like, or the backbone ResNet.'
        )
    if 'conv1.weight' in missing and 'stem.0.weight' in report.unexpected:
        return (
            f'{report.source} has a stem of three 3x3 convolutions and {kind} a single 7x7: use '
            'torchvision:// weights, or the backbone ResNetV1c or ResNetV1d.'
        )
    if any('downsample' in name for name in missing):
        return (
            f'the shortcuts differ: weights whose names end in d fit ResNetV1d alone, and {kind} '
            'needs those of its own kind and depth.'
        )
    return f'the file is not of a {kind} of this depth; check depth and the name of the weights.'
