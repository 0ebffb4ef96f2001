"""The optimizer of a run, its schedules, and how many images make one of its steps.

A recipe's learning rate belongs to its batch: 4 GPUs times the images per GPU. With another
number of GPUs either the batch is kept by accumulating gradients (``train_cfg.accumulate``), or
the rate is scaled (``--auto-scale-lr``; Goyal et al., arXiv:1706.02677), or the log says so.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict, _ParamScheduler
from torch import nn
from torch.utils.data import DataLoader

from segkit.compat import restore_find_loader, wrappers_of
from segkit.errors import ConfigError
from segkit.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, PARAM_SCHEDULERS

restore_find_loader()


def build_optimizer(model: nn.Module, config: OptimWrapper | Mapping) -> OptimWrapper:
    """The optimizer in its wrapper; several, given as wrappers or made by a constructor.

    Args:
        config: ``optim_wrapper`` of a run, or a wrapper that is built already.
    """
    if isinstance(config, OptimWrapper):
        return config
    optimizer = config.get('optimizer')
    if isinstance(optimizer, torch.optim.Optimizer):
        return OPTIM_WRAPPERS.build({'type': 'OptimWrapper', **config})
    if optimizer is not None or 'constructor' in config:
        own: Any = copy.deepcopy(config)  # constructors take things out
        kind = own.pop('constructor', 'DefaultOptimWrapperConstructor')
        given = dict(paramwise_cfg=own.pop('paramwise_cfg', None), optim_wrapper_cfg=own)
        return OPTIM_WRAPPER_CONSTRUCTORS.build(dict(type=kind, **given))(model)
    for name, part in config.items():
        if not isinstance(part, OptimWrapper):
            raise ConfigError(
                f'optim_wrapper.{name}: several optimizers are built by a constructor '
                '(optim_wrapper.constructor), or given as built OptimWrappers'
            )
    return OptimWrapperDict(**config)


def build_schedules(
    configs: object, wrapper: OptimWrapper, epoch_length: int, max_epochs: int, max_iters: int
) -> list[_ParamScheduler]:
    """The schedules of one optimizer, each of which ends with the run unless it says when.

    Args:
        configs: one of them or several; some may be built already.
    """
    built = []
    for config in configs if isinstance(configs, Sequence) else [configs]:
        if not isinstance(config, dict | _ParamScheduler):
            raise ConfigError(
                f'param_scheduler: {config!r} is neither a schedule nor the config of one; several '
                'are a list, those of several optimizers a dict of lists by their names'
            )
        if isinstance(config, dict):
            end = max_epochs if config.get('by_epoch', True) else max_iters
            given = dict(optimizer=wrapper, epoch_length=epoch_length)
            config = PARAM_SCHEDULERS.build({'end': end, **config}, default_args=given)
        built.append(config)
    return built


def any_built(schedules: object) -> bool:
    """Whether any of them is no config any more."""
    if isinstance(schedules, Mapping):
        return 'type' not in schedules and any(map(any_built, schedules.values()))
    if isinstance(schedules, Sequence) and not isinstance(schedules, str):
        return any(map(any_built, schedules))
    return isinstance(schedules, _ParamScheduler)


def batch_of(loader: DataLoader | Mapping) -> int:
    """Images of one rank in one batch; 1 where batches are of many sizes and do not say."""
    if isinstance(loader, Mapping):
        return loader.get('batch_size') or loader['batch_sampler']['batch_size']
    batches: Any = loader.batch_sampler  # torch's, or whatever a config put there
    return getattr(batches, 'batch_size', None) or 1


def accumulation(
    accumulate: int | str, batch: int, ranks: int, recipe: int | None
) -> tuple[int, str]:
    """Batches per step: a number as given, or for 'auto' what reaches the recipe's batch.

    Args:
        batch: images of one rank in one batch. recipe: images per step, if the config says.

    Returns:
        The number, and a sentence about it where it was chosen here.
    """
    if accumulate != 'auto':
        if not isinstance(accumulate, int) or accumulate < 1:
            raise ConfigError(f"train_cfg.accumulate={accumulate!r}: a number >= 1, or 'auto'")
        return accumulate, ''
    if recipe is None:
        raise ConfigError(
            "train_cfg.accumulate='auto' needs the batch to reach: set "
            'auto_scale_lr=dict(base_batch_size=...)'
        )
    count, rest = divmod(recipe, batch * ranks)
    if rest or not count:
        raise ConfigError(
            f"train_cfg.accumulate='auto' cannot reach {recipe} images per step with "
            f'{batch * ranks} per batch ({ranks} x {batch}): choose train_dataloader.batch_size so '
            'that it divides'
        )
    return count, (
        f'Gradients of {count} batches of {batch * ranks} are averaged into each step, which keeps '
        f"the recipe's {recipe} images per step."
    )


def scale_rates(wrapper: OptimWrapper, auto_scale_lr: Mapping | None, batch: int) -> str:
    """Scale the learning rates to ``batch`` images per step when asked to.

    Returns:
        A sentence about what was done, or about what differs from the recipe; '' for neither.
    """
    base = (auto_scale_lr or {}).get('base_batch_size')
    enabled = (auto_scale_lr or {}).get('enable', False)
    if base is None and enabled:
        raise ConfigError(
            'auto_scale_lr.enable needs the batch that the learning rate was chosen for: set '
            'auto_scale_lr.base_batch_size'
        )
    if base is None or base == batch:
        return ''
    if not enabled:
        return (
            f'This run has {batch} images per step, its recipe {base}: results may differ. '
            "--auto-scale-lr scales the learning rate, train_cfg.accumulate='auto' keeps the batch."
        )
    for one in wrappers_of(wrapper):
        for group in one.optimizer.param_groups:
            group['lr'] *= batch / base
    return f'Learning rates times {batch}/{base}, the images per step of this run and the recipe.'
