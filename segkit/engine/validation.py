"""The loops of validation and of testing: all pictures are predicted, then they are scored."""

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.hooks import EMAHook
from mmengine.runner import BaseLoop
from mmengine.structures import BaseDataElement
from torch.utils.data import DataLoader

from segkit.engine import checkpoints, stops
from segkit.engine.data_order import preserved_randomness
from segkit.engine.dist import any_rank, beat, listening, means_over_ranks
from segkit.engine.errors import explained
from segkit.engine.model_setup import bare, gathered, share_buffers
from segkit.engine.test_progress import TestProgress
from segkit.registry import LOOPS


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

    def _without_losses(self, outputs: object) -> object:
        """The predictions of a model that gives its losses as the last of them."""
        if not isinstance(outputs, (list, tuple)) or not outputs:
            return outputs
        last = outputs[-1]
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
            if stops.in_training() and not checkpoints.need_all_ranks(self.runner):
                _take_averages_out(self.runner)
                self.runner.call_hook('validation_failed')
            raise

    def _predict(self, start: int = 0) -> None:
        runner, model = self.runner, bare(self.runner.model)
        done = getattr(runner._train_loop, 'iter', 0)  # runner.iter would build the loop
        if runner.distributed:
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

    def _add_loss(self, data_batch: Mapping) -> None:
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


def _take_averages_out(runner: Any) -> None:
    """Of a validation that does not end: what EMAHook put in place of the weights."""
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            hook.after_val_epoch(runner)
