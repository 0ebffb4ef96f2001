"""What a run is made of: each component built from its config where it is first needed.

The names are those of mmengine's Runner, so that its hooks, and the hooks, loops and Runners that
others wrote for it, find here what they ask for.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as torch_dist
from mmengine.config import Config
from mmengine.dist import get_dist_info
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import DefaultScope, Registry
from mmengine.runner import BaseLoop, get_priority
from mmengine.runner import LogProcessor as MMLogProcessor
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

import segkit.engine.amp
import segkit.engine.hooks
import segkit.engine.layer_decay
import segkit.engine.train_loop
import segkit.engine.validation  # noqa: F401  # these five register what is built by name
from segkit.compat import accumulation_of, does_nothing, keep_last_values
from segkit.console import told_records
from segkit.engine import env, model_setup
from segkit.engine.checkpoints import KEPT_VALUES, window
from segkit.engine.data_order import make_deterministic, seed_everything
from segkit.engine.dist import resolve_launcher, trains_alone
from segkit.engine.folders import check_work_dir, make_folder
from segkit.engine.joining import init_dist
from segkit.engine.loaders import build_loader, guard_workers
from segkit.engine.model_setup import is_sharded
from segkit.engine.optimizer import (
    any_built,
    batch_of,
    build_optimizer,
    build_schedules,
    scale_rates,
)
from segkit.engine.remote_folder import RemoteFolder
from segkit.errors import ConfigError
from segkit.registry import (
    EVALUATOR,
    HOOKS,
    LOG_PROCESSORS,
    LOOPS,
    MODELS,
    VISUALIZERS,
    known_scope,
)
from segkit.storage import is_remote, on_disk

DEFAULT_HOOKS = dict(
    runtime_info='RuntimeInfoHook',
    timer='IterTimerHook',
    sampler_seed='DistSamplerSeedHook',
    logger='LoggerHook',
    param_scheduler='ParamSchedulerHook',
    checkpoint='CheckpointHook',
    shared_losses='SharedLossesHook',
    non_finite='NonFiniteLossHook',
    preemption='PreemptionHook',
    run_card='RunCardHook',
    progress='ProgressHook',
    first_batches='FirstBatchesHook',
    result_places='ResultPlacesHook',
)


class Components:
    """The components of a run; :class:`segkit.engine.Runner` is this and the way through them."""

    cfg: Config
    work_dir: str
    model: nn.Module
    logger: MMLogger
    message_hub: MessageHub
    visualizer: Visualizer
    log_processor: MMLogProcessor
    _hooks: list[Hook]
    # Parts, or their configs until they are needed.
    optim_wrapper: object
    param_schedulers: object
    _train_loop: object
    _val_loop: object
    _test_loop: object
    _train_dataloader: object
    _val_dataloader: object
    _test_dataloader: object
    _val_evaluator: object
    _test_evaluator: object

    # -- the process ---------------------------------------------------------------------------

    def _set_up(
        self,
        work_dir: str,
        launcher: str,
        env_cfg: dict,
        randomness: dict,
        name: str,
        scope: str | None,
    ) -> None:
        """Make the work directory, join the job, seed, and choose what the run is known by.

        Of a work directory in a store it is the folder that is uploaded there.
        """
        self.remote = RemoteFolder(work_dir) if is_remote(work_dir) else None
        folder = Path(self.remote.staging if self.remote else on_disk(work_dir)).absolute()
        check_work_dir(folder, self.cfg.filename)
        make_folder('work_dir', folder)
        self.work_dir = str(folder)
        self.launcher = resolve_launcher(launcher)
        self.distributed = self.launcher != 'none'
        self.setup_env(env_cfg)
        self._randomness_cfg = randomness
        self.set_randomness(**randomness)
        # Loggers, hubs and visualizers of one name are one for the whole process: a second run
        # would write into the log of the first.
        name = f'{name}_{self.timestamp}'.removeprefix('_')
        self.experiment_name = env.unlike(name, MessageHub.check_instance_created)
        self.default_scope = scope and DefaultScope.get_instance(
            self.experiment_name, scope_name=known_scope(scope)
        )
        self.log_dir = self._log_dir = str(folder / self.timestamp)
        Path(self.log_dir).mkdir(parents=True, exist_ok=True)

    def setup_env(self, env_cfg: dict) -> None:
        """Join the job, and set what holds for the whole process."""
        self._joined = ''
        if self.distributed and not torch_dist.is_initialized():
            self._joined = init_dist(self.launcher, **env_cfg.get('dist_cfg', {}))
        joined = torch_dist.is_initialized()
        self.rank = torch_dist.get_rank() if joined else 0
        self.world_size = torch_dist.get_world_size() if joined else 1
        self.timestamp = env.prepare(env_cfg, self.distributed)

    def set_randomness(
        self, seed: int | None = None, diff_rank_seed: bool = False, deterministic: bool = False
    ) -> None:
        """Seed everything; a seed that is not given is drawn, the same for all ranks."""
        self.seed = seed_everything(seed, self.rank if diff_rank_seed else 0)
        self.deterministic = deterministic
        if deterministic:
            make_deterministic()

    def _log_env(self, env_cfg: dict) -> None:
        """All of it into the log's file; a line on the screen."""
        lines = [f'{key}: {value}' for key, value in {**env.collect_env(), **env_cfg}.items()]
        lines.append(f'launcher: {self.launcher} ({self._joined or "one process"})')
        lines.append(f'seed: {self.seed} (deterministic: {self.deterministic})')
        lines.append(f'hooks, in their order: {", ".join(type(h).__name__ for h in self._hooks)}')
        text = 'Environment:\n    ' + '\n    '.join(lines)
        text = f'{text}\nConfig:\n{self.cfg.pretty_text}'
        record = self.logger.makeRecord(self.logger.name, logging.INFO, '', 0, text, (), None)
        for handler in self.logger.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.handle(record)
        where = f'environment and config are in {self.log_dir}'
        self.logger.info(f'{self._joined or "one process"}, seed: {self.seed}; {where}')
        if not self.distributed and (said := trains_alone()):
            self.logger.warning(said)

    # -- parts ---------------------------------------------------------------------------------

    def build_logger(
        self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: object
    ) -> MMLogger:
        """The logger of this run, under its experiment's name."""
        file = log_file or str(Path(self.log_dir) / f'{self.timestamp}.log')
        usual = dict(name=self.experiment_name, logger_name='segkit', file_mode='a')
        logger = MMLogger.get_instance(**{**usual, **kwargs}, log_level=log_level, log_file=file)
        told_records(logger)
        return logger

    def build_message_hub(self, message_hub: dict | None = None) -> MessageHub:
        """Scalars of the log and what hooks tell one another."""
        hub = MessageHub.get_instance(**{'name': self.experiment_name, **(message_hub or {})})
        keep_last_values(hub, max(KEPT_VALUES, window(self.log_processor)))
        return hub

    def build_visualizer(self, visualizer: Visualizer | dict | None = None) -> Visualizer:
        """Under a name of its own: one name in two runs writes into the first one's folder."""
        if isinstance(visualizer, Visualizer):
            return visualizer
        backends = [dict(type='LocalVisBackend')]
        config = dict(visualizer or dict(type='Visualizer', vis_backends=backends))
        name = config.get('name', 'visualizer')
        config['name'] = f'{name}_{self.experiment_name}' if visualizer else self.experiment_name
        return VISUALIZERS.build({'save_dir': self.log_dir, **config})

    def _show_config(self) -> None:
        try:
            if self.cfg:
                self.visualizer.add_config(self.cfg)
        except ImportError as error:  # a backend's package, and how to install it
            raise ConfigError(f'visualizer.vis_backends: {error}') from error

    def build_log_processor(self, log_processor: MMLogProcessor | dict) -> MMLogProcessor:
        return _built(log_processor, MMLogProcessor, LOG_PROCESSORS, 'LogProcessor')

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        return model if isinstance(model, nn.Module) else MODELS.build(model)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """The model on this process's device, wrapped where there are several processes."""
        if model_setup.bare(model) is not model:
            if model_wrapper_cfg is not None:
                raise ConfigError(
                    f'model_wrapper_cfg: the model is a {type(model).__name__}, which is a wrapper '
                    'already. Leave model_wrapper_cfg out, or give the Runner the model inside'
                )
            return model
        model, note = model_setup.ready(model, model_wrapper_cfg, self.cfg, self.distributed)
        if note:
            self.logger.info(note)
        return model

    def _init_model_weights(self) -> None:
        """In the usual layout: an initialiser fills memory in order, whatever the order means."""
        model: Any = self.bare_model
        if is_sharded(model) or not hasattr(model, 'init_weights'):
            return  # done before the model was sharded
        if self.cfg.get('channels_last'):
            model.to(memory_format=torch.contiguous_format)
        model.init_weights()
        if self.distributed:
            for tensor in model.state_dict().values():
                torch_dist.broadcast(tensor, 0)
        if self.cfg.get('channels_last'):
            model.to(memory_format=torch.channels_last)

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """A loader; ``seed`` is that of this rank. The sampler's is the same on all ranks, with
        ``diff_rank_seed`` too, so that they share the samples out and a resumed run sees the order
        it had."""
        if isinstance(dataloader, DataLoader):
            return guard_workers(dataloader)
        if diff_rank_seed and seed is not None:
            seed -= get_dist_info()[0]
        return build_loader(dataloader, seed)

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        if isinstance(loop, dict) and 'type' not in loop:
            loop = dict(loop)
            kind = 'EpochBasedTrainLoop' if loop.pop('by_epoch', False) else 'IterBasedTrainLoop'
            loop['type'] = kind
        given = dict(runner=self, dataloader=self._train_dataloader)
        return _built(loop, BaseLoop, LOOPS, '', given)

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        given = dict(dataloader=self._val_dataloader, evaluator=self._val_evaluator)
        return _built(loop, BaseLoop, LOOPS, 'ValLoop', dict(given, runner=self))

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        given = dict(dataloader=self._test_dataloader, evaluator=self._test_evaluator)
        return _built(loop, BaseLoop, LOOPS, 'TestLoop', dict(given, runner=self))

    def build_evaluator(self, evaluator: Evaluator | dict | list) -> Evaluator:
        """Of one metric, of several, or of a kind of its own (``metrics`` among its keys)."""
        if isinstance(evaluator, dict) and 'metrics' in evaluator:
            return _built(evaluator, Evaluator, EVALUATOR, 'Evaluator')
        return evaluator if isinstance(evaluator, Evaluator) else Evaluator(evaluator)

    def build_optim_wrapper(self, optim_wrapper: OptimWrapper | Mapping) -> OptimWrapper:
        """``optimizer.py`` has how."""
        return build_optimizer(self.model, optim_wrapper)

    def scale_lr(self, optim_wrapper: OptimWrapper, auto_scale_lr: dict | None = None) -> None:
        """Scale the rates to the batch when asked to; otherwise say that it differs."""
        if (auto_scale_lr or {}).get('enable') and any_built(self.param_schedulers):
            raise ConfigError(
                'auto_scale_lr.enable: the schedules of param_scheduler are built already, for the '
                'rates before: give their configs, or set auto_scale_lr.enable=False'
            )
        if said := scale_rates(optim_wrapper, auto_scale_lr, self.effective_batch):
            asked = (auto_scale_lr or {}).get('enable', False)
            (self.logger.info if asked else self.logger.warning)(said)

    def build_param_scheduler(self, scheduler: Mapping | Sequence) -> object:
        """A list of schedulers; for several optimizers a dict of lists by their names."""
        if not isinstance(self.optim_wrapper, OptimWrapperDict):
            return self._build_param_scheduler(scheduler, cast(OptimWrapper, self.optim_wrapper))
        apart = isinstance(scheduler, dict) and 'type' not in scheduler
        return {
            name: self._build_param_scheduler(scheduler[name] if apart else scheduler, wrapper)
            for name, wrapper in self.optim_wrapper.items()
        }

    def _build_param_scheduler(self, scheduler: object, optim_wrapper: OptimWrapper) -> list:
        """Those of one optimizer."""
        length = getattr(self.train_loop, 'epoch_length', 0) or len(self.train_dataloader)
        return build_schedules(scheduler, optim_wrapper, length, self.max_epochs, self.max_iters)

    # -- hooks ---------------------------------------------------------------------------------

    @property
    def hooks(self) -> list[Hook]:
        """In the order in which they are called."""
        return self._hooks

    def get_hooks_info(self) -> str:
        """A line for each point of a run, with the hooks that do something there, in order."""
        at = {point: [h for h in self.hooks if not does_nothing(h, point)] for point in Hook.stages}
        names = {point: ', '.join(type(h).__name__ for h in some) for point, some in at.items()}
        return '\n'.join(f'    {point}: {some}' for point, some in names.items() if some)

    def call_hook(self, fn_name: str, **kwargs: object) -> None:
        """Call the method of that name of each hook that has one of its own, in order of
        priority."""
        for hook in self._hooks:
            method = getattr(hook, fn_name, None)
            if method is not None and not does_nothing(hook, fn_name):
                method(self, **kwargs)

    def register_hook(self, hook: Hook | dict, priority: str | int | None = None) -> None:
        """Add a hook behind those of its priority."""
        if isinstance(hook, dict):
            hook = dict(hook)
            own = hook.pop('priority', None)
            priority = own if priority is None else priority
            hook = HOOKS.build(hook)
        if not hasattr(hook, 'priority'):
            raise ConfigError(f'custom_hooks: {hook!r} is neither a Hook nor the config of one')
        if priority is not None:
            hook.priority = priority
        rank = get_priority(hook.priority)
        behind = [i for i, h in enumerate(self._hooks) if get_priority(h.priority) > rank]
        self._hooks.insert(behind[0] if behind else len(self._hooks), hook)

    def register_hooks(
        self,
        default_hooks: Mapping[str, object] | None = None,
        custom_hooks: Sequence[Hook | dict] | None = None,
    ) -> None:
        self.register_default_hooks(default_hooks)
        self.register_custom_hooks(custom_hooks or [])

    def register_default_hooks(self, hooks: Mapping[str, object] | None = None) -> None:
        """``DEFAULT_HOOKS`` with changes by name; None drops one."""
        usual = {name: dict(type=kind) for name, kind in DEFAULT_HOOKS.items()}
        for hook in {**usual, **(hooks or {})}.values():
            if hook is not None:
                self.register_hook(hook)

    def register_custom_hooks(self, hooks: Sequence[Hook | dict]) -> None:
        for hook in hooks:
            self.register_hook(hook)

    # -- what hooks ask for --------------------------------------------------------------------

    @property
    def bare_model(self) -> nn.Module:
        """The model without its distributed wrapper."""
        return model_setup.bare(self.model)

    @property
    def train_loop(self) -> Any:
        if isinstance(self._train_loop, dict):
            self._train_loop = self.build_train_loop(self._train_loop)
        return self._train_loop

    @property
    def val_loop(self) -> Any:
        if isinstance(self._val_loop, dict):
            self._val_loop = self.build_val_loop(self._val_loop)
        return self._val_loop

    @property
    def test_loop(self) -> Any:
        if isinstance(self._test_loop, dict):
            self._test_loop = self.build_test_loop(self._test_loop)
        return self._test_loop

    @property
    def train_dataloader(self) -> DataLoader:
        return self.train_loop.dataloader

    @property
    def val_dataloader(self) -> DataLoader:
        return self.val_loop.dataloader

    @property
    def test_dataloader(self) -> Any:
        return self.test_loop.dataloader

    @property
    def val_evaluator(self) -> Evaluator:
        return self.val_loop.evaluator

    @property
    def test_evaluator(self) -> Evaluator:
        return self.test_loop.evaluator

    @property
    def val_interval(self) -> int:
        return self.train_loop.val_interval

    @property
    def val_begin(self) -> int:
        return self.train_loop.val_begin

    @property
    def iter(self) -> int:
        """Iterations done; 0, as the next three are, for a Runner that does not train."""
        return getattr(self.train_loop, 'iter', 0)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return getattr(self.train_loop, 'epoch', 0)

    @property
    def max_iters(self) -> int:
        return getattr(self.train_loop, 'max_iters', 0)

    @property
    def max_epochs(self) -> int:
        return getattr(self.train_loop, 'max_epochs', 0)

    @property
    def effective_batch(self) -> int:
        """Images of all ranks per step of the optimizer."""
        loop = self.train_loop
        batches = max(accumulation_of(self.optim_wrapper), getattr(loop, 'accumulate', 1))
        return batch_of(loop.dataloader) * self.world_size * batches


def _built(
    part: object, kind: type, registry: Registry, usual: str, given: dict | None = None
) -> Any:
    """``part`` if it is one already, else built from its config, by default a ``usual``."""
    if isinstance(part, kind):
        return part
    if not isinstance(part, dict):
        raise ConfigError(f'{part!r} is neither a {kind.__name__} nor the config of one')
    return registry.build({'type': usual, **part}, default_args=given)
