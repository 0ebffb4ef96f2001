"""Reducing the loss of each pixel to one, with weights; class weights from files."""

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from segkit.errors import UserError
from segkit.json_file import read_json
from segkit.safe_pickle import read_arrays


def check_reduction(reduction: str) -> None:
    """Refuse any but 'none', 'sum' and 'mean'."""
    if reduction not in ('none', 'sum', 'mean'):
        raise UserError(f"reduction must be 'none', 'sum' or 'mean', not {reduction!r}.")


def weight_reduce_loss(
    loss: Tensor,
    weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    """Weigh a per-pixel loss and reduce it with 'none', 'sum' or 'mean'.

    Args:
        avg_factor: What 'mean' divides the sum by; the number of elements when None.
    """
    check_reduction(reduction)
    if weight is not None:
        weighted = loss * weight if weight.dim() in (0, loss.dim()) else weight
        if weighted.shape != loss.shape:  # it would be weighed against other pixels
            raise UserError(
                f'A weight of shape {tuple(weight.shape)} does not fit a loss of shape '
                f'{tuple(loss.shape)}: give one number for each pixel.'
            )
        loss = weighted
    if reduction == 'none':
        return loss
    if reduction == 'sum':
        if avg_factor is not None:
            raise UserError("avg_factor divides a mean: it can't go with reduction='sum'.")
        return loss.sum()
    if avg_factor is None:
        return loss.mean()
    return loss.sum() / (avg_factor + torch.finfo(torch.float32).eps)


def _read(path: str) -> Any:
    """The content of a .npy, .json or .pkl file."""
    import numpy as np

    if path.endswith('.npy'):
        return np.load(path, allow_pickle=False)
    if path.endswith('.json'):
        return read_json(path)
    if path.endswith(('.pkl', '.pickle')):
        with open(path, 'rb') as file:
            return read_arrays(file)
    raise UserError('its ending is none of .npy, .json, .pkl')


def _listed(values: Any, nested: bool) -> list:
    """A sequence, array or tensor of numbers as a list of floats, ``nested`` if it may be."""
    import numpy as np

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
