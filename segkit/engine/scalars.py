"""The message hub keeps the last few values of each scalar, not all of them since iteration 0.

mmengine's ``HistoryBuffer.update`` appends to a NumPy array, copying all of it: at iteration
160,000 a scalar costs 255 microseconds instead of 4, and the history swells every checkpoint.
Log lines only ever average the last ``window_size`` values, so a bounded deque serves them, at
the same cost whatever the iteration.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence

import numpy as np
from mmengine.logging import HistoryBuffer, MessageHub

from segkit.errors import UserError

KEPT_VALUES = 1000


class ShortHistory(HistoryBuffer):
    """A ``HistoryBuffer`` of the last ``max_length`` values with an O(1) update."""

    def __init__(
        self,
        log_history: Sequence = (),
        count_history: Sequence = (),
        max_length: int = KEPT_VALUES,
    ) -> None:
        super().__init__([], [], max_length)
        self._values = deque(log_history, maxlen=max_length)
        self._counts = deque(count_history, maxlen=max_length)

    @property
    def _log_history(self) -> np.ndarray:
        return np.array(self._values)

    @_log_history.setter
    def _log_history(self, values: Sequence) -> None:
        self._values = deque(values, maxlen=self.max_length)

    @property
    def _count_history(self) -> np.ndarray:
        return np.array(self._counts)

    @_count_history.setter
    def _count_history(self, counts: Sequence) -> None:
        self._counts = deque(counts, maxlen=self.max_length)

    def update(self, log_val: float, count: int = 1) -> None:
        self._values.append(log_val)
        self._counts.append(count)

    def current(self) -> float:
        if not self._values:
            raise UserError('this scalar has no value yet: call update() first')
        return self._values[-1]

    def __deepcopy__(self, memo: dict) -> 'ShortHistory':
        return ShortHistory(self._values, self._counts, self.max_length)


class _Scalars(OrderedDict):
    """Turns each ``HistoryBuffer`` the hub stores into a short one."""

    def __setitem__(self, key: str, value: HistoryBuffer) -> None:
        if not isinstance(value, ShortHistory):
            values, counts = value.data
            value = ShortHistory(values.tolist(), counts.tolist())
        super().__setitem__(key, value)


def shorten(hub: MessageHub) -> MessageHub:
    """Make ``hub`` keep short histories from now on. The hub stays the one others look up."""
    scalars = _Scalars()
    for key, value in hub.log_scalars.items():
        scalars[key] = value
    hub._log_scalars = scalars
    return hub


def hub_state(hub: MessageHub, window: int = KEPT_VALUES) -> dict:
    """The hub as plain Python values, which ``torch.load(weights_only=True)`` accepts.

    mmengine pickles its buffers and the functions in them, which is why current torch refuses
    to load the checkpoints mmengine has just written. Of each scalar the last ``window`` values
    are saved: as many as a log line averages.
    """
    resumed = hub._resumed_keys
    scalars = {
        key: [list(buffer._values)[-window:], list(buffer._counts)[-window:]]
        for key, buffer in hub.log_scalars.items()
        if resumed.get(key, False)
    }
    info = {k: plain(v) for k, v in hub.runtime_info.items() if resumed.get(k, False)}
    return dict(log_scalars={}, runtime_info=info, resumed_keys=dict(resumed), history=scalars)


def load_hub_state(hub: MessageHub, state: dict) -> None:
    """Restore what :func:`hub_state` saved; files of mmengine itself are accepted too."""
    info = state.get('runtime_info', {})
    resumed = state.get('resumed_keys', {})
    hub._runtime_info.update(info)
    hub._resumed_keys.update({k: bool(v) for k, v in resumed.items()})
    for key, (values, counts) in state.get('history', {}).items():
        hub.log_scalars[key] = ShortHistory(values, counts)
    for key, value in state.get('log_scalars', {}).items():
        if isinstance(value, HistoryBuffer):
            hub.log_scalars[key] = value


def plain(value: object) -> object:
    """``value`` with NumPy scalars and arrays, tuples of them and paths as plain Python."""
    if isinstance(value, dict):
        return {plain(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(v) for v in value) if type(value) in (list, tuple) else list(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if value is None or isinstance(value, (str, int, float, bool)) or hasattr(value, 'cpu'):
        return value
    return str(value)
