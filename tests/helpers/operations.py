"""How many operations a computation issues on a device, where each is a launch.

No device is needed: on 'meta' every operation is dispatched and none computed, and whoever chooses
by the device how much is done at once takes it for one that is no CPU.
"""

from collections import Counter

from torch.utils._python_dispatch import TorchDispatchMode

NO_LAUNCH = ('empty', 'new_empty', 'empty_like', '_unsafe_view', 'promote_types')


class Operations(TorchDispatchMode):
    """Counts what would be launched: no views, and no memory that is only taken.

    Attributes:
        issued: launches by name. dispatched: all operations, views included.
    """

    def __init__(self):
        super().__init__()
        self.issued, self.dispatched = Counter(), 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        aliases = [returned.alias_info for returned in func._schema.returns]
        view = any(alias is not None and not alias.is_write for alias in aliases)
        name = func._schema.name.split('::')[1]
        self.dispatched += 1
        if not view and name not in NO_LAUNCH:
            self.issued[name] += 1
        return func(*args, **(kwargs or {}))
