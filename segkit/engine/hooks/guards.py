"""Reasons to stop in time: a loss that is no number, a label that is no class, and a scheduler
that wants the node.

Exit status 75 (EX_TEMPFAIL of sysexits.h, "try again later") tells a scheduler to requeue.
"""

import math
import os
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from mmengine.hooks import Hook

from segkit.engine.dist import leave_dist
from segkit.engine.errors import TrainingError
from segkit.models.losses import LabelCheck
from segkit.registry import HOOKS

if TYPE_CHECKING:
    from segkit.engine.runner import Runner

REQUEUE_CODE = 75


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
        self,
        runner: 'Runner',
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        self._read_label_checks()
        bad = {k: v for k, v in runner.losses.items() if not math.isfinite(v)}
        if not bad:
            return
        mine = [k for k, v in runner.local_losses.items() if not math.isfinite(v)]
        rates = {k: v[0] for k, v in runner.optim_wrapper.get_lr().items()}
        where = ', '.join(image_paths(data_batch)) if mine else '(on another rank)'
        last = runner.message_hub.get_info('last_good_ckpt') or 'none was saved yet'
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
    """SIGTERM or SIGUSR1: save after the iteration under way and exit with status 75.

    A second signal leaves at once. Ranks agree through the message that averages the losses, so
    that a signal to one of them saves on all at the same iteration.
    """

    # After the checkpoint hook, which may just have saved this very iteration.
    priority = 'LOWEST'
    signals = (signal.SIGTERM, signal.SIGUSR1)

    def before_train(self, runner: 'Runner') -> None:
        # Python allows handlers in the main thread only; a notebook may train in another.
        if threading.current_thread() is threading.main_thread():
            self._previous = {s: signal.signal(s, self._handler(runner)) for s in self.signals}

    @staticmethod
    def _handler(runner: 'Runner') -> Callable[[int, object], None]:
        owner = os.getpid()

        def note(number: int, frame: object) -> None:
            if os.getpid() != owner:  # a data worker forked from here: its parent decides
                return
            if runner.stop_signal is not None:
                os._exit(128 + number)
            runner.stop_signal = number

        return note

    def after_train(self, runner: 'Runner') -> None:
        for number, handler in getattr(self, '_previous', {}).items():
            signal.signal(number, handler)

    def after_train_iter(
        self,
        runner: 'Runner',
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        if not runner.stop_requested:
            return
        runner.call_hook('save_now')
        runner.logger.info(
            f'Stopped by a signal after iteration {runner.iter + 1}; everything is saved. '
            f'Exit status {REQUEUE_CODE}: start again with --resume to go on.'
        )
        exit_file = os.environ.get('SEGKIT_EXIT_FILE')
        if exit_file and runner.rank == 0:  # torchrun turns every failure into status 1
            with open(exit_file, 'w') as file:
                file.write(str(REQUEUE_CODE))
        self.after_train(runner)
        leave_dist()
        raise SystemExit(REQUEUE_CODE)
