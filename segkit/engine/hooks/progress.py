"""A progress bar with ETA while testing: drawn in place on a terminal, in plain lines elsewhere."""

import sys
import time
from typing import TYPE_CHECKING

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from tqdm import tqdm

from segkit.registry import HOOKS

if TYPE_CHECKING:
    from segkit.engine.runner import Runner


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows the images tested so far, over all ranks.

    Args:
        every: least seconds between two plain lines, where there is no terminal.
    """

    def __init__(self, every: float = 10.0) -> None:
        self.every = every

    def before_test_epoch(self, runner: 'Runner') -> None:
        self._start = self._shown = time.monotonic()
        self._done = 0

    def after_test_iter(
        self,
        runner: 'Runner',
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: list | None = None,
    ) -> None:
        if not is_main_process():
            return
        total = len(runner.test_dataloader.dataset)
        self._done = min(total, self._done + len(outputs or [None]) * runner.world_size)
        self._show(total, last=batch_idx + 1 == len(runner.test_dataloader))

    def _show(self, total: int, last: bool) -> None:
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if not last and now - self._shown < (0.1 if terminal else self.every):
            return
        self._shown = now
        done = total if last else self._done
        line = tqdm.format_meter(done, total, now - self._start, 100, unit='img', ascii=True)
        sys.stderr.write(f'\r{line}' + ('\n' if last else '') if terminal else f'{line}\n')
        sys.stderr.flush()
