"""The one reader of tables of records (.npy), which strangers and torn disks may have written."""

from pathlib import Path
from typing import BinaryIO

import numpy as np

from segkit.errors import UserError


class TableError(UserError):
    """It is no table of such records."""


def read_table(source: Path | BinaryIO, dtype: np.dtype) -> np.ndarray:
    """The records, in one dimension; those of a path stay in the file, mapped into memory.

    Raises:
        TableError: it is anything else, or says to be more than there is. OSError: no such file.
    """
    try:
        if isinstance(source, Path):
            table = np.load(source, mmap_mode='r', allow_pickle=False)
        else:
            table = np.load(source, allow_pickle=False)
    except OSError:
        raise
    # Headers raise whatever their words happen to mean: MemoryError, OverflowError, TokenError.
    except Exception as error:
        raise TableError(' '.join(str(error).split())[:200] or type(error).__name__) from None
    if getattr(table, 'dtype', None) != dtype or table.ndim != 1:
        raise TableError('it is no list of records')
    return table
