"""What keeps mmengine running where it would stop, and starting where it would dawdle."""

import contextlib
import functools
import importlib.util
import pickle
import pkgutil
from unittest.mock import patch


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
