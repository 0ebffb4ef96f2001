"""The part of the Runner that saves, loads and resumes.

mmengine's own cannot load the files it writes (current torch refuses the pickled history in them),
runs the config text stored in older checkpoints as Python, and sets up the data before it knows
the seed of the run it resumes.
"""

import json
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import mmengine
import torch
import torch.distributed as torch_dist
from mmengine.dist import is_main_process
from mmengine.optim import OptimWrapper
from torch import nn

import segkit
from segkit.engine import stops
from segkit.engine.errors import TrainingError
from segkit.engine.folders import check_start, is_given
from segkit.engine.resume import config_differences, load_latest, load_verified
from segkit.engine.run_lock import locked
from segkit.engine.saving import save_checkpoint_file
from segkit.engine.scalars import hub_state, load_hub_state, plain
from segkit.engine.sharding import (
    is_sharded,
    load_whole_optimizer_state,
    load_whole_state,
    whole_optimizer_state,
    whole_state,
)
from segkit.weights import initialise, load_into, read_verified, state_dict_of


class Persistence:
    """Mixed into :class:`segkit.engine.Runner`, before mmengine's Runner."""

    _resumed: tuple[Path, dict] | None = None
    _purpose = 'finetune'

    # -- saving --------------------------------------------------------------------------------

    def config_json(self) -> str:
        """The resolved config as JSON: data that can be compared and never executed."""
        return json.dumps(self.cfg.to_dict(), default=str, sort_keys=True)

    def _meta(self, meta: dict | None) -> dict:
        dataset = self.train_dataloader.dataset
        return dict(
            meta or {},
            cfg=self.cfg.pretty_text,
            config_json=self.config_json(),
            seed=self.seed,
            experiment_name=self.experiment_name,
            time=time.strftime('%Y%m%d_%H%M%S'),
            segkit_version=segkit.__version__,
            mmengine_version=mmengine.__version__,
            dataset_meta=plain(dict(getattr(dataset, 'metainfo', None) or {})),
            samples_seen=self.samples_seen,
            world_size=self.world_size,
            effective_batch=self.effective_batch,
        )

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict | None = None,
        **ignored,
    ) -> None:
        """Write one checkpoint atomically; every rank must call it, the first one writes.

        The file holds plain Python values and tensors only, so that
        ``torch.load(path, weights_only=True)`` reads it.
        """
        weights = whole_state(self.bare_model)  # a collective call where the model is sharded
        optimizer = self._optimizer_state() if save_optimizer else {}
        gradients = self._partial_gradients() if save_optimizer else {}
        self._refuse_broken_weights(filename)
        if not is_main_process():
            return
        checkpoint = dict(
            meta=self._meta(meta),
            state_dict=weights,
            message_hub=hub_state(self.message_hub, self.log_processor.window_size),
        )
        if save_optimizer:
            checkpoint['optimizer'] = optimizer
            if gradients:
                checkpoint['partial_gradients'] = gradients
        if save_param_scheduler and self.param_schedulers:
            checkpoint['param_schedulers'] = [plain(s.state_dict()) for s in self.param_schedulers]
        self.call_hook('before_save_checkpoint', checkpoint=checkpoint)
        save_checkpoint_file(checkpoint, Path(out_dir) / filename)
        self.message_hub.update_info('last_good_ckpt', filename)

    def _optimizer_state(self) -> dict:
        if is_sharded(self.bare_model):
            return whole_optimizer_state(self.bare_model, self.optim_wrapper.optimizer)
        return self.optim_wrapper.state_dict()

    def _refuse_broken_weights(self, filename: str) -> None:
        """A loss is computed before the update of its step, which may break the weights."""
        state = self.bare_model.state_dict()
        broken = [k for k, v in state.items() if v.is_floating_point() and not v.isfinite().all()]
        if broken:
            last = self.message_hub.get_info('last_good_ckpt') or 'none was saved yet'
            raise TrainingError(
                f'{filename} is not written: {len(broken)} weights are nan or inf, '
                f'{broken[0]} first. The last good checkpoint is {last}. Lower the learning rate '
                'or set optim_wrapper.clip_grad'
            )

    def _partial_gradients(self) -> dict[str, torch.Tensor]:
        """Gradients of an accumulation under way, averaged over the ranks; else empty."""
        wrapper = self.optim_wrapper
        if not isinstance(wrapper, OptimWrapper) or wrapper.should_update():
            return {}
        found = {}
        for name, parameter in self.bare_model.named_parameters():
            if parameter.grad is not None:
                gradient = parameter.grad.clone()
                if self.distributed:
                    torch_dist.all_reduce(gradient)
                    gradient /= self.world_size
                found[name] = gradient
        return found

    # -- loading -------------------------------------------------------------------------------

    def train(self) -> nn.Module:
        """Train; when resuming, the seed of the checkpoint is known before the data is set up."""
        with locked(self.work_dir) if is_main_process() else nullcontext():
            self._find_resumed()
            if self._resumed is None:
                check_start(self.work_dir, self._load_from)
            self._leave_config()
            try:
                return super().train()
            finally:
                stops.training_ends()

    def _leave_config(self) -> None:
        """The whole config beside the checkpoints (see ``Runner.dump_config``), but not in the
        place of the file that was given."""
        given = self.cfg.filename
        if given and is_given(self.work_dir, given):
            self.logger.info(f'{given} lies in the work directory and is left as it is.')
            return
        super().dump_config()

    def val(self) -> dict:
        self._purpose = 'test'
        return super().val()

    def test(self) -> dict:
        self._purpose = 'test'
        return super().test()

    def _find_resumed(self) -> None:
        if not self._resume:
            return
        found: list = [None]
        if is_main_process():
            found = [self._open_resumed()]
        if self.distributed:
            paths = [found[0] and str(found[0][0])]
            torch_dist.broadcast_object_list(paths)
            if not is_main_process() and paths[0]:
                found = [(Path(paths[0]), load_verified(paths[0]))]
        self._resumed = found[0]
        if self._resumed is None:
            self._resume = False
            start = f'from the weights of {self._load_from}' if self._load_from else 'afresh'
            self.logger.info(f'No checkpoint in {self.work_dir} yet: training starts {start}.')
            return
        self._adopt_seed(self._resumed[1].get('meta', {}).get('seed'))

    def _open_resumed(self) -> tuple[Path, dict] | None:
        if self._load_from is not None and self._resume != 'auto':
            return Path(self._load_from), load_verified(self._load_from)
        return load_latest(self.work_dir, self.logger.warning)

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
        if self._has_loaded:
            return
        if self._resumed is not None:
            self.resume(str(self._resumed[0]))
        elif self._load_from is not None and not self._resume:
            self.load_checkpoint(self._load_from)
        self._has_loaded = True

    def load_checkpoint(self, filename: str, map_location: str = 'cpu', **ignored) -> dict:
        """Weights alone. Fine-tuning takes what fits and prints the rest; testing needs all."""
        checkpoint, verified = read_verified(filename, map_location, mmap=True)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        source, assign = str(filename), self._may_assign()
        self._load_weights(checkpoint, self._purpose, source, assign, verified=verified)
        self._has_loaded = True
        return checkpoint

    def _may_assign(self) -> bool:
        """Whether nothing but the bare model knows its tensors, so that others may replace them."""
        alone = self.model is self.bare_model and not isinstance(self.optim_wrapper, OptimWrapper)
        return alone and self._purpose == 'test' and not self.cfg.get('channels_last')

    def _load_weights(
        self, checkpoint: dict, purpose: str, source: str, assign: bool = False, **how: Any
    ) -> None:
        if is_sharded(self.bare_model):
            load_whole_state(self.bare_model, state_dict_of(checkpoint, source))
            return
        how |= dict(source=source, assign=assign)
        report = load_into(self.bare_model, checkpoint, purpose, **how)
        if self._purpose == 'test':
            initialise(self.bare_model, report.missing)  # an auxiliary head, perhaps left undrawn
        if purpose == 'finetune' or not report.complete or self._purpose == 'test':
            self.logger.info(str(report))

    def resume(self, filename: str, **ignored) -> None:
        """Go on from ``filename``: weights, optimizer, schedule, place in the data, scores."""
        path, checkpoint = self._resumed or (Path(filename), load_verified(filename))
        self._resumed = None
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        self._load_weights(checkpoint, 'test', str(path), key_map={})
        meta = checkpoint['meta']
        self.train_loop._epoch, self.train_loop._iter = meta.get('epoch', 0), meta['iter']
        self.samples_seen = meta.get('samples_seen', meta['iter'] * self.effective_batch)
        load_hub_state(self.message_hub, checkpoint.get('message_hub', {}))
        self._resume_optimizer(checkpoint)
        self._report_differences(meta)
        self._has_loaded = True
        self.logger.info(f'Resumed from {path} at iteration {self.iter}.')

    def _resume_optimizer(self, checkpoint: dict) -> None:
        if 'optimizer' in checkpoint:
            self.optim_wrapper = self.build_optim_wrapper(self.optim_wrapper)
            if is_sharded(self.bare_model):
                optimizer = self.optim_wrapper.optimizer
                load_whole_optimizer_state(self.bare_model, optimizer, checkpoint['optimizer'])
            else:
                self.optim_wrapper.load_state_dict(checkpoint['optimizer'])
        for name, gradient in checkpoint.get('partial_gradients', {}).items():
            parameter = self.bare_model.get_parameter(name)
            parameter.grad = gradient.to(parameter.device)
        states = checkpoint.get('param_schedulers', [])
        for scheduler, state in zip(self.param_schedulers or [], states):
            scheduler.load_state_dict(state)

    def _report_differences(self, meta: dict) -> None:
        for line in config_differences(meta.get('config_json'), self.cfg.to_dict()):
            self.logger.warning(f'Config changed since the checkpoint: {line}')
        before, now = meta.get('world_size'), self.world_size
        if before is None or (before, meta.get('effective_batch')) == (now, self.effective_batch):
            return
        self.logger.warning(
            f'Resumed on {now} process(es) what ran on {before}: the order of samples goes on at '
            f'sample {self.samples_seen}; images per step {meta.get("effective_batch")} -> '
            f'{self.effective_batch}; learning rates and the number of iterations are as before. '
            'train_cfg.accumulate keeps the number of images per step.'
        )
