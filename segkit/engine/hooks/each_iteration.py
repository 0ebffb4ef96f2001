"""What is watched at each iteration: its losses, its labels, and signals that ask to stop.

mmengine calls ``.item()`` on each loss, a device synchronisation each, and logs rank 0's losses.
Here they are stacked, averaged over the ranks (as mmsegmentation logged them) and read at once.
The same message carries the ranks' wish to stop, so that all of them stop at one iteration.
"""

import math
import signal
import time
from functools import partialmethod
from typing import TYPE_CHECKING

import mmengine
import numpy as np
import torch
from mmengine.hooks import Hook

from segkit.engine import stops
from segkit.engine.dist import any_rank, average_over_ranks, leave_dist
from segkit.engine.errors import TrainingError
from segkit.engine.hooks.checkpoint import CheckpointHook
from segkit.models.losses import LabelCheck
from segkit.registry import HOOKS

if TYPE_CHECKING:
    from segkit.engine.runner import Runner


Given = dict | None


@HOOKS.register_module()
class SharedLossesHook(Hook):
    """Tells the Runner the losses of this rank and of all, and whether any rank is to stop."""

    priority = 'HIGHEST'

    def after_train_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: Given = None, outputs: Given = None
    ) -> None:
        outputs = outputs or {}
        values = [torch.as_tensor(v, dtype=torch.float32).detach() for v in outputs.values()]
        device = values[0].device if values else 'cpu'
        stop = torch.tensor(float(stops.asked() is not None), device=device)
        vector = torch.stack([v.to(device).mean() for v in [*values, stop]])
        local, mean = average_over_ranks(vector)
        runner.stop_requested = mean[-1] > 0
        runner.local_losses = dict(zip(outputs, local))
        runner.losses = dict(zip(outputs, mean))


@HOOKS.register_module()
class RuntimeInfoHook(Hook):
    """Tells the message hub where the run is, its rates, losses and scores, under mmengine's keys.

    mmengine's own hook also starts git, to ask which commit of mmengine runs.
    """

    priority = 'VERY_HIGH'
    _training = False

    def before_run(self, runner: 'Runner') -> None:
        what = dict(cfg=runner.cfg.pretty_text, mmengine_version=mmengine.__version__)
        name = runner.experiment_name
        runner.message_hub.update_info_dict(dict(what, seed=runner.seed, experiment_name=name))

    def before_train(self, runner: 'Runner') -> None:
        self._training = True
        where = dict(loop_stage='train', epoch=runner.epoch, iter=runner.iter)
        length = dict(max_epochs=runner.max_epochs, max_iters=runner.max_iters)
        runner.message_hub.update_info_dict({**where, **length})
        dataset: object = runner.train_dataloader.dataset
        if hasattr(dataset, 'metainfo'):
            runner.message_hub.update_info('dataset_meta', dataset.metainfo)

    def before_train_epoch(self, runner: 'Runner') -> None:
        runner.message_hub.update_info('epoch', runner.epoch)

    def before_train_iter(self, runner: 'Runner', batch_idx: int, data_batch: Given = None) -> None:
        runner.message_hub.update_info('iter', runner.iter)
        for name, rates in runner.optim_wrapper.get_lr().items():
            runner.message_hub.update_scalar(f'train/{name}', rates[0])

    def after_train_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: Given = None, outputs: Given = None
    ) -> None:
        """Those of all ranks; under mmengine's Runner, which does not ask them, of this one."""
        for name, value in (getattr(runner, 'losses', None) or outputs or {}).items():
            runner.message_hub.update_scalar(f'train/{name}', value)

    def _evaluation_begins(self, runner: 'Runner', mode: str) -> None:
        """What validation publishes belongs to the iterations done, as in the log's own line."""
        where = dict(iter=runner.iter, epoch=runner.epoch) if mode == 'val' else {}
        runner.message_hub.update_info_dict(dict(where, loop_stage=mode))

    def _scored(self, runner: 'Runner', metrics: Given = None, *, mode: str) -> None:
        for name, value in (metrics or {}).items():
            arrays = isinstance(value, (np.ndarray, torch.Tensor)) and math.prod(value.shape) == 1
            scalar = arrays or isinstance(value, (int, float, np.number))
            tell = runner.message_hub.update_scalar if scalar else runner.message_hub.update_info
            tell(f'{mode}/{name}', value)

    def _ended(self, runner: 'Runner', mode: str) -> None:
        if mode == 'val' and self._training:
            runner.message_hub.update_info('loop_stage', 'train')
        else:
            runner.message_hub.pop_info('loop_stage')
            self._training = False

    after_train = partialmethod(_ended, mode='train')
    before_val = partialmethod(_evaluation_begins, mode='val')
    after_val_epoch = partialmethod(_scored, mode='val')
    after_val = partialmethod(_ended, mode='val')
    before_test = partialmethod(_evaluation_begins, mode='test')
    after_test_epoch = partialmethod(_scored, mode='test')
    after_test = partialmethod(_ended, mode='test')


