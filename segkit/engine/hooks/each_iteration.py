"""What is told at each iteration: where the run is, its losses and rates, how long it takes.

mmengine calls ``.item()`` on each loss, a device synchronisation each, and logs rank 0's losses.
Here they are stacked, averaged over the ranks (as mmsegmentation logged them) and read at once.
The same message carries the ranks' wish to stop, so that all of them stop at one iteration.
"""

import math
import time
from functools import partialmethod
from typing import TYPE_CHECKING

import mmengine
import numpy as np
import torch
from mmengine.hooks import Hook

from segkit.engine import stops
from segkit.engine.dist import average_over_ranks
from segkit.registry import HOOKS

if TYPE_CHECKING:
    from segkit.engine.runner import Runner


Given = dict | None  # a batch, or what came of it


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
