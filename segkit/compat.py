"""What keeps mmengine running where it would stop, and starting where it would dawdle."""

import contextlib
import functools
import importlib.util
import pickle
import pkgutil
import random
import sys
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.logging import MessageHub
    from mmengine.optim import OptimWrapper
    from mmengine.utils import ManagerMixin


def import_yapf() -> None:
    """Import what mmengine imports to format configs, whatever state its cache is in.

    yapf puts its grammar cache in place before it is written. Another process of a first start
    finds it empty then, and for ever if the writer was killed or its disk was full; every import
    of mmengine ends in EOFError. Here such a cache is written anew.
    """
    try:
        import yapf
    except ImportError:  # segkit.ops and the heads need torch alone
        return
    except (EOFError, pickle.UnpicklingError):
        from yapf_third_party._ylib2to3.pgen2 import driver

        driver.load_grammar = functools.partial(driver.load_grammar, force=True)
        import yapf  # noqa: F401


def import_rich() -> None:
    """Import what of rich draws from Python's random generator, and put its state back.

    mmengine prints with rich. A program that has seeded the generator draws what it would have.
    """
    state = random.getstate()
    with contextlib.suppress(ImportError):  # as above
        import rich.style  # noqa: F401
    random.setstate(state)


def import_distributed_optim() -> None:
    """Import ``torch.distributed.optim``, as mmengine does, without its TorchScript classes.

    Eight optimizers are compiled there for use over torch's RPC, a twelfth of the start of a test.
    They stay plain Python in this process: for scripts, not for a library.
    """
    import torch

    # A torch without this switch or this package starts as it always did.
    may_lack = contextlib.suppress(AttributeError, ImportError)
    with may_lack, patch.object(torch.jit._state._enabled, 'enabled', False):
        importlib.import_module('torch.distributed.optim')


def restore_find_loader() -> None:
    """``pkgutil.find_loader`` left in Python 3.14; mmengine asks it whether mmcv has its ops.

    That question comes up whenever an optimizer is built and any mmcv can be imported.
    """
    if not hasattr(pkgutil, 'find_loader'):
        # Another answer than it gave, but mmengine asks only whether it is None.
        pkgutil.find_loader = importlib.util.find_spec  # type: ignore[assignment]


class CountsAsModule:
    """Makes ``isinstance(ours, BaseModule)`` hold once mmengine's class is imported.

    Code around mmsegmentation asks so. Importing ``mmengine.model`` for a base class brings
    FSDP, ZeRO and sympy along, half of what a process takes to its first prediction. That base is
    abstract, so that ``isinstance`` asks the object for its ``__class__`` first: there the object's
    class is registered with it.
    """

    _kin = ('mmengine.model.base_module', 'BaseModule')

    @property
    def __class__(self) -> type:
        base = getattr(sys.modules.get(self._kin[0]), self._kin[1], None)
        if base is not None:
            base.register(type(self))
        return type(self)

    @__class__.setter
    def __class__(self, value: type) -> None:  # FSDP and parametrizations exchange it
        object.__dict__['__class__'].__set__(self, value)


class CountsAsModel(CountsAsModule):
    """The same for BaseModel."""

    _kin = ('mmengine.model.base_model.base_model', 'BaseModel')


class CountsAsConvModule:
    """Makes ``isinstance(ours, ConvModule)`` hold once mmcv's class of that name is imported.

    Code around mmsegmentation looks for its convolutions so. That class has no say in what counts
    as it, and is left as it is: Python asks an object that is no instance for its ``__class__``,
    and ours names a class, made once, that derives from both. ``type(ours)`` stays what it was.
    """

    @property
    def __class__(self) -> type:
        own: Any = type(self)
        theirs = getattr(sys.modules.get('mmcv.cnn.bricks.conv_module'), 'ConvModule', own)
        return own if issubclass(own, theirs) else _both(own, theirs)

    @__class__.setter
    def __class__(self, value: type) -> None:  # as above
        object.__dict__['__class__'].__set__(self, value)

    def __reduce_ex__(self, protocol: Any) -> tuple[object, ...]:
        """Pickle compares type and ``__class__``, unless it is handed the function that builds."""
        return (_bare, *super().__reduce_ex__(max(protocol, 2))[1:])


@functools.cache
def _both(own: type, theirs: type) -> type:
    return type(own.__name__, (own, theirs), {'__module__': own.__module__})


def _bare(cls: Any) -> object:
    return cls.__new__(cls)


def sync_batch_norm() -> type[Any]:
    """torch's, or the class derived from it without a change that mmengine calls so, once that is
    imported: code around mmsegmentation asks whether a norm is one."""
    import torch

    theirs = sys.modules.get('mmengine.utils.dl_utils.parrots_wrapper')
    return getattr(theirs, 'SyncBatchNorm', torch.nn.SyncBatchNorm)


