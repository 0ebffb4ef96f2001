"""Weights of the classes in a loss: numbers, or a file that holds them."""

import os
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from segkit.errors import UserError
from segkit.json_file import read_json
from segkit.safe_pickle import read_arrays


def _read(path: str) -> object:
    """The content of a .npy, .json or .pkl file."""
    if path.endswith('.npy'):
        return np.load(path, allow_pickle=False)
    if path.endswith('.json'):
        return read_json(path)
    if path.endswith(('.pkl', '.pickle')):
        with open(path, 'rb') as file:
            return read_arrays(file)
    raise UserError('its ending is none of .npy, .json, .pkl')


def _listed(values: object, nested: bool) -> list:
    """A sequence, array or tensor of numbers as a list of floats, ``nested`` if it may be."""
    values = values.detach().cpu() if isinstance(values, Tensor) else values
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or (array.ndim > 1 and not nested):
        raise UserError(f'it has {array.ndim} dimensions')
    if not np.isfinite(array).all():
        raise UserError('it holds what is no finite number')
    return array.tolist()


def load_class_weight(
    class_weight: Sequence[float] | Tensor | str | os.PathLike | None, nested: bool = False
) -> list[float] | None:
    """Class weights as a list of floats.

    Args:
        class_weight: A sequence, an array, a tensor or the path of a .npy, .json or .pkl file.
        nested: Whether lists of lists are taken too.

    Raises:
        UserError: The file is missing, is no flat list of numbers, or wants to run code.
    """
    if class_weight is None:
        return None
    source = 'class_weight'
    try:
        if isinstance(class_weight, (str, os.PathLike)):
            source = f'class_weight file {os.fspath(class_weight)}'
            return _listed(_read(os.fspath(class_weight)), nested)
        return _listed(class_weight, nested)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f'{source} cannot be used: {error}. Give one number per class, '
            'as a list or as a .npy, .json or .pkl file that holds a flat list.'
        ) from error
