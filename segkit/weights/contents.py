"""What a loaded checkpoint holds: its weights, and the classes they were trained for.

Layouts: published 0.x files (``meta`` with CLASSES and PALETTE, ``state_dict``), 1.x files
(``meta.dataset_meta``, ``message_hub``, optimizer), bare state dicts, and any of them saved from
a wrapped model (``module.`` of DDP, ``_orig_mod.`` of torch.compile).
"""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from .errors import CheckpointError
from .formats import read_file
from .sources import local_file

_WRAPPERS = ('module.', '_orig_mod.')
_WEIGHT_KEYS = ('state_dict', 'model')


def load_checkpoint(
    filename: str | Path, map_location: Any = 'cpu', logger: Any = None, *, mmap: bool = False
) -> dict:
    """Read a checkpoint of any published format, without running anything it says.

    Args:
        filename: a path, ``http(s)://``, ``open-mmlab://``, ``torchvision://`` or ``timm://``.
        map_location: as in ``torch.load``; 'cpu' by default, and for None.
        logger: accepted for mmengine's ``CheckpointLoader``, unused.
        mmap: leave tensors on disk until touched; the file must stay unchanged meanwhile.

    Returns:
        A dict. ``meta['config']`` is never in it: mmengine's resume would execute it as Python.

    Raises:
        CheckpointError: with a sentence that names the file; see ``errors`` for the kinds.
    """
    del logger
    # torch's None means "where it was saved": a GPU that this machine may not have.
    where = 'cpu' if map_location is None else map_location
    checkpoint = read_file(local_file(filename), where, mmap)
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f'{filename}: holds a {type(checkpoint).__name__}, not a dict of weights; save '
            'model.state_dict(), or dict(state_dict=...), and load that.'
        )
    meta = checkpoint.get('meta')
    if isinstance(meta, dict):
        meta.pop('config', None)
    return checkpoint


def _strip(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = name.split('.', 1)[1]
    return name


def state_dict_of(
    checkpoint: dict, name: str = 'the checkpoint'
) -> 'OrderedDict[str, torch.Tensor]':
    """The weights in a checkpoint, with the prefixes of wrappers removed.

    Args:
        checkpoint: what ``load_checkpoint`` returned, or a bare state dict.
        name: the file, for the error.
    """
    inner = [checkpoint[key] for key in _WEIGHT_KEYS if isinstance(checkpoint.get(key), dict)]
    source = inner[0] if inner else checkpoint
    state = OrderedDict(
        (_strip(key), value) for key, value in source.items() if isinstance(value, torch.Tensor)
    )
    if not state:
        keys = ', '.join(map(str, list(checkpoint)[:6])) or 'none'
        raise CheckpointError(
            f"{name}: holds no weights (its keys: {keys}); expected a state dict or a 'state_dict' "
            'entry.'
        )
    return state


def dataset_meta_of(checkpoint: dict) -> dict[str, list] | None:
    """``{'classes': [...], 'palette': [[r, g, b], ...]}`` as the checkpoint tells, or None.

    ``palette`` is left out when the file has none.
    """
    meta = checkpoint.get('meta')
    if not isinstance(meta, dict):
        return None
    nested = meta.get('dataset_meta')
    nested = nested if isinstance(nested, dict) else {}
    flat = {str(key).lower(): value for key, value in {**meta, **nested}.items()}
    classes = flat.get('classes')
    if classes is None or isinstance(classes, str):
        return None
    found: dict[str, list] = {'classes': [str(name) for name in classes]}
    if flat.get('palette') is not None:
        found['palette'] = [[int(value) for value in color] for color in flat['palette']]
    return found