@HOOKS.register_module()
class IterTimerHook(Hook):
    """Seconds of each iteration (``time``), those of waiting for its data (``data_time``), and the
    ``eta``: mmengine's hook, without its two methods for each."""

    def __init__(self) -> None:
        self._spent = dict.fromkeys(('train', 'val', 'test'), 0.0)
        self._first = 0

    def before_train(self, runner: 'Runner') -> None:
        self._first = runner.iter

    def _epoch_begins(self, runner: 'Runner', mode: str) -> None:
        self._last = time.time()
        if mode != 'train':
            self._spent[mode] = 0.0

    def _data_came(
        self, runner: 'Runner', batch_idx: int, data_batch: object = None, *, mode: str
    ) -> None:
        runner.message_hub.update_scalar(f'{mode}/data_time', time.time() - self._last)

    def _iteration_done(
        self, runner: 'Runner', batch_idx: int, data_batch: object = None, outputs: object = None,
        *, mode: str,
    ) -> None:  # fmt: skip
        now = time.time()
        seconds, self._last = now - self._last, now
        self._spent[mode] += seconds
        if mode == 'train':
            done, total = runner.iter + 1 - self._first, runner.max_iters - self._first
        else:
            loader = runner.val_dataloader if mode == 'val' else runner.test_dataloader
            done, total = batch_idx + 1, len(loader)
        runner.message_hub.update_scalar(f'{mode}/time', seconds)
        runner.message_hub.update_info('eta', self._spent[mode] / done * (total - done))

    before_train_epoch = partialmethod(_epoch_begins, mode='train')
    before_train_iter = partialmethod(_data_came, mode='train')
    after_train_iter = partialmethod(_iteration_done, mode='train')
    before_val_epoch = partialmethod(_epoch_begins, mode='val')
    before_val_iter = partialmethod(_data_came, mode='val')
    after_val_iter = partialmethod(_iteration_done, mode='val')
    before_test_epoch = partialmethod(_epoch_begins, mode='test')
    before_test_iter = partialmethod(_data_came, mode='test')
    after_test_iter = partialmethod(_iteration_done, mode='test')


def image_paths(data_batch: dict | None) -> list[str]:
    """Paths of the images in a batch, where its samples carry them."""
    samples = (data_batch or {}).get('data_samples') or []
    return [str(getattr(s, 'img_path', '(generated)')) for s in samples]


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stop at a nan or inf loss, before anything is saved: the last checkpoint stays good.

    The same for labels that are no class, which on a GPU are found beside the loss.
    """

    priority = 'HIGH'

    def before_run(self, runner: 'Runner') -> None:
        checks = [getattr(m, 'label_check', None) for m in runner.bare_model.modules()]
        self._label_checks = [check for check in checks if isinstance(check, LabelCheck)]

    def after_train_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: Given = None, outputs: Given = None
    ) -> None:
        self._read_label_checks()
        bad = {k: v for k, v in runner.losses.items() if not math.isfinite(v)}
        if not bad:
            return
        mine = [k for k, v in runner.local_losses.items() if not math.isfinite(v)]
        rates = {k: v[0] for k, v in runner.optim_wrapper.get_lr().items()}
        where = ', '.join(image_paths(data_batch)) if mine else '(on another rank)'
        last = runner.last_good.name if runner.last_good else 'none was saved yet'
        raise TrainingError(
            f'the loss is not finite at iteration {runner.iter + 1}: {bad}. Learning rate '
            f'{rates}; images of this rank: {where}. Nothing was saved after it; the last good '
            f'checkpoint is {last}. Lower the learning rate, set optim_wrapper.clip_grad, or look '
            'at these images and their labels'
        )

    def after_val_epoch(self, runner: 'Runner', metrics: dict | None = None) -> None:
        self._read_label_checks()

    def _read_label_checks(self) -> None:
        for check in self._label_checks:
            check.flush()  # no wait: the losses that came after it have been read


@HOOKS.register_module()
class PreemptionHook(Hook):
    """SIGTERM, SIGUSR1, Ctrl-C: save after the iteration under way, or between two batches of a
    validation, and end with status 75 (130 after Ctrl-C).

    Ranks agree through the message that averages the losses, so that a signal to one of them saves
    on all at the same iteration. Further signals change nothing, so that none throws away what is
    being saved; a second Ctrl-C leaves at once.
    """

    # After the checkpoint hook, which may just have saved this very iteration.
    priority = 'LOWEST'

    def before_train(self, runner: 'Runner') -> None:
        """No rank trains before all of them note a signal: until then one leaves at once, and the
        others would lose it in the midst of an iteration, as if it had failed."""
        stops.training_begins()
        try:
            any_rank(False)  # which waits for all
        except RuntimeError:
            time.sleep(1.0)  # what another was asked may be on its way here
            stops.leave_if_asked()
            raise

    def after_train_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: Given = None, outputs: Given = None
    ) -> None:
        done, epoch = runner.iter + 1, getattr(runner.train_loop, 'epoch_length', 0)
        if runner.stop_requested and (not epoch or done % epoch):
            self._stop(runner, done, f'after iteration {done}')

    def after_train_epoch(self, runner: 'Runner') -> None:
        """The last iteration of an epoch: after what else is done at its end."""
        if runner.stop_requested:
            self._stop(runner, runner.iter, f'after epoch {runner.epoch + 1}')

    def stop_validation(self, runner: 'Runner') -> None:
        """Called by the loop of a validation that is not finished; a resumed run does it anew."""
        self._stop(runner, runner.iter, f'in the validation after iteration {runner.iter}')

    def _stop(self, runner: 'Runner', done: int, where: str) -> None:
        if not any(hasattr(hook, 'save_now') for hook in runner.hooks):
            saver = CheckpointHook(interval=-1)  # none of ours was there
            saver.before_train(runner)
            runner.register_hook(saver)
        runner.call_hook('save_now', done=done)
        status = stops.status()
        name = signal.Signals(stops.asked() or signal.SIGTERM).name
        runner.logger.info(
            f'Stopped by {name} {where}; everything is saved in {runner.work_dir}. '
            f'Exit status {status}: start again with --resume to go on.'
        )
        stops.report(status)
        stops.training_ends()
        leave_dist()
        raise SystemExit(status)
