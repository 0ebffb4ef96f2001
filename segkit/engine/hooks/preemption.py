"""A run that is asked to stop saves first."""

import signal
from typing import TYPE_CHECKING

from mmengine.hooks import Hook

from segkit.engine import stops
from segkit.engine.dist import any_rank, leave_dist
from segkit.engine.hooks.checkpoint import CheckpointHook
from segkit.engine.hooks.each_iteration import Given
from segkit.engine.loops_of_others import ends_epoch
from segkit.registry import HOOKS

if TYPE_CHECKING:
    from segkit.engine.runner import Runner


@HOOKS.register_module()
class PreemptionHook(Hook):
    """SIGTERM and the like, Ctrl-C: save after the iteration under way, or between two batches of a
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
            stops.leave_if_asked_soon()
            raise

    def after_train_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: Given = None, outputs: Given = None
    ) -> None:
        done = runner.iter + 1
        if runner.stop_requested and not ends_epoch(runner.train_loop, done):
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
