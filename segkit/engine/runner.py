"""The Runner: from a config to a run. ``train`` is where to begin reading.

    runner.py        the way of a run, from start to end
    components.py    built from the config: model, loops, loaders, evaluators, hooks
    optimizer.py     the optimizer, its schedules, its batch
    train_loop.py    the iterations and epochs, and when a validation is due
    validation.py    the loops of validation and testing
    checkpoints.py   what a checkpoint holds, written and read back
    stops.py         signals, and hooks/preemption.py, which saves and ends the run
    joining.py       joining a job of several processes; dist.py: what they tell one another
    hooks/           what happens around them; mmengine's hooks and those of others run here too

It has the names of mmengine's Runner that hooks, loops and scripts use, and none of its code:
mmengine's asks torchvision for its version, a network for its weights, resumes by reading all of
the data again, and joins a job with CUDA alone.
"""

import copy
import inspect
import json
import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop
from mmengine.runner import LogProcessor as MMLogProcessor
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

from segkit.compat import make_current
from segkit.engine import checkpoints, model_setup, stops
from segkit.engine.components import Components
from segkit.engine.config import config_differences, places_named
from segkit.engine.config_check import check_triples
from segkit.engine.config_files import plain_config
from segkit.engine.dist import from_first_rank
from segkit.engine.folders import check_start, is_given, locked
from segkit.engine.loops_of_others import LoopOfOthersHook, finish_epoch, go_on
from segkit.engine.model_setup import is_sharded
from segkit.engine.remote_folder import UploadHook
from segkit.errors import ConfigError
from segkit.registry import RUNNERS
from segkit.weights import initialise, load_into, read_verified


