"""Models without weights: built on the meta device, filled from a file.

Initialising the 50 to 90 million weights of a network takes longer than reading the file that then
replaces them. On the meta device a tensor has a shape and no storage, so building is only the
structure; ``load_into`` puts the memory-mapped tensors of the file in its place.
"""

from collections.abc import Container
from typing import Any

import torch
from torch import nn

from .errors import CheckpointError


def build_on_meta(cfg: dict) -> nn.Module:
    """Build a model config without allocating or initialising weights.

    The data preprocessor is built for real: its mean and std are in no checkpoint.
    """
    from segkit.registry import MODELS

    cfg = dict(cfg)
    preprocessor: Any = cfg.get('data_preprocessor')
    if isinstance(preprocessor, dict):
        cfg['data_preprocessor'] = MODELS.build(preprocessor)
    # A pretrained backbone would be read for nothing: the file brings all weights.
    cfg.pop('pretrained', None)
    with torch.device('meta'):
        return MODELS.build(cfg)


def materialise(model: nn.Module, keep: Container[str] = ()) -> None:
    """Give what is still on the meta device storage on the CPU, initialised as its class does it.

    Args:
        keep: state-dict names that hold loaded values and must not change.

    Raises:
        CheckpointError: a tensor that no file holds (a non-persistent buffer) has lost its value.
    """
    for path, module in model.named_modules():
        prefix = f'{path}.' if path else ''
        lost = [n for n, t in _own(module).items() if t.is_meta]
        for name in lost:
            if name in module._non_persistent_buffers_set:
                raise CheckpointError(
                    f'{prefix}{name}: a buffer that no checkpoint holds cannot be restored from '
                    'the meta device; build this model on the CPU.'
                )
        if lost:
            _refill(module, {n: t for n, t in _own(module).items() if prefix + n in keep})


def _own(module: nn.Module) -> dict[str, torch.Tensor]:
    return dict([*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)])


def _refill(module: nn.Module, loaded: dict[str, torch.Tensor]) -> None:
    """Initialise a whole module, then put back what the file gave."""
    loaded = {name: tensor.detach() for name, tensor in loaded.items()}
    module.to_empty(device='cpu', recurse=False)
    if hasattr(module, 'reset_parameters'):
        module.reset_parameters()
    else:
        with torch.no_grad():
            for tensor in _own(module).values():
                tensor.zero_()
    module.load_state_dict(loaded, strict=False)
