"""Loops of training that others derived from mmengine's: they go on where a run stopped.

mmengine's loop by iterations reads all past data again, its loop by epochs begins its epoch again,
and neither validates what was not validated before the stop or knows of seeds.
"""

import bisect
import warnings
from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from segkit.compat import place_loop, steps_taken
from segkit.engine.data_order import batches_after, place_after, seed_iteration
from segkit.engine.optimizer import batch_of
from segkit.engine.validation import ValLoop

if TYPE_CHECKING:
    from segkit.engine.runner import Runner


def epoch_length(loop: object) -> int:
    """Iterations of an epoch; 0 where the whole run is one."""
    if isinstance(loop, EpochBasedTrainLoop):
        return len(loop.dataloader)
    return getattr(loop, 'epoch_length', 0)


def ends_epoch(loop: object, iteration: int) -> bool:
    """Whether an epoch is over once ``iteration`` iterations are done, of a loop by epochs."""
    length = epoch_length(loop)
    if hasattr(loop, 'place_in_epoch'):
        return bool(length) and loop.place_in_epoch(iteration) == 0
    return bool(length) and iteration % length == 0


def counts_epochs(loop: object) -> bool:
    """Whether its hooks are called at epochs' ends; of one that does not tell, yes."""
    return getattr(loop, 'by_epoch', not isinstance(loop, IterBasedTrainLoop))


def finish_epoch(schedulers: Any, loop: Any, iteration: int) -> None:
    """The step of schedules by epochs that a file lacks which was saved at the end of an epoch and
    before them, as mmengine's CheckpointHook by iterations does."""
    if not ends_epoch(loop, iteration):
        return
    several = list(schedulers.values()) if isinstance(schedulers, dict) else [schedulers or []]
    for scheduler in (one for some in several for one in some):
        if scheduler.by_epoch and steps_taken(scheduler) == loop.epoch - 1:
            with warnings.catch_warnings():  # that this process has not stepped the optimizer
                warnings.simplefilter('ignore')
                scheduler.step()


def go_on(runner: 'Runner', loop: Any, epoch: int, iteration: int, samples_seen: int | None) -> str:
    """Place a loop of others after ``iteration`` iterations; returns what it cannot do, if any."""
    length, world = epoch_length(loop), runner.world_size
    batch = batch_of(loop.dataloader) * world
    seen = iteration * batch if samples_seen is None else samples_seen
    epoch, done = divmod(seen // batch, length) if length else (epoch, 0)
    place_loop(loop, epoch, iteration)
    if isinstance(loop, IterBasedTrainLoop):
        loop.dataloader_iterator = batches_after(loop.dataloader, iteration, seen, world)
        return ''
    if length:
        _within_epoch(loop, epoch, done)
        return ''
    return (
        f'train_cfg.type={type(loop).__name__} is a loop of its own, which may read past data '
        'again: it may not end where a run never stopped would'
    )


def _within_epoch(loop: Any, epoch: int, done: int) -> None:
    """The rest of an epoch: neither data nor number of the first ``done`` batches come again."""
    if not done:
        return
    place_after(loop.dataloader, done)
    run_iter = loop.run_iter

    def numbered(idx: int, data_batch: object) -> object:
        return run_iter(idx + done if loop.epoch == epoch else idx, data_batch)

    loop.run_iter = numbered


class LoopOfOthersHook(Hook):
    """Does around a loop of others what ours does itself: draws that depend on the place alone, and
    the validation before which a run was stopped."""

    priority = 'LOWEST'

    def before_train(self, runner: 'Runner') -> None:
        self._seed(runner, runner.iter)
        last = runner.message_hub.get_info('last_val_iter', 0)
        ours = isinstance(runner.val_loop, ValLoop)  # which notes when it was
        if ours and runner.iter and last != runner.iter and _validates_now(runner.train_loop):
            runner.val_loop.run()

    def before_train_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: dict | None = None
    ) -> None:
        self._seed(runner, runner.iter)

    def after_train_iter(
        self,
        runner: 'Runner',
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        self._seed(runner, runner.iter + 1)  # before the next batch is read

    @staticmethod
    def _seed(runner: 'Runner', iteration: int) -> None:
        seed_iteration(runner.seed, runner.rank, iteration)


def _validates_now(loop: object) -> bool:
    """Whether one of mmengine's loops would have validated where it is."""
    if not isinstance(loop, (EpochBasedTrainLoop, IterBasedTrainLoop)):
        return False
    done, last = loop.iter, loop.max_iters
    if length := epoch_length(loop):
        if loop.iter % length:
            return False
        done, last = loop.epoch, loop.max_epochs
    step = bisect.bisect(loop.dynamic_milestones, done + 1)
    due = done % loop.dynamic_intervals[step - 1] == 0 or done == last
    return done >= loop.val_begin and due
