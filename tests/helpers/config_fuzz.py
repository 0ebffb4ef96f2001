"""Single values of a config changed at random, and how the run that follows ends.

Outcomes: 'runs' (built, and one step, one prediction and one score were made), 'named' (an error of
our own that holds the dotted key and the value), 'unnamed' (one that lacks either), 'traceback'
(any other error).
"""

import contextlib
import copy
import io
import logging
import os
import random
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from segkit.engine import Runner, check_config
from segkit.engine.config import flat_config
from segkit.engine.config_schema import RUNNER_KEYS

# Lengths of a run and numbers of processes are not tried out at 10**9.
LONG = ('max_iters', 'max_epochs', 'num_workers', 'times')
OUTCOMES = ('runs', 'named', 'unnamed', 'traceback')
WELL = ('runs', 'named')
# What is put in the place of a value, whatever that was.
VALUES: list[Any] = [
    -3, 0, 1, 2, 7, 10**9, 0.5, -0.25, 1.5, float('nan'), float('inf'), True, False, None, '',
    'no_such', [], [1], (0, 0), [-1, 2], {}, dict(no_such=1), ['a'], [None], (3, 3),
]  # fmt: skip


def settings(cfg: Config) -> dict[str, Any]:
    """'a.b.0.c' -> value of every leaf that a run reads."""
    return flat_config({k: v for k, v in cfg.to_dict().items() if k in RUNNER_KEYS})


def changes(cfg: Config, count: int | None, seed: int = 0) -> Iterator[tuple[str, Any]]:
    """(key, value) drawn from every leaf in turn; all pairs for a ``count`` of None."""
    leaves = settings(cfg)
    pairs = [(k, v) for k in leaves for v in VALUES if repr(v) != repr(leaves[k])]
    pairs = [(k, v) for k, v in pairs if v != 10**9 or k.split('.')[-1] not in LONG]
    pairs = [(k, v) for k, v in pairs if v != 7 or not k.endswith('num_workers')]
    if count is None:
        yield from pairs
        return
    rng = random.Random(seed)
    by_leaf = {key: [pair for pair in pairs if pair[0] == key] for key in leaves}
    keys = list(by_leaf)
    rng.shuffle(keys)
    for number in range(count):
        yield rng.choice(by_leaf[keys[number % len(keys)]])


def put(cfg: Config, key: str, value: Any) -> None:
    """Set a leaf, without merging."""
    node: Any = cfg._cfg_dict
    *path, last = key.split('.')
    for part in path:
        node = node[int(part)] if isinstance(node, (list, tuple)) else node[part]
    if isinstance(node, (list, tuple)):
        node[int(last)] = value
    else:
        node[last] = value


def outcome(cfg: Config, key: str, value: Any) -> tuple[str, str]:
    """(outcome, what was said) of a config with one value changed; ``cfg`` is left as it is."""
    cfg = copy.deepcopy(cfg)
    put(cfg, key, value)
    folder = tempfile.mkdtemp()
    if key != 'work_dir':
        cfg.work_dir = folder
    before = os.getcwd()
    os.chdir(folder)  # a work directory may be the value that is changed
    try:
        with _quiet():
            check_config(cfg)
            runner = Runner.from_cfg(cfg)
            runner.train()
        return 'runs', ''
    except Exception as error:  # the outcome is what kind it is
        return _judged(error, key, value), f'{type(error).__name__}: {error}'
    finally:
        os.chdir(before)
        shutil.rmtree(folder, ignore_errors=True)


def _judged(error: Exception, key: str, value: Any) -> str:
    if not type(error).__module__.startswith('segkit.'):
        return 'traceback'
    said = str(error).replace('[', '.').replace(']', '')
    named = re.search(rf'(^|[^\w.]){re.escape(key)}\b', said) is not None
    shown = repr(value).replace('[', '.').replace(']', '')
    return 'named' if named and (shown in said or str(value) in str(error)) else 'unnamed'


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    sink = io.StringIO()
    with (
        contextlib.redirect_stdout(sink),
        contextlib.redirect_stderr(sink),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter('ignore')
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
