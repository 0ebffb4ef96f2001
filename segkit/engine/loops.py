"""Training, by iterations or epochs; validation; testing.

One iteration is one step of the optimizer: with ``accumulate=k`` it consumes k batches, so a
recipe's schedule, intervals and log keep their meaning on fewer GPUs. An epoch is the number of
iterations in which the sampler has given each sample once. The loops ask no more of a Runner than
mmengine's has; what mmengine's leaves out then is said by ``TrainLoop``.
"""

import bisect
import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.hooks import EMAHook
from mmengine.runner import BaseLoop
from mmengine.structures import BaseDataElement
from torch.utils.data import DataLoader

from segkit.compat import set_accumulation
from segkit.engine import stops
from segkit.engine.data_order import endless_batches, preserved_randomness, seed_iteration
from segkit.engine.dist import any_rank, means_over_ranks
from segkit.engine.errors import explained
from segkit.engine.model_setup import bare, gathered, share_buffers
from segkit.engine.optimizer import accumulation, batch_of
from segkit.engine.rendezvous import beat, listening
from segkit.engine.test_progress import TestProgress
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
        self._epoch = iteration // self.epoch_length if self.by_epoch else 0

    def run(self) -> torch.nn.Module:
        with explained(lambda: f'iteration {min(self._iter + 1, self.max_iters)}'):
            runner = self.runner
            self.start_at(self._iter, self.samples_seen)  # which mmengine's Runner may have set
            if self.samples_seen is None:
                self.samples_seen = self._iter * self.samples_per_iter
            runner.call_hook('before_train')
            if self._iter and runner.message_hub.get_info('last_val_iter', 0) != self._iter:
                # The checkpoint was written before the validation that is due at this iteration.
                self._validate_if_due()
            if self.accumulate > 1:
                counts = self._iter * self.accumulate, self.max_iters * self.accumulate
                set_accumulation(runner.optim_wrapper, self.accumulate, runner.model, *counts)
            batches: Iterator | None = None
            in_epoch = False
            while self._iter < self.max_iters and not self.stop_training:
                if not in_epoch:
                    runner.call_hook('before_train_epoch')
                batches = batches or endless_batches(
                    self.dataloader, self.samples_seen, runner.world_size
                )  # after a hook that tells the sampler the epoch
                self._train_one_iteration(batches)
                in_epoch = not self.by_epoch or self._iter % self.epoch_length > 0
                if not in_epoch:
                    runner.call_hook('after_train_epoch')
                    self._epoch += 1
                self._validate_if_due()
            if in_epoch:
                runner.call_hook('after_train_epoch')
            runner.call_hook('after_train')
            return runner.model

    def _train_one_iteration(self, batches: Iterator) -> None:
        """Train on ``accumulate`` batches; hooks see the last and the mean of the logs."""
        runner = self.runner
        runner.model.train()
        beat(f'in iteration {self._iter + 1}')
        seed_iteration(runner.seed, runner.rank, self._iter)
        number = self._iter % self.epoch_length if self.by_epoch else self._iter
        logs: list[dict] = []
        for _ in range(self.accumulate):
            batch = next(batches)
            if not logs:
                runner.call_hook('before_train_iter', batch_idx=number, data_batch=batch)
            logs.append(runner.model.train_step(batch, optim_wrapper=runner.optim_wrapper))
        self.samples_seen = (self.samples_seen or 0) + self.samples_per_iter
        runner.call_hook(
            'after_train_iter',
            batch_idx=number,
            data_batch=batch,
            outputs=logs[0] if self.accumulate == 1 else _mean_of(logs),
        )
        self._iter += 1

    def validates_after(self, iteration: int) -> bool:
        """Whether a validation follows once ``iteration`` iterations are done."""
        if self.runner.val_loop is None or (self.by_epoch and iteration % self.epoch_length):
            return False
        done = iteration // self.epoch_length if self.by_epoch else iteration
        due = done % self._interval_at(done) == 0 or iteration == self.max_iters
        return done >= self.val_begin and due

    def scores_follow(self, iteration: int) -> bool:
        """Whether a checkpoint that is due then may wait for the scores of a validation: of ours,
        which has it written should it fail."""
        return self.validates_after(iteration) and isinstance(self.runner.val_loop, ValLoop)

    def _interval_at(self, done: int) -> int:
        step = bisect.bisect([begin for begin, _ in self.dynamic_intervals], done + 1)
        return self.dynamic_intervals[step - 1][1]

    def _validate_if_due(self) -> None:
        self.val_interval = self._interval_at(self._epoch if self.by_epoch else self._iter)
        if self.validates_after(self._iter):
            self.runner.val_loop.run()


