"""Training that resumes through the sampler, by iterations or epochs; validation; testing.

mmengine's iteration loop resumes by loading, decoding and throwing away every batch already seen,
hours on a large dataset, and its epoch loop starts the epoch again. Here the sampler jumps to its
place. One iteration is one step of the optimizer: with ``accumulate=k`` it consumes k batches, so a
recipe's schedule, intervals and log keep their meaning on fewer GPUs. An epoch is the number of
iterations in which the sampler has given each sample once.
"""

import bisect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from mmengine.dist import all_gather_object
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop
from mmengine.runner import IterBasedTrainLoop as MMIterBasedTrainLoop
from mmengine.runner import TestLoop as MMTestLoop
from mmengine.runner import ValLoop as MMValLoop
from mmengine.runner.utils import calc_dynamic_intervals
from torch.utils.data import DataLoader

from segkit.engine import stops
from segkit.engine.data_position import endless_batches
from segkit.engine.dist import any_rank
from segkit.engine.errors import explained
from segkit.engine.model_setup import share_buffers
from segkit.engine.randomness import preserved_randomness, seed_iteration
from segkit.engine.rendezvous import beat
from segkit.engine.sharding import gathered
from segkit.errors import ConfigError
from segkit.registry import LOOPS

if TYPE_CHECKING:
    from segkit.engine.runner import Runner


