"""Checkpoint files as the toolboxes of each time wrote them, and files that mean harm."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

CLASSES = ('road', 'sky', 'car')
PALETTE = [[128, 64, 128], [70, 130, 180], [0, 0, 142]]


def tiny_model(classes: int = 3, seed: int = 0) -> nn.Module:
    """A model with a backbone, a classifier and an auxiliary head, in the published key style."""
    torch.manual_seed(seed)
    model = nn.Module()
    model.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    model.decode_head = nn.Module()
    model.decode_head.conv_seg = nn.Conv2d(4, classes, 1)
    model.auxiliary_head = nn.Module()
    model.auxiliary_head.conv_seg = nn.Conv2d(4, classes, 1)
    return model


def published(model: nn.Module) -> dict:
    """A 0.x file as published: meta and weights."""
    meta = {'CLASSES': CLASSES, 'PALETTE': PALETTE, 'mmseg_version': '0.5.0'}
    return {'meta': meta, 'state_dict': model.state_dict()}


def training_0x(model: nn.Module, config: str) -> dict:
    """A 0.x file of a training run: numpy values in meta, the config as text, an optimizer."""
    meta = {
        'CLASSES': CLASSES, 'PALETTE': np.array(PALETTE, np.uint8), 'iter': np.int64(40),
        'lr': np.float32(0.01), 'seed': None, 'config': config, 'names': np.array(['a', 'bc']),
    }  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return {'meta': meta, 'state_dict': model.state_dict(), 'optimizer': optimizer.state_dict()}


def runner_1x(model: nn.Module) -> dict:
    """A 1.x file of mmengine's Runner: message hub with HistoryBuffer, nested dataset meta."""
    from mmengine.logging import HistoryBuffer

    hub = {
        'log_scalars': {'train/loss': HistoryBuffer([3.0, 2.0, 1.5], [1, 1, 1], max_length=10)},
        'runtime_info': {'eta': np.float64(12.5), 'iter': 3},
        'resumed_keys': {'train/loss': True},
    }
    meta = {'iter': 3, 'epoch': 0, 'cfg': 'a = 1', 'dataset_meta': {
        'classes': CLASSES, 'palette': PALETTE,
    }}  # fmt: skip
    return {'meta': meta, 'state_dict': model.state_dict(), 'message_hub': hub, 'optimizer': {}}


def save(content: Any, path: Path, legacy: bool = False) -> Path:
    """torch.save, as a zip or as torch 1.5 did."""
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def with_pickle_bytes(path: Path, old: bytes, new: bytes) -> Path:
    """Rewrite a zip checkpoint with other bytes in its pickle, where these must occur."""
    source = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as target:
        for item in source.infolist():
            data = source.read(item)
            if item.filename.endswith('data.pkl'):
                assert old in data
                data = data.replace(old, new)
            target.writestr(item, data)
    return path


def with_numpy_1_names(path: Path) -> Path:
    """Rewrite a zip checkpoint as numpy 1.x would have named its functions."""
    return with_pickle_bytes(path, b'cnumpy._core.multiarray\n', b'cnumpy.core.multiarray\n')


class Call:
    """Pickles as a call: ``Call(os.system, 'touch x')`` runs it when unpickled plainly."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple:
        return self.function, self.args


class Build:
    """Pickles as a call followed by ``__setstate__``."""

    def __init__(self, function: Any, args: tuple, state: Any) -> None:
        self.parts = function, args, state

    def __reduce__(self) -> tuple:
        return self.parts


def as_plain_pickle(content: Any, path: Path) -> Path:
    """A bare pickle (protocol 2) under a checkpoint's name."""
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path