IterBasedTrainLoop = EpochBasedTrainLoop = TrainLoop


def _take_averages_out(runner: Any) -> None:
    """Of a validation that does not end: what EMAHook put in place of the weights."""
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            hook.after_val_epoch(runner)


def _mean_of(logs: Sequence[dict]) -> dict:
    """Mean of each value over the logs that have it: ``acc_interval`` leaves some out of some."""
    values = {key: [log[key] for log in logs if key in log] for log in logs for key in log}
    return {key: sum(found) / len(found) for key, found in values.items()}


class _EvaluationLoop(BaseLoop):
    """Predict each picture, then score: what validating and testing have in common."""

    stage = ''

    def __init__(
        self,
        runner: Any,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        fp16: bool = False,
    ) -> None:
        super().__init__(runner, dataloader)
        self.evaluator = runner.build_evaluator(evaluator)
        meta = getattr(self.dataloader.dataset, 'metainfo', None)
        self.evaluator.dataset_meta = runner.visualizer.dataset_meta = meta
        self.fp16 = fp16
        self._sums: dict[str, tuple[float, int]] = {}  # name of a loss -> sum, number

    def run(self) -> dict[str, object]:
        runner, stage = self.runner, self.stage
        runner.call_hook(f'before_{stage}')
        runner.call_hook(f'before_{stage}_epoch')
        self._sums = {}
        runner.model.eval()
        metrics = self._scores()
        runner.call_hook(f'after_{stage}_epoch', metrics=metrics)
        runner.call_hook(f'after_{stage}')
        return metrics

    def _scores(self) -> dict[str, object]:
        self._predict()
        return {**self.evaluator.evaluate(len(self.dataloader.dataset)), **self.losses()}

    def _predict(self, start: int = 0) -> None:
        with gathered(bare(self.runner.model)):
            for idx, data_batch in enumerate(self.dataloader, start):
                self.run_iter(idx, data_batch)

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: object) -> None:
        runner, stage = self.runner, self.stage
        runner.call_hook(f'before_{stage}_iter', batch_idx=idx, data_batch=data_batch)
        device = next(bare(runner.model).parameters()).device.type if self.fp16 else ''
        # float16 on CUDA, bfloat16 on the CPU
        with torch.autocast(device) if self.fp16 else contextlib.nullcontext():
            outputs = getattr(runner.model, f'{stage}_step')(data_batch)
        outputs = self._without_losses(outputs)
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        runner.call_hook(
            f'after_{stage}_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs
        )

    def _without_losses(self, outputs: Any) -> object:
        """The predictions of a model that gives its losses as the last of them."""
        last = outputs[-1] if isinstance(outputs, (list, tuple)) and outputs else None
        if not isinstance(last, BaseDataElement) or last.keys() != ['loss']:
            return outputs
        for name, values in last.loss.items():
            for value in [values] if isinstance(values, torch.Tensor) else values:
                self._add(name, float(value), 1)
        return outputs[:-1]

    def _add(self, name: str, value: float, count: int) -> None:
        before, number = self._sums.get(name, (0.0, 0))
        self._sums[name] = before + value, number + count

    def losses(self) -> dict[str, float]:
        """Mean of each loss over the pictures of all ranks; empty without any."""
        means = means_over_ranks(self._sums)
        total = f'{self.stage}_loss'
        if means and total not in means:
            means[total] = sum(value for name, value in means.items() if 'loss' in name)
        return means


