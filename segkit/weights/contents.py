"""What a loaded checkpoint holds: its weights, and the classes they were trained for.

Layouts: published 0.x files (``meta`` with CLASSES and PALETTE, ``state_dict``), 1.x files
(``meta.dataset_meta``, ``message_hub``, optimizer), bare state dicts, the dicts of other trainers,
and any of them saved from a wrapped model. Which tensors are a given model's: ``state_dict_names``.
"""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch

from segkit.errors import CheckpointError

from .formats import read_file
from .integrity import checking, verify
from .sources import local_file

_WRAPPERS = ('module.', '_orig_mod.')
_AROUND = ('model.', 'net.')  # the names a trainer gives the network it holds
_WEIGHT_KEYS = ('state_dict', 'model_state_dict', 'model', 'net')
_MOST = 100  # times the size of the file that its tensors may say to be


def load_checkpoint(
    filename: str | Path,
    map_location: object = 'cpu',
    logger: object = None,
    *,
    mmap: bool = False,
    check: bool | None = None,
) -> dict:
    """Read a checkpoint of any published format, without running anything it says.

    Args:
        filename: a path, ``http(s)://``, ``open-mmlab://``, ``torchvision://``, ``timm://`` or
            ``hf://owner/name``.
        map_location: as in ``torch.load``; 'cpu' by default, and for None.
        logger: accepted for mmengine's ``CheckpointLoader``, unused.
        mmap: leave tensors on disk until touched; the file must stay unchanged meanwhile.
        check: look whether the file is whole, see ``integrity``; by default yes, unless
            ``--no-verify`` or ``SEGKIT_NO_VERIFY`` was given.

    Returns:
        A dict. ``meta['config']`` is never in it: mmengine's resume would execute it as Python.

    Raises:
        CheckpointError: with a sentence that names the file; see ``segkit.errors`` for the kinds.
    """
    del logger
    return read_verified(filename, map_location, mmap, check)[0]


def read_verified(
    filename: str | Path,
    map_location: object = 'cpu',
    mmap: bool = False,
    check: bool | None = None,
) -> tuple[dict, str]:
    """``load_checkpoint``, and how the file was found to be whole, in words."""
    path = local_file(filename)
    verified = ''
    if (checking() if check is None else check) and path.is_file():
        verified = verify(path)
    # torch's None means "where it was saved": a GPU that this machine may not have.
    content = read_file(path, 'cpu' if map_location is None else map_location, mmap)
    if not isinstance(content, dict):
        raise CheckpointError(
            f'{filename}: holds a {type(content).__name__}, not a dict of weights; save '
            'model.state_dict(), or dict(state_dict=...), and load that.'
        )
    _refuse_expanding(content, path)
    meta = content.get('meta')
    if isinstance(meta, dict):
        meta.pop('config', None)
    return content, verified


def _refuse_expanding(content: Mapping, path: Path) -> None:
    """One number, said to be a tensor of a thousand billion, is that large once it is copied."""
    limit = _MOST * path.stat().st_size + (64 << 20)
    tensors = [value for value in content.values() if isinstance(value, torch.Tensor)]
    for value in content.values():
        if isinstance(value, Mapping):
            tensors += [item for item in value.values() if isinstance(item, torch.Tensor)]
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors) > limit:
        raise CheckpointError(
            f'{path}: refused, because its tensors would unpack to more than {_MOST} times the '
            'size of the file.'
        )


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
    source = next((entry for entry in inner if _tensors(entry)), checkpoint)
    state = OrderedDict((_strip(str(key)), value) for key, value in _tensors(source).items())
    for prefix in _AROUND:
        if state and all(key.startswith(prefix) for key in state):
            state = OrderedDict((_strip(k[len(prefix) :]), v) for k, v in state.items())
    if not state:
        raise CheckpointError(f'{name}: holds no weights {_instead(source)}')
    return state


def _tensors(node: Mapping) -> dict[object, torch.Tensor]:
    return {key: value for key, value in node.items() if isinstance(value, torch.Tensor)}


def _instead(node: Mapping) -> str:
    if {type(value).__name__ for value in node.values()} == {'ndarray'}:
        return (
            'as tensors, but as numpy arrays. Make it a checkpoint with: torch.save({k: '
            'torch.from_numpy(v) for k, v in arrays.items()}, "weights.pth")'
        )
    keys = ', '.join(map(str, list(node)[:6])) or 'none'
    return f"(its keys: {keys}); expected a state dict or a 'state_dict' entry."


def dataset_meta_of(checkpoint: dict) -> dict[str, list] | None:
    """``{'classes': [...], 'palette': [[r, g, b], ...]}`` as the checkpoint tells, or None.

    ``palette`` is left out when the file has none, or one that is none.
    """
    meta = checkpoint.get('meta')
    if not isinstance(meta, dict):
        return None
    nested = meta.get('dataset_meta')
    nested = nested if isinstance(nested, dict) else {}
    flat = {str(key).lower(): value for key, value in {**meta, **nested}.items()}
    classes = flat.get('classes')
    if classes is None or isinstance(classes, (str, bytes, dict)):
        return None
    try:
        found: dict[str, list] = {'classes': [str(name) for name in classes]}
    except TypeError:  # a number, say
        return None
    try:
        if flat.get('palette') is not None:
            palette = [[int(value) for value in color] for color in flat['palette']]
            if all(len(color) == 3 and min(color) >= 0 and max(color) < 256 for color in palette):
                found['palette'] = palette
    except (TypeError, ValueError, OverflowError):
        pass
    return found
