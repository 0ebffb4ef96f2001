"""How many images make one step of the optimizer, and what to do when it is not the recipe's.

A recipe's learning rate belongs to its batch: 4 GPUs times the images per GPU. With another
number of GPUs either the batch is kept by accumulating gradients (``train_cfg.accumulate``), or
the rate is scaled (``--auto-scale-lr``; Goyal et al., arXiv:1706.02677), or the log says so.
"""

import torch
import torch.distributed as torch_dist
from mmengine.optim import OptimWrapper

from segkit.errors import ConfigError


class BatchAccounting:
    """Mixed into :class:`segkit.engine.Runner`."""

    @property
    def batch_per_gpu(self) -> int:
        """Images of one rank in one batch."""
        loader = self._train_dataloader
        if not isinstance(loader, dict):
            return loader.batch_sampler.batch_size
        return loader.get('batch_size') or loader['batch_sampler']['batch_size']

    @property
    def batch_per_step(self) -> int:
        """Images of all ranks in one batch, before accumulation."""
        return self.batch_per_gpu * self.world_size

    @property
    def effective_batch(self) -> int:
        """Images per step of the optimizer."""
        wrapped = getattr(self.optim_wrapper, '_accumulative_counts', 1)
        return self.batch_per_step * max(wrapped, getattr(self.train_loop, 'accumulate', 1))

    @property
    def recipe_batch(self) -> int | None:
        """Images per step that the config's learning rate was chosen for, if it says."""
        return (self.auto_scale_lr or {}).get('base_batch_size')

    def resolve_accumulation(self, accumulate: int | str) -> int:
        """Batches per step: a number as given, or for 'auto' what reaches the recipe's batch."""
        if accumulate != 'auto':
            if not isinstance(accumulate, int) or accumulate < 1:
                raise ConfigError(f"train_cfg.accumulate={accumulate!r}: a number >= 1, or 'auto'")
            return accumulate
        if self.recipe_batch is None:
            raise ConfigError(
                "train_cfg.accumulate='auto' needs the batch to reach: set "
                'auto_scale_lr=dict(base_batch_size=...)'
            )
        count, rest = divmod(self.recipe_batch, self.batch_per_step)
        if rest or not count:
            raise ConfigError(
                f"train_cfg.accumulate='auto' cannot reach {self.recipe_batch} images per step "
                f'with {self.batch_per_step} per batch ({self.world_size} x {self.batch_per_gpu}): '
                'choose train_dataloader.batch_size so that it divides'
            )
        self.logger.info(
            f'Gradients of {count} batches of {self.batch_per_step} are averaged into each step, '
            f"which keeps the recipe's {self.recipe_batch} images per step."
        )
        return count

    def scale_lr(self, optim_wrapper: OptimWrapper, auto_scale_lr: dict | None = None) -> None:
        """Scale the rates to the batch when asked to; otherwise say that it differs."""
        base, batch = self.recipe_batch, self.effective_batch
        enabled = (auto_scale_lr or {}).get('enable', False)
        if base is None and enabled:
            raise ConfigError(
                'auto_scale_lr.enable needs the batch that the learning rate was chosen for: set '
                'auto_scale_lr.base_batch_size'
            )
        if base is None or base == batch:
            return
        if not enabled:
            self.logger.warning(
                f'This run has {batch} images per step, its recipe {base}: results may differ. '
                "--auto-scale-lr scales the learning rate, train_cfg.accumulate='auto' keeps the "
                'batch.'
            )
            return
        for group in optim_wrapper.optimizer.param_groups:
            group['lr'] *= batch / base
        self.logger.info(
            f'Learning rates times {batch}/{base}, the images per step of this run and the recipe.'
        )

    def average_over_ranks(self, vector: torch.Tensor) -> tuple[list[float], list[float]]:
        """(this rank's values, their means over all ranks) of a float tensor of shape (n,)."""
        if not self.distributed:
            values = vector.tolist()
            return values, values
        total = vector.clone()
        torch_dist.all_reduce(total)
        return vector.tolist(), (total / self.world_size).tolist()
