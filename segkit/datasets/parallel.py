"""One function over many files: in parallel, with a bar, and a failure that does not stop the rest.

For the tools that look at or rewrite whole datasets; the loaders have torch's workers.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from signal import SIG_IGN, SIGINT
from typing import Any, NamedTuple

from tqdm import tqdm

_PER_TASK = 8  # items a worker takes at once: a message for each would cost more than a small file


class Failure(NamedTuple):
    """What a function raised for an item, as a sentence."""

    reason: str


def _guarded(function: Callable[[object], object], item: object) -> object:
    """The function's value, or its error as one."""
    try:
        return function(item)
    except (Exception, SystemExit) as error:  # some scripts of datasets exit on bad input
        return Failure(f'{type(error).__name__}: {error}'.strip())


def parallel(
    function: Callable[[Any], object],
    items: Sequence[object],
    title: str = '',
    workers: int | None = None,
) -> Iterator[Any]:
    """``function`` of each item in order, a ``Failure`` where it raised.

    Args:
        function: of a module's top level, since it travels to other processes.
        workers: processes; None for one a core, 0 or 1 for none but this one.
    """
    workers = os.cpu_count() or 1 if workers is None else workers
    guarded = partial(_guarded, function)
    if workers <= 1 or len(items) <= _PER_TASK:
        yield from bar(map(guarded, items), len(items), title)
        return
    # Ctrl-C reaches every process: this one alone answers it.
    pool = ProcessPoolExecutor(
        min(workers, len(items)), initializer=signal.signal, initargs=(SIGINT, SIG_IGN)
    )
    try:
        yield from bar(pool.map(guarded, items, chunksize=_PER_TASK), len(items), title)
    finally:
        pool.shutdown(cancel_futures=True)


def bar(items: Iterable[object], total: int, title: str = '') -> Iterator[object]:
    """Pass items on and draw how far they are: in place on a terminal, one line at the end else."""
    start, watched = time.monotonic(), sys.stderr.isatty()
    yield from tqdm(items, title, total, disable=not watched)
    if title and not watched:
        print(f'{title}: {total} in {time.monotonic() - start:.1f} s', file=sys.stderr)
