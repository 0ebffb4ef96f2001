"""A loss that is not finite, or a label that is no class, ends the run before it is saved."""

import math
from typing import TYPE_CHECKING

from mmengine.hooks import Hook

from segkit.engine.errors import TrainingError
from segkit.engine.hooks.each_iteration import Given
from segkit.models.losses import LabelCheck
from segkit.registry import HOOKS

if TYPE_CHECKING:
    from segkit.engine.runner import Runner


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
        samples = (data_batch or {}).get('data_samples') or []  # which may carry their paths
        paths = [str(getattr(sample, 'img_path', '(generated)')) for sample in samples]
        where = ', '.join(paths) if mine else '(on another rank)'
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
