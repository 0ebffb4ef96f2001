"""What a run says while it runs: log lines in training, a progress bar in testing.

A line has iteration, learning rate, ETA, time, data time, memory, each loss. In training by
iterations mmengine also logs at the end of each pass over the dataset, an accident of the dataset's
size ("Iter 8/30" at an interval of 10); here every ``interval`` iterations only.
"""

import sys
import time
from typing import TYPE_CHECKING

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.hooks import LoggerHook as MMLoggerHook
from mmengine.runner import LogProcessor as MMLogProcessor
from tqdm import tqdm

from segkit.engine.env import peak_memory_mb
from segkit.registry import HOOKS, LOG_PROCESSORS

if TYPE_CHECKING:
    from segkit.engine.runner import Runner


@LOG_PROCESSORS.register_module()
class LogProcessor(MMLogProcessor):
    """mmengine's ``LogProcessor`` with iterations as the unit and memory on every device.

    mmengine prints memory on CUDA only; on CPU the peak resident size of the process is what a
    person watching for a leak wants to see.
    """

    def __init__(self, by_epoch: bool = False, **kwargs: object) -> None:
        super().__init__(by_epoch=by_epoch, **kwargs)

    def get_log_after_iter(self, runner: 'Runner', batch_idx: int, mode: str) -> tuple[dict, str]:
        tag, text = super().get_log_after_iter(runner, batch_idx, mode)
        if mode == 'train' and 'memory' not in tag:
            tag['memory'] = peak_memory_mb()
            name = next((key for key in tag if 'loss' in key or 'acc' in key), None)
            head, found, losses = text.partition(f'{name}: ') if name else (text, '', '')
            text = f'{head}memory: {tag["memory"]}  {found}{losses}'
        return tag, text


@HOOKS.register_module()
class LoggerHook(MMLoggerHook):
    """Logs each ``interval`` iterations and after each validation.

    Args:
        interval: iterations between lines; 50 by default.
        log_metric_by_epoch: whether the step of a validation is an epoch; an iteration by default.
        **kwargs: as in mmengine.
    """

    def __init__(
        self, interval: int = 50, log_metric_by_epoch: bool = False, **kwargs: object
    ) -> None:
        super().__init__(interval=interval, log_metric_by_epoch=log_metric_by_epoch, **kwargs)

    def end_of_epoch(self, dataloader: object, batch_idx: int) -> bool:
        # An iteration-based run is one long epoch: its dataset's passes end nothing.
        return self.log_metric_by_epoch and super().end_of_epoch(dataloader, batch_idx)

    def after_test_iter(self, *args: object, **kwargs: object) -> None:
        """Nothing: the progress bar tells it."""


@HOOKS.register_module()
class ProgressHook(Hook):
    """A bar with ETA of the images tested, over all ranks: drawn in place on a terminal, in plain
    lines elsewhere.

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
        data_batch: object = None,
        outputs: list | None = None,
    ) -> None:
        if not is_main_process():
            return
        total = len(runner.test_dataloader.dataset)
        self._done = min(total, self._done + len(outputs or [None]) * runner.world_size)
        last = batch_idx + 1 == len(runner.test_dataloader)
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if not last and now - self._shown < (0.1 if terminal else self.every):
            return
        self._shown = now
        done = total if last else self._done
        line = tqdm.format_meter(done, total, now - self._start, 100, unit='img', ascii=True)
        sys.stderr.write(f'\r{line}' + ('\n' if last else '') if terminal else f'{line}\n')
        sys.stderr.flush()