@RUNNERS.register_module()
class Runner(Components):
    """The Runner of segkit: ``Runner.from_cfg(cfg).train()``; ``cfg`` as in ``configs/``.

    Args:
        model: a network or its config.
        work_dir: where checkpoints go, and the logs in a folder named by the time.
        train_dataloader, train_cfg, optim_wrapper: all three to train; configs or built parts.
        val_dataloader, val_cfg, val_evaluator: all three to validate.
        test_dataloader, test_cfg, test_evaluator: all three to test.
        auto_scale_lr: ``base_batch_size``, the images per step that the learning rate is for, and
            ``enable``, whether to scale it to those of this run.
        param_scheduler: schedules of rates and momenta; a dict of them by optimizer for several.
        default_hooks: changes to ``DEFAULT_HOOKS`` by name; None drops one.
        custom_hooks: further hooks.
        data_preprocessor: that of a model config without one.
        load_from: a checkpoint whose weights to start from.
        resume: whether to go on from ``load_from``, or the last checkpoint of ``work_dir``; 'auto'
            goes on from there, or starts as ``load_from`` says while there is none.
        launcher: 'pytorch', 'slurm', 'mpi' or 'none'; torchrun is recognised.
        env_cfg: ``cudnn_benchmark, mp_cfg, dist_cfg, resource_limit``.
        randomness: ``seed, diff_rank_seed, deterministic``.
        log_processor, log_level, visualizer, default_scope, experiment_name: as in mmengine.
        cfg: the whole config, which is saved with the run. It may also hold ``compile`` (True or
            options of ``torch.compile``: the network alone), ``channels_last``,
            ``freeze`` (patterns of parts that stay as they are), ``find_unused_parameters``,
            ``model_wrapper_cfg``, ``sync_bn`` ('torch': each batch norm over all ranks),
            ``activation_checkpointing``, ``efficient_conv_bn_eval``.
    """

    _has_loaded = _built_training = _has_begun = False
    _resumed: tuple[Path, dict] | None = None  # found before the data is set up
    last_good: Path | None = None  # the last checkpoint that was read or written whole
    _purpose = 'finetune'
    # Of the iteration under way; told by SharedLossesHook.
    stop_requested = False
    losses: Mapping[str, float] = MappingProxyType({})
    local_losses: Mapping[str, float] = losses

    def __init__(
        self,
        model: nn.Module | dict,
        work_dir: str,
        train_dataloader: DataLoader | dict | None = None,
        val_dataloader: DataLoader | dict | None = None,
        test_dataloader: DataLoader | dict | None = None,
        train_cfg: dict | BaseLoop | None = None,
        val_cfg: dict | BaseLoop | None = None,
        test_cfg: dict | BaseLoop | None = None,
        auto_scale_lr: dict | None = None,
        optim_wrapper: OptimWrapper | dict | None = None,
        param_scheduler: object = None,
        val_evaluator: Evaluator | dict | list | None = None,
        test_evaluator: Evaluator | dict | list | None = None,
        default_hooks: Mapping[str, object] | None = None,
        custom_hooks: Sequence[Hook | dict] | None = None,
        data_preprocessor: dict | None = None,
        load_from: str | None = None,
        resume: bool | str = False,
        launcher: str = 'none',
        env_cfg: dict | None = None,
        log_processor: MMLogProcessor | dict | None = None,
        log_level: str | int = 'INFO',
        visualizer: Visualizer | dict | None = None,
        default_scope: str | None = 'segkit',
        randomness: dict | None = None,
        experiment_name: str | None = None,
        cfg: Config | dict | None = None,
    ) -> None:
        self.cfg = plain_config(copy.deepcopy(cfg) if isinstance(cfg, Config) else Config(cfg))
        check_triples(locals())  # which hold the arguments
        if param_scheduler is not None and optim_wrapper is None:
            raise ConfigError('param_scheduler: there is no optim_wrapper whose rates it would set')
        # Configs until ``train``, ``val`` or ``test`` builds what it needs.
        self._train_dataloader, self._train_loop = train_dataloader, train_cfg
        self._val_dataloader, self._val_loop = val_dataloader, val_cfg
        self._test_dataloader, self._test_loop = test_dataloader, test_cfg
        self._val_evaluator, self._test_evaluator = val_evaluator, test_evaluator
        self.optim_wrapper: Any = optim_wrapper
        self.param_schedulers: Any = param_scheduler
        self.auto_scale_lr = auto_scale_lr
        self._load_from, self._resume = load_from, resume
        env_cfg, name = dict(env_cfg or {}), experiment_name or Path(self.cfg.filename or '').stem
        self._set_up(work_dir, launcher, env_cfg, dict(randomness or {}), name, default_scope)
        self.log_processor = self.build_log_processor(log_processor or {})
        self.logger = self.build_logger(log_level)
        self.message_hub = self.build_message_hub()
        self.visualizer = self.build_visualizer(visualizer)
        self._show_config()
        if isinstance(model, dict) and data_preprocessor is not None:
            model.setdefault('data_preprocessor', data_preprocessor)
        self.model = self.wrap_model(self.cfg.get('model_wrapper_cfg'), self.build_model(model))
        self.model_name = type(self.bare_model).__name__
        self._hooks = list[Hook]()
        self.register_hooks(default_hooks, custom_hooks)
        if self.remote:
            self.register_hook(UploadHook(self.remote))
        self._log_env(env_cfg)

    @classmethod
    def from_cfg(cls, cfg: Config | dict) -> 'Runner':
        """A Runner of the config, of the class that its ``runner_type`` names; ``cfg`` itself stays
        as it is."""
        cfg = copy.deepcopy(cfg) if isinstance(cfg, Config) else Config(copy.deepcopy(dict(cfg)))
        name = cfg.get('runner_type') or cls
        kind = RUNNERS.get(name) if isinstance(name, str) else name
        if not (isinstance(kind, type) and issubclass(kind, Runner)):
            why = 'no subclass of segkit.engine.Runner' if kind else 'not registered in RUNNERS'
            raise ConfigError(
                f'runner_type: {name!r} is {why}: make it one, import its file by custom_imports, '
                'or leave runner_type out'
            )
        if not issubclass(cls, kind):
            return kind.from_cfg(cfg)
        cfg.setdefault('default_scope', 'segkit')
        names = set(inspect.signature(Runner).parameters) - {'cfg'}
        given = {name: cfg[name] for name in names if cfg.get(name) is not None}
        with places_named(cfg):
            return cls(**copy.deepcopy(given), cfg=cfg)

    # -- a run ---------------------------------------------------------------------------------

    def train(self) -> nn.Module:
        """Train to the end, from where ``load_from`` and ``resume`` say; returns the model."""
        if self._train_loop is None:
            raise ConfigError('train_dataloader, train_cfg, optim_wrapper: set them to train')
        self._purpose = 'finetune'
        make_current(self.logger, self.message_hub, self.visualizer, self.default_scope)
        with ExitStack() as alone:
            if is_main_process():
                alone.enter_context(locked(self.work_dir))
            if is_main_process() and self.remote:
                alone.enter_context(self.remote.locked(self.logger.warning))
                self.remote.begin(self.logger.warning)
            if self._resume and not self._has_loaded:
                self._find_resumed()
            if self._load_from and not self._resume:
                check_start(self.work_dir, self._load_from)
            self.dump_config()
            alone.callback(stops.training_ends)
            self._build_training()
            if self._val_loop is not None:
                self._val_loop = self.build_val_loop(self._val_loop)
            self.call_hook('before_run')
            if not self._has_begun and not self._has_loaded and self._resumed is None:
                self._init_model_weights()  # else all weights are those of a file
            self._has_begun = True
            model_setup.switch_on(self.bare_model, self.cfg, self.logger.info)
            self.load_or_resume()
            loop: Any = self._train_loop
            self.optim_wrapper.initialize_count_status(self.model, loop.iter, loop.max_iters)
            if self.cfg.get('compile'):
                self._maybe_compile('train_step')
            model = loop.run()
            self.call_hook('after_run')
            return model

    def _maybe_compile(self, target: str) -> None:
        """The parts of the network, whatever ``target`` a Runner of others would compile."""
        count = model_setup.compile_network(self.bare_model, self.cfg.compile)
        self.logger.info(f'torch.compile on {count} parts: the first steps are slow')

    def _build_training(self) -> None:
        """Loop, optimizer and schedules, once."""
        if self._built_training:
            return
        self._train_loop = self.build_train_loop(self._train_loop)
        self.optim_wrapper = self.build_optim_wrapper(self.optim_wrapper)
        self.scale_lr(self.optim_wrapper, self.auto_scale_lr)
        if self.param_schedulers is not None:
            self.param_schedulers = self.build_param_scheduler(self.param_schedulers)
        if not hasattr(self._train_loop, 'start_at'):
            self.register_hook(LoopOfOthersHook())
        self._built_training = True

    def val(self) -> dict[str, object]:
        """Validate the weights of ``load_from``, or of the run that ``resume`` names; returns the
        scores."""
        self._val_loop = self.build_val_loop(_needed(self._val_loop, 'val'))
        return self._evaluate(self._val_loop)

    def test(self) -> dict[str, object]:
        """Test the same weights; returns the scores."""
        self._test_loop = self.build_test_loop(_needed(self._test_loop, 'test'))
        return self._evaluate(self._test_loop)

    def _evaluate(self, loop: BaseLoop) -> dict[str, object]:
        self._purpose = 'test'
        make_current(self.logger, self.message_hub, self.visualizer, self.default_scope)
        self.call_hook('before_run')
        if self._resume and not self._has_loaded:
            self._find_resumed()
        self.load_or_resume()
        metrics = loop.run()
        self.call_hook('after_run')
        return metrics

    # -- checkpoints ---------------------------------------------------------------------------

    def _find_resumed(self) -> None:
        """Read the checkpoint to go on from: its seed has to be known before the data is set up."""
        found: tuple[Path, dict] | None = None
        if is_main_process():
            if self._load_from is not None and self._resume != 'auto':
                found = Path(self._load_from), checkpoints.load_verified(self._load_from)
            elif self.remote:
                found = self.remote.load_latest(self.logger.warning)
            else:
                found = checkpoints.load_latest(self.work_dir, self.logger.warning)
        path = from_first_rank(found and str(found[0]))
        if path is None:
            self._resume = False
            start = f'from the weights of {self._load_from}' if self._load_from else 'from nothing'
            place = self.remote.address if self.remote else self.work_dir
            self.logger.info(f'No checkpoint in {place} yet: training starts {start}.')
            return
        if self.remote and not found and Path(path).parent == self.remote.staging:
            self.remote.fetch(Path(path).name)  # on a node of its own
        self._resumed = found or (Path(path), checkpoints.load_verified(path))
        self._adopt_seed(self._resumed[1]['meta'].get('seed'))

    def _adopt_seed(self, seed: int | None) -> None:
        if seed is None or seed == self.seed:
            return
        if self._randomness_cfg.get('seed') is not None:
            self.logger.warning(
                f'randomness.seed={self.seed} is not the seed of the resumed run: {seed} is kept, '
                'so that the run goes on as it began.'
            )
        self._randomness_cfg = dict(self._randomness_cfg, seed=seed)
        self.set_randomness(**self._randomness_cfg)

    def load_or_resume(self) -> None:
        """Load what ``load_from`` and ``resume`` name, once."""
        if self._has_loaded:
            return
        if self._resumed is not None and self._train_loop is None:
            self.load_checkpoint(str(self._resumed[0]))  # of a run that this one only scores
        elif self._resumed is not None:
            self.resume(str(self._resumed[0]))
        elif self._load_from is not None and not self._resume:
            self.load_checkpoint(self._load_from)

    def load_checkpoint(
        self,
        filename: str,
        map_location: object = 'cpu',
        strict: bool | None = None,
        revise_keys: Sequence[tuple[str, str]] = (),
    ) -> dict:
        """Weights alone.

        Args:
            strict: whether the file has to hold all weights and nothing else. When not given it
                has to for testing, while fine-tuning takes what fits and prints the rest.
            revise_keys: (regular expression, replacement) for the names in the file; a leading
                ``module.`` needs none.
        """
        checkpoint, verified = read_verified(filename, map_location, mmap=True)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        if revise_keys:
            checkpoint = checkpoints.revised(checkpoint, revise_keys, filename)
        testing = self._purpose == 'test'
        strict = testing if strict is None else strict
        # Only while nothing but the bare model knows its tensors may others take their place.
        alone = self.model is self.bare_model and not isinstance(self.optim_wrapper, OptimWrapper)
        assign = testing and alone and not self.cfg.get('channels_last')
        if is_sharded(self.bare_model):
            checkpoints.load_sharded(self.bare_model, checkpoint, filename)
        else:
            report = load_into(
                self.bare_model, checkpoint, 'test' if strict else 'finetune',
                source=str(filename), assign=assign, verified=verified,
            )  # fmt: skip
            if testing:
                initialise(self.bare_model, report.missing)  # an auxiliary head, left undrawn
            self.logger.info(str(report))
        self._has_loaded = True
        return checkpoint

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: Any = 'cpu',
    ) -> None:
        """Go on from ``filename``: weights, optimizer, schedule, place in the data, scores.

        Args:
            resume_optimizer, resume_param_scheduler: whether the state of these two is taken.
            map_location: where the file is read to; 'default' is the CPU. What is taken from it
                goes to where the run's own is.
        """
        if self._resumed is None:
            place = 'cpu' if map_location == 'default' else map_location
            self._resumed = Path(filename), checkpoints.load_verified(filename, place)
        path, checkpoint = self._resumed
        self._resumed, self._resume = None, True  # which hooks look at
        self._build_training()
        left_out = {name for name, wanted in (('optimizer', resume_optimizer),
                    ('partial_gradients', resume_optimizer),
                    ('param_schedulers', resume_param_scheduler)) if not wanted}  # fmt: skip
        taken = {name: part for name, part in checkpoint.items() if name not in left_out}
        checkpoints.restore(self, taken, str(path))
        meta, loop = checkpoint['meta'], self.train_loop
        if hasattr(loop, 'start_at'):
            loop.start_at(meta['iter'], meta.get('samples_seen'))
        elif said := go_on(
            self, loop, meta.get('epoch', 0), meta['iter'], meta.get('samples_seen')
        ):
            self.logger.warning(said)
        finish_epoch(self.param_schedulers, loop, meta['iter'])
        self._has_loaded, self.last_good = True, path
        self._report_differences(meta)
        self.logger.info(f'Resumed from {path} at iteration {self.iter}.')

    def _report_differences(self, meta: dict) -> None:
        changed = config_differences(meta.get('config_json'), self.cfg.to_dict())
        for line in changed:
            self.logger.warning(f'Config changed since the checkpoint: {line}')
        if kept := [line.partition(':')[0] for line in changed if line.startswith(_OF_THE_STATE)]:
            self.logger.warning(
                f'{", ".join(kept)}: of no effect here, as the checkpoint holds the state of '
                'optimizer and schedules, which goes on. To train as they now say, start from its '
                f'weights: --load-from {shlex.quote(str(self.last_good))}, without --resume'
            )
        before, now = meta.get('world_size'), self.world_size
        if before is None or (before, meta.get('effective_batch')) == (now, self.effective_batch):
            return
        self.logger.warning(
            f'Resumed on {now} process(es) what ran on {before}: the order of samples goes on at '
            f'sample {meta.get("samples_seen")}; images per step {meta.get("effective_batch")} -> '
            f'{self.effective_batch}; learning rates and the number of iterations are as before. '
            'train_cfg.accumulate keeps the number of images per step.'
        )

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict | None = None,
        by_epoch: bool = True,
        backend_args: dict | None = None,
    ) -> None:
        """Write one checkpoint; every rank must call it, the first one writes.

        Args:
            meta: ``epoch`` and ``iter`` done, where they are not those of the call: a hook calls
                before the epoch (``by_epoch``) or the iteration under way is counted.
        """
        place = dict(epoch=self.epoch + by_epoch, iter=self.iter + (not by_epoch))
        place.update(meta or {})
        info = {**place, **checkpoints.meta_of(self, place['epoch'], place['iter'])}
        optimizer = save_optimizer and isinstance(self.optim_wrapper, OptimWrapper)
        state = checkpoints.state_of(self, filename, info, optimizer, save_param_scheduler)
        if is_main_process():
            self.call_hook('before_save_checkpoint', checkpoint=state)
            backend = backend_args or file_client_args
            if backend or '://' in str(out_dir):
                checkpoints.write_by(backend, state, out_dir, filename)
            else:
                checkpoints.write(state, Path(out_dir) / filename)
            self.last_good = Path(out_dir) / filename

    def config_json(self) -> str:
        """The resolved config as JSON: data that can be compared and never executed."""
        return json.dumps(self.cfg.to_dict(), default=str, sort_keys=True)

    def dump_config(self) -> None:
        """Write the whole config beside the checkpoints, but not in the place of a file that was
        given."""
        given = self.cfg.filename
        if not is_main_process():
            return
        if given and is_given(self.work_dir, given):
            self.logger.info(f'{given} lies in the work directory and is left as it is.')
            return
        name = Path(given).name if given else f'{self.timestamp}.py'
        self.cfg.dump(str(Path(self.work_dir) / name))


# What a checkpoint brings with it: rates, momenta, weight decay, and where schedules begin and end.
_OF_THE_STATE = ('optim_wrapper.optimizer.', 'optim_wrapper.paramwise_cfg', 'param_scheduler')


def _needed(loop: object, name: str) -> object:
    if loop is None:
        raise ConfigError(f'{name}_dataloader, {name}_cfg, {name}_evaluator: set them to {name}')
    return loop