@LOOPS.register_module(name=['IterBasedTrainLoop', 'EpochBasedTrainLoop'])
class TrainLoop(MMIterBasedTrainLoop):
    """Train for ``max_iters`` optimizer steps, or for ``max_epochs`` passes over the dataset.

    Args:
        runner, dataloader: given by the Runner.
        max_iters, max_epochs: one of them; the intervals below count the same unit.
        val_begin, val_interval, dynamic_intervals: as in mmengine; ``val_interval`` is 1000
            iterations or 1 epoch when not given.
        accumulate: batches per iteration, their gradients averaged; 'auto' reaches
            ``auto_scale_lr.base_batch_size`` whatever the number of GPUs.
    """

    def __init__(
        self,
        runner: 'Runner',
        dataloader: DataLoader | dict,
        max_iters: int | None = None,
        val_begin: int = 1,
        val_interval: int | None = None,
        dynamic_intervals: list[tuple[int, int]] | None = None,
        accumulate: int | str = 1,
        max_epochs: int | None = None,
    ) -> None:
        # Not mmengine's __init__: it starts the workers, which would read from sample 0.
        BaseLoop.__init__(self, runner, dataloader)
        if not hasattr(runner, 'resolve_accumulation'):
            raise ConfigError(
                f'train_cfg: the loop of segkit needs segkit.engine.Runner, not {type(runner)}: '
                '`from segkit.engine import Runner`, the rest stays as it is'
            )
        if (max_iters is None) == (max_epochs is None):
            raise ConfigError('train_cfg: set one of max_iters and max_epochs')
        self.by_epoch = max_epochs is not None
        self.accumulate = runner.resolve_accumulation(accumulate)
        if max_epochs is None:
            self.epoch_length = 0  # one epoch without an end
        else:
            self.epoch_length = max(len(self.dataloader) // self.accumulate, 1)
        self._max_epochs = 1 if max_epochs is None else int(max_epochs)
        self._max_iters = int(max_iters or self._max_epochs * self.epoch_length)
        self._epoch = self._iter = 0
        self.val_begin = val_begin
        self.val_interval = val_interval or (1 if self.by_epoch else 1000)
        self.stop_training = False
        self.dynamic_milestones, self.dynamic_intervals = calc_dynamic_intervals(
            self.val_interval, dynamic_intervals
        )
        self.runner.visualizer.dataset_meta = getattr(self.dataloader.dataset, 'metainfo', None)

    def run(self) -> torch.nn.Module:
        with explained(lambda: f'iteration {min(self._iter + 1, self._max_iters)}'):
            return self._run()

    def _run(self) -> torch.nn.Module:
        runner = self.runner
        if self.by_epoch:  # which a stopped run may have left in the middle of one
            self._epoch = self._iter // self.epoch_length
        runner.call_hook('before_train')
        if self._iter > 0 and runner.message_hub.get_info('last_val_iter', 0) != self._iter:
            # The checkpoint was written before the validation that is due at this iteration.
            self._validate_if_due()
        self._start_counting()
        batches: Iterator | None = None
        in_epoch = False
        while self._iter < self._max_iters and not self.stop_training:
            if not in_epoch:
                runner.call_hook('before_train_epoch')
            batches = batches or endless_batches(
                self.dataloader, runner.samples_seen, runner.world_size
            )  # after a hook that tells the sampler the epoch
            runner.model.train()
            self._run_iteration(batches)
            in_epoch = not self.by_epoch or self._iter % self.epoch_length > 0
            if not in_epoch:
                runner.call_hook('after_train_epoch')
                self._epoch += 1
            self._decide_current_val_interval()
            self._validate_if_due()
        if in_epoch:
            runner.call_hook('after_train_epoch')
        runner.call_hook('after_train')
        return runner.model

    def _start_counting(self) -> None:
        """Tell the optimizer's wrapper that its batches come ``accumulate`` to a step."""
        if self.accumulate == 1:
            return
        wrapper = self.runner.optim_wrapper
        wrapper._accumulative_counts = self.accumulate
        done, total = self._iter * self.accumulate, self._max_iters * self.accumulate
        wrapper.initialize_count_status(self.runner.model, done, total)

    def _run_iteration(self, batches: Iterator) -> None:
        """Load and train on ``accumulate`` batches; hooks see the last and the mean of the logs."""
        runner = self.runner
        beat(f'in iteration {self._iter + 1}')
        seed_iteration(runner.seed, runner.rank, self._iter)
        number = self._iter % self.epoch_length if self.by_epoch else self._iter
        logs: list[dict] = []
        for _ in range(self.accumulate):
            batch = next(batches)
            if not logs:
                runner.call_hook('before_train_iter', batch_idx=number, data_batch=batch)
            logs.append(runner.model.train_step(batch, optim_wrapper=runner.optim_wrapper))
        runner.samples_seen += runner.batch_per_step * self.accumulate
        runner.call_hook(
            'after_train_iter', batch_idx=number, data_batch=batch, outputs=_mean_of(logs)
        )
        self._iter += 1

    def _decide_current_val_interval(self) -> None:
        step = bisect.bisect(self.dynamic_milestones, self._done + 1)
        self.val_interval = self.dynamic_intervals[step - 1]

    @property
    def _done(self) -> int:
        """Epochs or iterations, whichever the intervals count."""
        return self._epoch if self.by_epoch else self._iter

    def _validate_if_due(self) -> None:
        if self.by_epoch and self._iter % self.epoch_length:
            return
        due = self._done % self.val_interval == 0 or self._iter == self._max_iters
        if self.runner.val_loop is not None and self._done >= self.val_begin and due:
            self.runner.val_loop.run()


IterBasedTrainLoop = EpochBasedTrainLoop = TrainLoop


def _mean_of(logs: Sequence[dict]) -> dict:
    """Mean of each value over the logs that have it: ``acc_interval`` leaves some out of some."""
    if len(logs) == 1:
        return logs[0]
    values = {key: [log[key] for log in logs if key in log] for log in logs for key in log}
    return {key: sum(found) / len(found) for key, found in values.items()}


@LOOPS.register_module()
class ValLoop(MMValLoop):
    """Validate, leaving the random generators of training as they were.

    Args:
        val_loss: also compute the training loss on the validation set, as ``val_loss`` and one
            ``val_<name>`` for each term; ``save_best='val_loss'`` then works.
        runner, dataloader, evaluator, fp16: as in mmengine.
    """

    def __init__(
        self,
        runner: 'Runner',
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        fp16: bool = False,
        val_loss: bool = False,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        self.with_loss = val_loss
        self._sums: dict[str, tuple[float, int]] = {}

    def run(self) -> dict:
        runner = self.runner
        runner.call_hook('before_val')
        runner.call_hook('before_val_epoch')
        self._sums = {}
        share_buffers(runner.bare_model)
        runner.model.eval()
        with preserved_randomness(), gathered(runner.bare_model):
            for idx, data_batch in enumerate(self.dataloader):
                self.run_iter(idx, data_batch)
                beat(f'in batch {idx + 1} of a validation after iteration {runner.iter}')
                if stops.in_training() and stops.asked() is not None:
                    break
        if stops.in_training():
            if any_rank(stops.asked() is not None):
                runner.call_hook('stop_validation')
            # Told before what is saved with the scores: a resumed run need not validate again.
            runner.message_hub.update_info('last_val_iter', runner.iter)
        metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
        metrics.update(self.losses())
        runner.call_hook('after_val_epoch', metrics=metrics)
        runner.call_hook('after_val')
        return metrics

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        if self.with_loss:
            self._add_loss(data_batch)
        super().run_iter(idx, data_batch)

    def _add_loss(self, data_batch: Any) -> None:
        model = self.runner.model
        model = model.module if is_model_wrapper(model) else model
        losses = model._run_forward(model.data_preprocessor(data_batch, False), mode='loss')
        total, terms = model.parse_losses(losses)
        size = len(data_batch['inputs'])
        for key, value in dict(terms, loss=total).items():
            done, images = self._sums.get(f'val_{key}', (0.0, 0))
            self._sums[f'val_{key}'] = (done + float(value) * size, images + size)

    def losses(self) -> dict[str, float]:
        """Mean of each over the images of all ranks that have it; empty unless ``val_loss``."""
        if not self.with_loss:
            return {}
        # Whole, since a rank without an image does not know the names.
        parts = all_gather_object(self._sums)
        totals: dict[str, tuple[float, int]] = {}
        for name, (value, images) in (item for part in parts for item in part.items()):
            done, count = totals.get(name, (0.0, 0))
            totals[name] = (done + value, count + images)
        return {name: value / count for name, (value, count) in totals.items()}


@LOOPS.register_module()
class TestLoop(MMTestLoop):
    """mmengine's ``TestLoop``; the progress bar is a hook."""

    def run(self) -> dict:
        if len(self.dataloader) == 0:
            print_log('the test split is empty: nothing to evaluate', 'current')
        with explained(lambda: 'testing'), gathered(self.runner.bare_model):
            return super().run()
