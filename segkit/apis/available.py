"""The networks that ``segkit.apis.train`` and ``segkit new_dataset --network`` take, by name."""

import csv
import difflib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from segkit.errors import UserError
from segkit.inspection.recipe import NETWORKS

# Of each head, where it was published.
PAPERS = {
    'fcn': 'arXiv:1411.4038',
    'pspnet': 'arXiv:1612.01105',
    'psanet': 'ECCV 2018, Zhao et al.',
    'danet': 'arXiv:1809.02983',
    'isanet': 'arXiv:1907.12273',
    'deeplabv3': 'arXiv:1706.05587',
    'deeplabv3plus': 'arXiv:1802.02611',
    'upernet': 'arXiv:1807.10221',
    'segformer': 'arXiv:2105.15203',
}
_TABLE = Path(__file__).with_name('available.csv')


class ModelInfo(NamedTuple):
    """``parameters`` of the network with 19 classes, without an auxiliary head; ``weights`` that
    ``pretrained=True`` begins with, None where nothing was published."""

    parameters: int
    encoder: str
    paper: str
    weights: str | None


def available_models(pattern: str = '*') -> dict[str, ModelInfo]:
    """Name of each network that fits a pattern such as ``'segformer*'`` -> what is known of it.

    Raises:
        UserError: none fits; with names that come near.
    """
    with open(_TABLE, newline='', encoding='utf-8') as file:
        counts = {row['name']: int(row['parameters']) for row in csv.DictReader(file)}
    found = {
        name: ModelInfo(
            counts[name],
            network.encoder.removeprefix('a '),
            PAPERS[name.partition('_')[0]],
            network.weights,
        )
        for name, network in NETWORKS.items()
        if fnmatchcase(name, pattern)
    }
    if not found:
        near = difflib.get_close_matches(pattern.strip('*'), NETWORKS, n=3, cutoff=0.4)
        hint = f' Near it: {", ".join(near)}.' if near else ''
        raise UserError(f'available_models({pattern!r}): none of {len(NETWORKS)} fits.{hint}')
    return found
