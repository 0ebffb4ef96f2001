"""mmengine's Runner, with each thing the current stack breaks overridden here, reason beside it."""

import copy

import torch
import torch.distributed as torch_dist
from mmengine.device import get_device
from mmengine.dist import get_rank
from mmengine.logging import MessageHub
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop
from mmengine.runner import LogProcessor as MMLogProcessor
from mmengine.runner import Runner as MMRunner
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

from segkit.compat import restore_find_loader
from segkit.datasets.scan import listed_once
from segkit.engine import model_setup
from segkit.engine.batch import BatchAccounting
from segkit.engine.config_places import places_named
from segkit.engine.config_text import plain_config
from segkit.engine.dist import init_dist, resolve_launcher
from segkit.engine.env import collect_env
from segkit.engine.folders import check_work_dir, make_folder
from segkit.engine.persistence import Persistence
from segkit.engine.randomness import make_deterministic
from segkit.engine.scalars import shorten
from segkit.engine.sharding import is_sharded, shard
from segkit.engine.workers import fit_loader_config, guard_workers
from segkit.registry import RUNNERS

restore_find_loader()
_used_timestamps: set[str] = set()


def _typed(part: object, kind: str) -> object:
    """A config without a type gets ours: mmengine would take its own class, unregistered."""
    if not isinstance(part, dict) or 'type' in part:
        return part
    return dict(dict(part), type=kind)


