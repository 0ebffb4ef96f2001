"""Stop when a validation scalar has ceased to improve, and remember it across a resume.

mmengine's hook forgets its best score and its patience when a run is resumed, and for falling
scores its ``min_delta`` makes an improvement count as none.
"""

import math
from typing import TYPE_CHECKING

from mmengine.hooks import Hook

from segkit.engine.errors import TrainingError
from segkit.engine.hooks.watched_score import better_rule, watched_score
from segkit.registry import HOOKS

if TYPE_CHECKING:
    from segkit.engine.runner import Runner

_STATE = 'early_stopping'


@HOOKS.register_module()
class EarlyStoppingHook(Hook):
    """Args:
    monitor: name of a validation scalar (mIoU, val_loss, ...), or of a class (IoU.water).
    rule: 'greater' or 'less'; inferred from the name when it can be.
    min_delta: an improvement smaller than this counts as none (in the scalar's unit).
    patience: validations without improvement after which training stops.
    stopping_threshold: a score beyond which it stops at once.
    check_finite: whether it stops at once where the score is nan or infinite, as that of a class is
        which no picture has; otherwise that is no improvement.
    strict: whether a validation without this scalar is an error; otherwise it is passed over.
    """

    # Before the checkpoint hook, which saves what is noted here.
    priority = 'LOW'
    _stops = False

    def __init__(
        self,
        monitor: str,
        rule: str | None = None,
        min_delta: float = 0.0,
        patience: int = 5,
        stopping_threshold: float | None = None,
        check_finite: bool = False,
        strict: bool = True,
    ) -> None:
        self.monitor = monitor
        self.sign = 1.0 if better_rule(monitor, rule) == 'greater' else -1.0
        self.min_delta = min_delta
        self.patience = patience
        self.stopping_threshold = stopping_threshold
        self.check_finite, self.strict = check_finite, strict

    def before_train(self, runner: 'Runner') -> None:
        best, waited = runner.message_hub.get_info(_STATE, [None, 0])
        if waited >= self.patience:
            runner.train_loop.stop_training = True
            runner.logger.info(
                f'This run stopped early at iteration {runner.iter}; the best {self.monitor} was '
                f'{best}. To train on, raise EarlyStoppingHook.patience or leave the hook out of '
                'custom_hooks.'
            )

    def after_val(self, runner: 'Runner') -> None:
        if self._stops:
            runner.call_hook('save_now', done=runner.iter, for_good=True)

    def after_val_epoch(self, runner: 'Runner', metrics: dict | None = None) -> None:
        metrics = metrics or {}
        score = watched_score(runner, metrics, self.monitor)
        if score is None:
            lacking = (
                f'custom_hooks: EarlyStoppingHook.monitor={self.monitor!r} is not among the '
                f'scalars of validation: {", ".join(sorted(metrics))}'
            )
            if self.strict:
                raise TrainingError(lacking)
            runner.logger.warning(lacking)
            return
        best, waited = runner.message_hub.get_info(_STATE, [None, 0])
        if math.isfinite(score) and (
            best is None or self.sign * score > self.sign * best + self.min_delta
        ):
            best, waited = score, 0
        else:
            waited += 1
        why, limit = '', self.stopping_threshold
        if waited >= self.patience:
            why = f'{self.monitor} has not improved on {best} in {waited} validations'
        if self.check_finite and not math.isfinite(score):
            why = f'{self.monitor} is {score}'
        if limit is not None and self.sign * score > self.sign * limit:
            why = f'{self.monitor}={score} is beyond stopping_threshold={limit}'
        waited = max(waited, self.patience) if why else waited
        runner.message_hub.update_info(_STATE, [best, waited])
        if why:
            runner.train_loop.stop_training = self._stops = True
            runner.logger.info(f'Training stops at iteration {runner.iter}: {why}.')
