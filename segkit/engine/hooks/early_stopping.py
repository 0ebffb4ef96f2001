"""Stop when a validation scalar has ceased to improve, and remember it across a resume.

mmengine's hook forgets its best score and its patience when a run is resumed, and for falling
scores its ``min_delta`` makes an improvement count as none.
"""

import math
from typing import TYPE_CHECKING

from mmengine.hooks import Hook

from segkit.engine.errors import TrainingError
from segkit.engine.hooks.checkpoint import better_rule, watched_score
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
    """

    # Before the checkpoint hook, which saves what is noted here.
    priority = 'LOW'
    _stops = False

    def __init__(
        self, monitor: str, rule: str | None = None, min_delta: float = 0.0, patience: int = 5
    ) -> None:
        self.monitor = monitor
        self.sign = 1.0 if better_rule(monitor, rule) == 'greater' else -1.0
        self.min_delta = min_delta
        self.patience = patience

    def before_train(self, runner: 'Runner') -> None:
        best, waited = runner.message_hub.get_info(_STATE, [None, 0])
        if waited >= self.patience:
            runner.train_loop.stop_training = True
            runner.logger.info(
                f'This run stopped early at iteration {runner.iter}: {self.monitor} had not '
                f'improved on {best} in {waited} validations. To train on, raise '
                'EarlyStoppingHook.patience or leave the hook out of custom_hooks.'
            )

    def after_val(self, runner: 'Runner') -> None:
        if self._stops:
            runner.call_hook('save_now', done=runner.iter, for_good=True)

    def after_val_epoch(self, runner: 'Runner', metrics: dict | None = None) -> None:
        metrics = metrics or {}
        score = watched_score(runner, metrics, self.monitor)
        if score is None:
            raise TrainingError(
                f'custom_hooks: EarlyStoppingHook.monitor={self.monitor!r} is not among the '
                f'scalars of validation: {", ".join(sorted(metrics))}'
            )
        best, waited = runner.message_hub.get_info(_STATE, [None, 0])
        if math.isfinite(score) and (
            best is None or self.sign * score > self.sign * best + self.min_delta
        ):
            best, waited = score, 0
        else:
            waited += 1
        runner.message_hub.update_info(_STATE, [best, waited])
        if waited >= self.patience:
            runner.train_loop.stop_training = self._stops = True
            runner.logger.info(
                f'Training stops at iteration {runner.iter}: {self.monitor} has not improved on '
                f'{best} in {waited} validations.'
            )
