"""The training log line: iteration, learning rate, ETA, time, data time, memory, each loss.

mmengine prints memory on CUDA only; on CPU the peak resident size of the process is what a person
watching for a leak wants to see.
"""

import sys
from typing import TYPE_CHECKING

import torch
from mmengine.runner import LogProcessor as MMLogProcessor

from segkit.registry import LOG_PROCESSORS

if TYPE_CHECKING:
    from segkit.engine.runner import Runner


def peak_memory_mb() -> int:
    """Peak memory of this process in MB: allocated by torch on CUDA, resident size on CPU; 0 where
    the system does not tell."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated() / 1024**2)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024**2 if sys.platform == 'darwin' else peak // 1024


@LOG_PROCESSORS.register_module()
class LogProcessor(MMLogProcessor):
    """mmengine's ``LogProcessor`` with iterations as the unit and memory on every device."""

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