def shipped_bases() -> None:
    """Let ``_base_ = 'segkit::_base_/models/...'`` name parts of the shipped configs.

    mmengine looks for the packages it knows by name, and there for an index that only its own
    installer writes. Other names go on to it; those of mmsegmentation only where it is installed.
    """
    from mmengine.config import Config

    before = Config._get_cfg_path
    if before.__module__ == __name__:
        return

    def find(cfg_path: str, filename: str) -> tuple[str, str | None]:
        from segkit.engine.config_files import in_its_folder, shipped_home

        scope, separator, part = cfg_path.partition('::')
        ours = scope == 'segkit' or scope == 'mmseg' and importlib.util.find_spec('mmseg') is None
        if separator and ours:
            return str(in_its_folder(shipped_home() / part)), None
        path, kept = before(cfg_path, filename)
        return path if kept else str(in_its_folder(Path(path))), kept

    Config._get_cfg_path = staticmethod(find)


def wrappers_of(optim_wrapper: object) -> list[Any]:
    """The OptimWrappers in an OptimWrapperDict, or the one that is given."""
    values = getattr(optim_wrapper, 'values', None)
    return [optim_wrapper] if values is None else list(values())


def set_accumulation(
    optim_wrapper: object, batches: int, model: object, done: int, total: int
) -> None:
    """Tell the optimizer's wrapper that its batches come ``batches`` to a step.

    Args:
        done, total: batches trained on, and of the whole run.
    """
    for wrapper in wrappers_of(optim_wrapper):
        wrapper._accumulative_counts = batches  # mmengine takes it from the constructor alone
        wrapper.initialize_count_status(model, done, total)


def accumulation_of(optim_wrapper: object) -> int:
    """Iterations per step that the optimizer's wrapper, or its config, asks for."""
    if isinstance(optim_wrapper, dict):
        return optim_wrapper.get('accumulative_counts', 1)
    counts = [getattr(w, '_accumulative_counts', 1) for w in wrappers_of(optim_wrapper)]
    return max(counts, default=1)


def keep_last_values(hub: 'MessageHub', count: int) -> None:
    """Have each scalar of a message hub keep its last ``count`` values, from now on.

    A HistoryBuffer of mmengine's appends to a NumPy array, copying all of it: at iteration 160,000
    a scalar costs 255 microseconds instead of 4, and the history swells every checkpoint. Log
    lines only ever average the last ``window_size`` values. A hub makes its buffers itself, without
    the limit that they have.
    """
    from mmengine.logging import HistoryBuffer

    class LastValues(OrderedDict):
        def __setitem__(self, key: str, value: HistoryBuffer) -> None:
            values, counts = (list(part)[-count:] for part in value.data)
            super().__setitem__(key, HistoryBuffer(values, counts, max_length=count))

    scalars = LastValues()
    scalars.update(hub._log_scalars)
    hub._log_scalars = scalars


def make_current(*instances: 'ManagerMixin | None') -> None:
    """Have ``get_current_instance`` of mmengine's loggers, hubs, visualizers and scopes give these.

    It gives the one that was made last, in a program with two Runners perhaps the other's.
    """
    for instance in filter(None, instances):
        for cls in type(instance).__mro__:
            made = vars(cls).get('_instance_dict')
            if made is not None and instance.instance_name in made:
                made.move_to_end(instance.instance_name)


def settings_of(cfg: 'Config') -> dict[str, object]:
    """A config as plain dicts, what a lazy one imports as names."""
    return cfg._to_lazy_dict() if hasattr(cfg, '_to_lazy_dict') else cfg.to_dict()


def parse_option(text: str) -> object:
    """The value of ``--cfg-options KEY=text``: a number, a text, or a list or tuple of them."""
    from mmengine.config import DictAction

    return DictAction._parse_iterable(text)  # which argparse alone reaches otherwise


def clip_gradients(optim_wrapper: 'OptimWrapper') -> None:
    """As ``clip_grad`` of the wrapper says, for a subclass whose step does more before."""
    optim_wrapper._clip_grad()


def place_loop(loop: Any, epoch: int, iteration: int) -> None:
    """Have a loop of mmengine go on from there; its Runner sets the same two attributes."""
    loop._epoch, loop._iter = epoch, iteration


def steps_taken(scheduler: object) -> int | None:
    """How often a schedule has been stepped; None of one that does not tell."""
    return getattr(scheduler, '_global_step', None)


def does_nothing(hook: object, stage: str) -> bool:
    """Whether a hook has no more for a stage than mmengine's base class: an empty method, or for
    epochs and iterations one that passes on to another, as empty."""
    from mmengine.hooks import Hook

    when, unit = stage.partition('_')[0], stage.rpartition('_')[2]
    names = [stage, f'_{when}_{unit}'] if unit in ('epoch', 'iter') else [stage]
    theirs = [getattr(Hook, name, None) for name in names]
    own = [getattr(getattr(hook, name, None), '__func__', None) for name in names]
    return None not in theirs and own == theirs
