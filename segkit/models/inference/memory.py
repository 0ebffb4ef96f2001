"""How much to do at once: from a budget, and less of it when the device runs out of memory."""

from collections.abc import Callable
from typing import TypeVar

import torch
from mmengine.logging import print_log

T = TypeVar('T')
DEFAULT_BUDGET_MIB = 1024


def run_shrinking(run: Callable[[int], T], size: int, what: str) -> tuple[T, int]:
    """``run(size)``, and again with half the size whenever the device is out of memory.

    Returns the result and the size that worked. Says once what it came down to; what does not fit
    at size 1 is the caller's error to see.
    """
    first = size
    while True:
        try:
            result = run(size)
            break
        except torch.OutOfMemoryError:
            if size <= 1:
                raise
            size //= 2
        torch.cuda.empty_cache()  # outside the except block: its traceback holds the tensors
    if size < first:
        message = f'Out of device memory with {first} {what} at a time; going on with {size}.'
        print_log(message, logger='current', level=30)
    return result, size


def channel_chunk(num_channels: int, pixels: int, budget: int, device: torch.device) -> int:
    """How many classes to resize at once within ``budget`` bytes.

    Three float32 maps of a class live at a time: at the input's size, at the image's, a product.
    A CPU is fastest with one, which stays in its caches; a GPU wants enough to be kept busy.
    """
    if device.type == 'cpu':
        return 1
    return max(1, min(num_channels, budget // (3 * 4 * max(pixels, 1))))
