"""Folders that a run writes into, made before anything else is: after hours is too late to learn
that one cannot be made."""

import os
import re
from pathlib import Path

from segkit.engine.config_error import ConfigError


def make_folder(name: str, folder: str | os.PathLike) -> None:
    """Make ``folder``, which the option or key ``name`` asks for.

    Raises:
        ConfigError: it cannot be made, or not be written into; with the reason.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError as error:
        raise ConfigError(
            f'{name}: cannot make the folder {folder} ({error.strerror}); choose another place'
        ) from None
    if not writable:
        raise ConfigError(f'{name}: the folder {folder} is not writable; choose another place')


def ends_like_file(path: str | os.PathLike) -> bool:
    """Whether a name that is no folder yet has the ending of a file; that of a version is none."""
    ending = r'\.(?!v\d)[A-Za-z][A-Za-z0-9]{1,4}'
    return bool(re.fullmatch(ending, Path(path).suffix)) and not Path(path).is_dir()
