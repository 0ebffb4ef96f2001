"""FSDP2: parameters, gradients and optimizer state spread over the ranks (for large backbones).

``model_wrapper_cfg=dict(type='FSDP2')``. Each stage of the backbone and then the whole model is
sharded with torch's ``fully_shard`` (Zhao et al., "PyTorch FSDP", VLDB 2023). Checkpoints hold
whole tensors, as those of DDP do, so that a run may change between the two.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
import torch.distributed as torch_dist
from torch import nn

_WHOLE = dict(full_state_dict=True, cpu_offload=True)


def _dcp() -> ModuleType:
    from torch.distributed.checkpoint import state_dict  # slow to import, and seldom needed

    return state_dict


def shard(model: nn.Module, options: dict) -> nn.Module:
    """Initialise, give all ranks the first one's weights, and shard in place.

    Args:
        options: arguments of ``torch.distributed.fsdp.fully_shard`` (mp_policy, mesh, ...).
    """
    from torch.distributed.fsdp import fully_shard

    # While tensors are whole: initialisers would each see a slice.
    network: Any = model  # a segmentor of any class
    network.init_weights()
    for tensor in model.state_dict().values():
        torch_dist.broadcast(tensor, 0)
    for name, stage in network.backbone.named_children():
        if name.startswith('layer'):
            fully_shard(stage, **options)
    fully_shard(model, **options)
    network.is_sharded = True
    return model


def is_sharded(model: nn.Module) -> bool:
    return getattr(model, 'is_sharded', False)


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Keep the parameters whole on each rank, for evaluation.

    Gathering them in each forward pass would need all ranks to have as many images.
    """
    if not is_sharded(model):
        yield
        return
    from torch.distributed.fsdp import FSDPModule

    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for part in parts:
        part.unshard()
        part.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for part in parts:
            part.set_reshard_after_forward(part is not model, recurse=False)
            part.reshard()


def whole_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict with whole tensors; all ranks must call, only the first gets it if sharded."""
    if not is_sharded(model):
        return model.state_dict()
    return _dcp().get_model_state_dict(model, options=_dcp().StateDictOptions(**_WHOLE))


def load_whole_state(model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Spread whole tensors over the ranks; every rank must hold all of ``state``."""
    options = _dcp().StateDictOptions(full_state_dict=True, strict=True)
    _dcp().set_model_state_dict(model, state, options=options)


def whole_optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    """State of a sharded model's optimizer, by parameter name, with whole tensors."""
    return _dcp().get_optimizer_state_dict(
        model, optimizer, options=_dcp().StateDictOptions(**_WHOLE)
    )


def load_whole_optimizer_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, state: dict
) -> None:
    """Undo :func:`whole_optimizer_state`."""
    options = _dcp().StateDictOptions(full_state_dict=True)
    _dcp().set_optimizer_state_dict(model, optimizer, state, options=options)
