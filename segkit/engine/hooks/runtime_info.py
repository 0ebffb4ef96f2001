"""Scalars of each iteration: one transfer from the device, one message between the ranks.

mmengine calls ``.item()`` on each loss, a device synchronisation each, and logs rank 0's losses.
Here they are stacked, averaged over the ranks (as mmsegmentation logged them) and read at once.
The same message carries the ranks' wish to stop, so that all of them stop at one iteration.
"""

from typing import TYPE_CHECKING

import torch
from mmengine.hooks import RuntimeInfoHook as MMRuntimeInfoHook

from segkit.engine import stops
from segkit.engine.dist import average_over_ranks
from segkit.registry import HOOKS

if TYPE_CHECKING:
    from segkit.engine.runner import Runner


@HOOKS.register_module()
class RuntimeInfoHook(MMRuntimeInfoHook):
    """Writes iteration, learning rates and losses to the message hub."""

    def after_train_iter(
        self,
        runner: 'Runner',
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
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
        for key, value in runner.losses.items():
            runner.message_hub.update_scalar(f'train/{key}', value)

    def before_val_epoch(self, runner: 'Runner') -> None:
        """What validation publishes belongs to the iterations done, as in the log's own line."""
        runner.message_hub.update_info('iter', runner.iter)