@LOOPS.register_module()
class ValLoop(_EvaluationLoop):
    """Validate, leaving the random generators of training as they were.

    Args:
        val_loss: also compute the training loss on the validation set, as ``val_loss`` and one
            ``val_<name>`` for each term; ``save_best='val_loss'`` then works.
        runner, dataloader, evaluator, fp16: as in mmengine.
    """

    stage = 'val'

    def __init__(
        self,
        runner: object,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        fp16: bool = False,
        val_loss: bool = False,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        self.with_loss = val_loss

    def _scores(self) -> dict[str, object]:
        try:
            return super()._scores()
        except Exception:  # an error of the validation is not to cost what was trained
            if stops.in_training():
                _take_averages_out(self.runner)
                self.runner.call_hook('validation_failed')
            raise

    def _predict(self, start: int = 0) -> None:
        runner, model = self.runner, bare(self.runner.model)
        done = getattr(runner._train_loop, 'iter', 0)  # runner.iter would build the loop
        share_buffers(model)
        with preserved_randomness(), gathered(model):
            batches = enumerate(self.dataloader)  # its workers are forked before there is a thread
            with listening(stops.wanted) as stop_wanted:
                for idx, data_batch in batches:
                    self.run_iter(idx, data_batch)
                    beat(f'in batch {idx + 1} of a validation after iteration {done}')
                    if stop_wanted():
                        break
                stopped = stops.in_training() and any_rank(stop_wanted())
        if stops.in_training():
            if stopped:
                _take_averages_out(runner)
                runner.call_hook('stop_validation')
            # Told before what is saved with the scores: a resumed run need not validate again.
            runner.message_hub.update_info('last_val_iter', done)

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Any) -> None:
        if self.with_loss:
            self._add_loss(data_batch)
        super().run_iter(idx, data_batch)

    def _add_loss(self, data_batch: Mapping[str, Any]) -> None:
        model: Any = bare(self.runner.model)
        data = model.data_preprocessor(data_batch, False)
        data = data if isinstance(data, Mapping) else dict(zip(('inputs', 'data_samples'), data))
        total, terms = model.parse_losses(model(**data, mode='loss'))
        size = len(data_batch['inputs'])
        for key, value in dict(terms, loss=total).items():
            self._add(f'val_{key}', float(value) * size, size)


@LOOPS.register_module()
class TestLoop(_EvaluationLoop):
    """Test. The progress bar is a hook.

    Args:
        resume: go on with a test of the work directory that did not come to its end.
        save_every: seconds after which what has been counted is saved.
        runner, dataloader, evaluator, fp16: as in mmengine.
    """

    stage = 'test'

    def __init__(
        self,
        runner: object,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        fp16: bool = False,
        resume: bool = False,
        save_every: float = 60.0,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        self.resume, self.save_every = resume, save_every

    def _predict(self, start: int = 0) -> None:
        metrics = self.evaluator.metrics
        self._progress = TestProgress(self.runner, metrics, self.dataloader, self.save_every)
        if self.resume:
            start, self._sums = self._progress.resume()
        else:
            self._progress.forget()
        super()._predict(start)

    def _scores(self) -> dict[str, object]:
        scores = super()._scores()
        self._progress.forget()
        return scores

    def run_iter(self, idx: int, data_batch: object) -> None:
        super().run_iter(idx, data_batch)
        self._progress.save_if_due(idx + 1, self._sums)

    def run(self) -> dict[str, object]:
        if len(self.dataloader) == 0:
            self.runner.logger.info('the test split is empty: nothing to evaluate')
        with explained(lambda: 'testing'):
            return super().run()