@RUNNERS.register_module()
class Runner(Persistence, BatchAccounting, MMRunner):
    """The Runner of segkit: ``Runner.from_cfg(cfg).train()``; ``cfg`` as in ``configs/``.

    Beside mmengine's keys, ``cfg`` may hold ``compile`` (True or options of ``torch.compile``: the
    network alone), ``channels_last`` (True), ``auto_scale_lr.base_batch_size`` (the batch of the
    recipe, against which a different one is reported) and ``resume='auto'``: go on from the last
    checkpoint of the work directory, or start as ``load_from`` says while there is none.
    """

    def __init__(self, *args, launcher: str = 'none', default_scope: str = 'segkit', **kw) -> None:
        self.stop_requested = False
        self.losses: dict[str, float] = {}
        self.local_losses: dict[str, float] = {}
        self.samples_seen = 0
        launcher = resolve_launcher(launcher)
        super().__init__(*args, launcher=launcher, default_scope=default_scope, **kw)

    @classmethod
    def from_cfg(cls, cfg: dict) -> 'Runner':
        cfg = plain_config(copy.deepcopy(cfg))
        cfg.setdefault('default_scope', 'segkit')
        check_work_dir(cfg['work_dir'], getattr(cfg, 'filename', None))
        make_folder('work_dir', cfg['work_dir'])
        with places_named(cfg._cfg_dict):
            return super().from_cfg(cfg)

    # -- environment ---------------------------------------------------------------------------

    def setup_env(self, env_cfg: dict) -> None:
        """Join the job here: mmengine's ``init_dist`` sets a CUDA device on CPU machines too."""
        self._joined = ''
        if self.distributed and not torch_dist.is_initialized():
            self._joined = init_dist(self.launcher, **env_cfg.get('dist_cfg', {}))
        super().setup_env(env_cfg)
        # Loggers and hubs are process-wide singletons named by this stamp: a second Runner in
        # the same second would write into the log of the first.
        stamp, number = self._timestamp, 1
        while self._timestamp in _used_timestamps:
            self._timestamp = f'{stamp}_{number}'
            number += 1
        _used_timestamps.add(self._timestamp)

    def set_randomness(
        self, seed: int | None, diff_rank_seed: bool = False, deterministic: bool = False
    ) -> None:
        super().set_randomness(seed, diff_rank_seed, False)
        self._deterministic = deterministic
        if deterministic:
            make_deterministic()

    def _log_env(self, env_cfg: dict) -> None:
        """Own collector: mmengine's imports torchvision, and a broken one stops the run."""
        lines = [f'{key}: {value}' for key, value in collect_env().items()]
        lines += [f'{key}: {value}' for key, value in env_cfg.items()]
        lines.append(f'launcher: {self.launcher} ({self._joined or "one process"})')
        lines.append(f'seed: {self.seed} (deterministic: {self.deterministic})')
        self.logger.info('Environment:\n    ' + '\n    '.join(lines))
        if self.cfg._cfg_dict:
            self.logger.info(f'Config:\n{self.cfg.pretty_text}')

    def build_logger(self, log_level: int | str = 'INFO', log_file: str | None = None, **kw):
        return super().build_logger(log_level, log_file, **dict(dict(logger_name='segkit'), **kw))

    def build_log_processor(self, log_processor: MMLogProcessor | dict) -> MMLogProcessor:
        return super().build_log_processor(_typed(log_processor, 'LogProcessor'))

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        if isinstance(loop, dict) and 'type' not in loop:
            loop = dict(loop)
            kind = 'EpochBasedTrainLoop' if loop.pop('by_epoch', False) else 'IterBasedTrainLoop'
            loop = _typed(loop, kind)
        return super().build_train_loop(loop)

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        return super().build_val_loop(_typed(loop, 'ValLoop'))

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        return super().build_test_loop(_typed(loop, 'TestLoop'))

    def build_message_hub(self, message_hub: dict | None = None) -> MessageHub:
        return shorten(super().build_message_hub(message_hub))

    def build_visualizer(self, visualizer: Visualizer | dict | None = None) -> Visualizer:
        """Under a name of its own: one name in two runs writes into the first one's folder."""
        if isinstance(visualizer, dict):
            name = visualizer.get('name', 'visualizer')
            visualizer = dict(visualizer, name=f'{name}_{self.experiment_name}')
        return super().build_visualizer(visualizer)

    def register_default_hooks(self, hooks: dict | None = None) -> None:
        """Adds the guards and the run card; ``default_hooks=dict(name=None)`` drops one."""
        extra = dict(
            non_finite=dict(type='NonFiniteLossHook'),
            preemption=dict(type='PreemptionHook'),
            run_card=dict(type='RunCardHook'),
            progress=dict(type='ProgressHook'),
            first_batches=dict(type='FirstBatchesHook'),
            result_places=dict(type='ResultPlacesHook'),
        )
        super().register_default_hooks({k: v for k, v in (hooks or {}).items() if k not in extra})
        for name, hook in extra.items():
            hook = (hooks or {}).get(name, hook)
            if hook is not None:
                self.register_hook(hook)

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """Without workers drop what torch then refuses; with them, let them survive a signal.

        The sampler's seed is the same on all ranks, with ``diff_rank_seed`` too: mmengine then
        draws a new one at each start, and a resumed run would not see the order it had.
        """
        if diff_rank_seed and seed is not None:
            seed -= get_rank()
        if isinstance(dataloader, dict):
            dataloader = fit_loader_config(dataloader)
        with listed_once():
            return guard_workers(MMRunner.build_dataloader(dataloader, seed))

    def dump_config(self) -> None:
        """Not when a Runner is built, as in mmengine, but when it trains: a test in the same folder
        would leave its config, with other hooks and weights, in the place of the training's."""

    def get_hooks_info(self) -> str:
        """One line in order of execution; mmengine's list by stage fills two screens."""
        return '    ' + ', '.join(type(hook).__name__ for hook in self.hooks)

    # -- the model -----------------------------------------------------------------------------

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """DDP without device ids on CPU, and SyncBN reverted there under DDP too."""
        if is_model_wrapper(model):
            return model
        model, note = model_setup.fit_normalisation(model, self.distributed)
        if note:
            self.logger.info(note)
        model = model.to(get_device())
        if self.cfg.get('channels_last'):
            model = model_setup.use_channels_last(model)
        if not self.distributed:
            return model
        if (model_wrapper_cfg or {}).get('type') == 'FSDP2':
            options = {k: v for k, v in model_wrapper_cfg.items() if k != 'type'}
            return shard(model, options)
        options = dict(find_unused_parameters=self.cfg.get('find_unused_parameters', False))
        return model_setup.wrap_ddp(model, {**options, **(model_wrapper_cfg or {})})

    def _init_model_weights(self) -> None:
        """In the usual layout: an initialiser fills memory in order, whatever the order means."""
        if is_sharded(self.bare_model):
            return  # done before the model was sharded
        if self._resumed is not None:
            return  # all weights are in that file; pretrained ones would be fetched for nothing
        if self.cfg.get('channels_last'):
            self.bare_model.to(memory_format=torch.contiguous_format)
        super()._init_model_weights()
        if self.cfg.get('channels_last'):
            self.bare_model.to(memory_format=torch.channels_last)

    def _maybe_compile(self, target: str) -> None:
        """Compile the parts of the network; mmengine compiles the train step around it."""
        options = self.cfg.get('compile')
        if not options:
            return
        options = {} if options is True else dict(options)
        count = model_setup.compile_network(self.bare_model, options)
        self.logger.info(f'torch.compile on {count} parts of the network: the first steps are slow')

    @property
    def bare_model(self) -> nn.Module:
        """The model without its distributed wrapper."""
        return self.model.module if is_model_wrapper(self.model) else self.model
