"""The loop of training, by iterations or epochs, which calls that of validation where it is due.

One iteration is one step of the optimizer: with ``accumulate=k`` it consumes k batches, so a
recipe's schedule, intervals and log keep their meaning on fewer GPUs. An epoch is the number of
iterations in which the sampler has given each sample once. The loop asks no more of a Runner than
mmengine's has, and says what that leaves out.
"""

import bisect
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.runner import BaseLoop
from torch.utils.data import DataLoader

from segkit.compat import set_accumulation
from segkit.engine.data_order import endless_batches, passes, seed_iteration
from segkit.engine.dist import beat
from segkit.engine.errors import TrainingError, explained
from segkit.engine.optimizer import accumulation, batch_of
from segkit.errors import ConfigError
from segkit.registry import LOOPS

_OURS_ALONE = (
    'segkit.engine.Runner does more: it saves when a signal or Ctrl-C stops it, checks data and '
    'losses, averages the logged losses over the ranks and resumes exactly. This is the Runner of '
    'mmengine, which trains without that; `from segkit.engine import Runner`, the rest stays as '
    'it is.'
)


@LOOPS.register_module(name=['IterBasedTrainLoop', 'EpochBasedTrainLoop'])
class TrainLoop(BaseLoop):
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
        runner: Any,
        dataloader: DataLoader | dict,
        max_iters: int | None = None,
        val_begin: int = 1,
        val_interval: int | None = None,
        dynamic_intervals: Sequence[tuple[int, int]] | None = None,
        accumulate: int | str = 1,
        max_epochs: int | None = None,
    ) -> None:
        if (max_iters is None) == (max_epochs is None):
            raise ConfigError('train_cfg: set one of max_iters and max_epochs')
        if not hasattr(runner, 'stop_requested'):
            warnings.warn(_OURS_ALONE, stacklevel=2)
        super().__init__(runner, dataloader)
        batch, recipe = batch_of(self.dataloader), (runner.auto_scale_lr or {})
        self.accumulate, said = accumulation(
            accumulate, batch, runner.world_size, recipe.get('base_batch_size')
        )
        if said:
            runner.logger.info(said)
        self.samples_per_iter = batch * runner.world_size * self.accumulate
        self.samples_seen: int | None = None  # None: as many as the iterations done have taken
        self.by_epoch = max_epochs is not None
        # Without epochs the whole run is one, whose end no count of iterations tells.
        self.epoch_length = 0
        if self.by_epoch:
            self.epoch_length = max(len(self.dataloader) // self.accumulate, 1)
        self.max_epochs = int(max_epochs or 1)
        self.max_iters = int(max_iters or self.max_epochs * self.epoch_length)
        self._epoch = self._iter = 0
        self._elsewhere = 0  # iterations done beyond those that the epochs done have in this run
        self._batches: Iterator | None = None  # what the loader still gives
        self._loader = self.dataloader
        self.val_begin = val_begin
        self.val_interval = val_interval or (1 if self.by_epoch else 1000)
        # [(from which iteration or epoch on, interval)]
        self.dynamic_intervals = [(0, self.val_interval), *(dynamic_intervals or ())]
        self.stop_training = False
        runner.visualizer.dataset_meta = getattr(self.dataloader.dataset, 'metainfo', None)

    @property
    def iter(self) -> int:
        """Iterations done."""
        return self._iter

    @property
    def epoch(self) -> int:
        """Epochs done; 0 to the end of a run by iterations, but for its last hooks."""
        return self._epoch

    def start_at(self, iteration: int, samples_seen: int | None) -> None:
        """Go on after ``iteration`` iterations, at that place in the endless order of samples."""
        self._iter, self.samples_seen = iteration, samples_seen
        self._epoch = 0
        if self.by_epoch:
            # The samples say how many epochs are done: fewer or larger batches than before the stop
            # make their iterations others.
            done = iteration if samples_seen is None else samples_seen // self.samples_per_iter
            self._elsewhere = iteration - done
            self.max_iters = self._elsewhere + self.max_epochs * self.epoch_length
            self._epoch = done // self.epoch_length

    def place_in_epoch(self, iteration: int) -> int:
        """Iterations of the epoch under way once ``iteration`` are done; 0 at an epoch's end."""
        return (iteration - self._elsewhere) % self.epoch_length if self.by_epoch else iteration

    def run(self) -> torch.nn.Module:
        with explained(lambda: f'iteration {min(self._iter + 1, self.max_iters)}'):
            runner = self.runner
            self.start_at(self._iter, self.samples_seen)  # which mmengine's Runner may have set
            self._batches = None
            if self.samples_seen is None:
                self.samples_seen = self._iter * self.samples_per_iter
            runner.call_hook('before_train')
            if self._iter and runner.message_hub.get_info('last_val_iter', 0) != self._iter:
                # The checkpoint was written before the validation that is due at this iteration.
                self._validate_if_due()
            if self.accumulate > 1:
                counts = self._iter * self.accumulate, self.max_iters * self.accumulate
                set_accumulation(runner.optim_wrapper, self.accumulate, runner.model, *counts)
            if not self.by_epoch:  # all of it is one
                runner.call_hook('before_train_epoch')
            while self._iter < self.max_iters and not self.stop_training:
                if self.by_epoch:
                    self._train_one_epoch()
                else:
                    runner.model.train()
                    self._train_one_iteration()
                self._validate_if_due()
            if not self.by_epoch:
                runner.call_hook('after_train_epoch')
            runner.call_hook('after_train')
            return runner.model

    def _train_one_epoch(self) -> None:
        """The rest of an epoch, which a wish to stop does not cut short. A part of the model that a
        hook puts into evaluation stays there until the next."""
        runner, last = self.runner, False
        runner.call_hook('before_train_epoch')
        if self._batches is not None and self.dataloader is not self._loader:
            self._exchange_loader()
        runner.model.train()
        while not last:
            self._train_one_iteration()
            last = self.place_in_epoch(self._iter) == 0
        runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _exchange_loader(self) -> None:
        """Another loader is in the place of the one before, put there by a hook."""
        self._loader = self.dataloader
        length = max(len(self._loader) // self.accumulate, 1)
        if length != self.epoch_length:
            raise TrainingError(
                f'epoch {self._epoch + 1}: the data loader that a hook put in its place gives '
                f'{length} iterations an epoch, and this run has {self.epoch_length}: choose its '
                'batch_size so that they are as many, or count iterations (train_cfg.max_iters)'
            )
        self._batches = passes(self._loader, self._epoch)

    def _train_one_iteration(self) -> None:
        """Train on ``accumulate`` batches; hooks see the last and the mean of the logs."""
        runner, done = self.runner, self.samples_seen or 0
        if self._batches is None:  # after a hook that tells the sampler the epoch
            self._loader = self.dataloader
            self._batches = endless_batches(self._loader, done, runner.world_size)
        beat(f'in iteration {self._iter + 1}')
        seed_iteration(runner.seed, runner.rank, self._iter)
        number = self.place_in_epoch(self._iter)
        logs: list[dict] = []
        for _ in range(self.accumulate):
            batch = next(self._batches)
            if not logs:
                runner.call_hook('before_train_iter', batch_idx=number, data_batch=batch)
            logs.append(runner.model.train_step(batch, optim_wrapper=runner.optim_wrapper))
        self.samples_seen = done + self.samples_per_iter
        runner.call_hook(
            'after_train_iter',
            batch_idx=number,
            data_batch=batch,
            outputs=logs[0] if self.accumulate == 1 else _mean_of(logs),
        )
        self._iter += 1

    def validates_after(self, iteration: int) -> bool:
        """Whether a validation follows once ``iteration`` iterations are done."""
        if self.runner.val_loop is None or (self.by_epoch and self.place_in_epoch(iteration)):
            return False
        done = iteration
        if self.by_epoch:
            done = (iteration - self._elsewhere) // self.epoch_length
        due = done % self._interval_at(done) == 0 or iteration == self.max_iters
        return done >= self.val_begin and due

    def _interval_at(self, done: int) -> int:
        step = bisect.bisect([begin for begin, _ in self.dynamic_intervals], done + 1)
        return self.dynamic_intervals[step - 1][1]

    def _validate_if_due(self) -> None:
        self.val_interval = self._interval_at(self._epoch if self.by_epoch else self._iter)
        if self.validates_after(self._iter):
            self.runner.val_loop.run()


IterBasedTrainLoop = EpochBasedTrainLoop = TrainLoop


def _mean_of(logs: Sequence[dict]) -> dict:
    """Mean of each value over the logs that have it: ``acc_interval`` leaves some out of some."""
    values = {key: [log[key] for log in logs if key in log] for log in logs for key in log}
    return {key: sum(found) / len(found) for key, found in values.items()}
