"""From a built network to one ready to train: memory, normalisation, wrapper, compilation.

``model_wrapper_cfg=dict(type='FSDP2')`` spreads parameters, gradients and optimizer state over the
ranks: each stage of the backbone and then the whole model is sharded with torch's ``fully_shard``
(Zhao et al., "PyTorch FSDP", VLDB 2023). Checkpoints hold whole tensors, as those of DDP do, so
that a run may change between the two.
"""

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, cast

import torch
import torch.distributed as torch_dist
from mmengine.device import get_device
from mmengine.model import is_model_wrapper
from torch import nn

from segkit.engine.freezing import freeze
from segkit.errors import ConfigError
from segkit.models.layers import revert_sync_bn
from segkit.registry import MODEL_WRAPPERS

DEVICE = get_device()  # of this process
ON_CPU = torch.device(DEVICE).type == 'cpu'
NETWORK_PARTS = ('backbone', 'neck', 'decode_head', 'auxiliary_head')


def bare(model: nn.Module) -> nn.Module:
    """The model without its distributed wrapper."""
    return cast(nn.Module, model.module) if is_model_wrapper(model) else model


def ready(
    model: nn.Module,
    wrapper: Mapping[str, object] | None,
    cfg: Mapping[str, object],
    distributed: bool,
) -> tuple[nn.Module, str]:
    """The model on its device, in a wrapper if ``distributed``; a sentence if it was changed.

    Args:
        wrapper: ``model_wrapper_cfg``, DDP unless its type is another. cfg: the whole config.
    """
    note, wanted = '', cfg.get('sync_bn')
    if wanted not in (None, 'torch', 'mmcv'):
        raise ConfigError(
            f"sync_bn={wanted!r}: 'torch' ('mmcv' is the same here) has each batch norm count over "
            'all ranks; leave it out for norms as norm_cfg says'
        )
    if wanted and distributed and not ON_CPU:  # whose SyncBN would be turned back
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    count = sum(isinstance(m, nn.SyncBatchNorm) for m in model.modules())
    if count and (ON_CPU or not distributed):
        # torch's SyncBatchNorm refuses CPU tensors, under DDP too, and mmengine reverts it only
        # outside of DDP, to a class of its own that compilers and exporters do not know.
        model = revert_sync_bn(model)
        reason = 'SyncBN needs CUDA' if ON_CPU else 'there is one process'
        note = f'{count} SyncBN layers became BatchNorm2d: {reason}.'
    patterns: Any = cfg.get('freeze')
    if patterns:
        note = f'{note} {freeze(model, patterns)}'.strip()
    model = model.to(DEVICE)
    if cfg.get('channels_last'):
        model = use_channels_last(model)
    if not distributed:
        return model, note
    wrapper = dict(wrapper or {})
    if wrapper.get('type') == 'FSDP2':
        return shard(model, {k: v for k, v in wrapper.items() if k != 'type'}), note
    return wrap(model, wrapper, bool(cfg.get('find_unused_parameters'))), note


def switch_on(model: nn.Module, cfg: Mapping[str, object], say: Callable[[str], None]) -> None:
    """What mmengine can do to the modules named in a config, to save memory or time."""
    if modules := cfg.get('activation_checkpointing'):
        from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing

        turn_on_activation_checkpointing(model, modules)
        say(f'Activations of {modules} are computed again instead of kept.')
    if modules := cfg.get('efficient_conv_bn_eval'):
        from mmengine.model.efficient_conv_bn_eval import turn_on_efficient_conv_bn_eval

        turn_on_efficient_conv_bn_eval(model, modules)
        say(f'Frozen batch norms of {modules} are computed with their convolutions.')


def use_channels_last(model: nn.Module) -> nn.Module:
    """Weights and the backbone's input in NHWC order: what tensor cores and oneDNN prefer."""
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stub

    def to_channels_last(module: nn.Module, args: tuple) -> tuple:
        return (args[0].contiguous(memory_format=torch.channels_last), *args[1:])

    model.get_submodule('backbone').register_forward_pre_hook(to_channels_last)
    return model


def _parts(model: nn.Module) -> list[nn.Module]:
    parts: list[nn.Module] = []
    for name in NETWORK_PARTS:
        part = getattr(model, name, None)
        if part is not None:
            parts += list(part) if isinstance(part, nn.ModuleList) else [part]
    return parts


def compile_network(model: nn.Module, options: Mapping[str, object] | bool) -> int:
    """``torch.compile`` each part, not copies made of it later; returns how many.

    The whole train step, which mmengine compiles, takes the samples' metadata and the optimizer
    into the graph and recompiles at every batch.
    """
    parts = _parts(model)
    for part in parts:
        part.compile(**({} if isinstance(options, bool) else options))
    return len(parts)


def has_local_statistics(model: nn.Module) -> bool:
    """Whether each rank would keep batch statistics of its own."""
    return any(
        isinstance(m, nn.modules.batchnorm._BatchNorm) and not isinstance(m, nn.SyncBatchNorm)
        for m in model.modules()
    )


def wrap(model: nn.Module, options: dict, find_unused: bool = False) -> nn.Module:
    """The model in the wrapper that ``options['type']`` names: DistributedDataParallel on this
    process's device (none on CPU, the local GPU on CUDA), or one of others, with its options alone.

    Where batch norm is not synchronised the first rank's statistics are everybody's: they are what
    a checkpoint holds, and ranks that validate with others could not be resumed exactly.
    """
    options = dict(options)
    kind = options.pop('type', 'MMDistributedDataParallel')
    wrapper: Any = MODEL_WRAPPERS.get(kind) if isinstance(kind, str) else kind
    if wrapper is None:
        raise ConfigError(
            f'model_wrapper_cfg.type: {kind!r} is not registered in MODEL_WRAPPERS: import its '
            'file by custom_imports, or leave model_wrapper_cfg out'
        )
    if not issubclass(wrapper, nn.parallel.DistributedDataParallel):
        return wrapper(module=model, **options)
    options.setdefault('find_unused_parameters', find_unused)
    options['device_ids'] = None if ON_CPU else [int(os.environ['LOCAL_RANK'])]
    sync = options.pop('broadcast_buffers', has_local_statistics(model))
    known = inspect.signature(nn.parallel.DistributedDataParallel.__init__).parameters
    # Current torch warns at the older of the two names, which a class of others may set itself.
    newer = 'forward_sync_buffers' in known and 'broadcast_buffers' not in (
        inspect.signature(wrapper.__init__).parameters
    )
    options.setdefault('forward_sync_buffers' if newer else 'broadcast_buffers', sync)
    return wrapper(module=model, **options)


def share_buffers(model: nn.Module) -> None:
    """Give all ranks the first rank's batch statistics, as DDP does before each training step."""
    if has_local_statistics(model):
        for buffer in model.buffers():
            torch_dist.broadcast(buffer, 0)


# -- spread over the ranks -------------------------------------------------------------------------

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
