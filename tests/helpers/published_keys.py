"""The state-dict keys and shapes of the published checkpoints, from the lists in tests/data.

The lists hold what the files of 19 classes and a 97x97 mask hold; other configs differ in just
those two numbers. ``networks.json.gz`` holds whole networks of mmsegmentation 1.2.2, as that builds
them.
"""

import ast
import gzip
import json
from functools import cache
from math import prod
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / 'data' / 'state_dict_keys'


def _lines(name: str) -> list[tuple[str, list[int]]]:
    rows = [line.split(' ', 1) for line in (DATA / f'{name}.txt').read_text().splitlines()]
    return [(key, ast.literal_eval(shape)) for key, shape in rows]


@cache
def whole_networks() -> dict[str, dict[str, list[int]]]:
    return json.loads(gzip.decompress((DATA / 'networks.json.gz').read_bytes()))


def published_shapes(method: str, recipe: dict[str, str]) -> dict[str, tuple[int, ...]]:
    """Key -> shape of a published checkpoint, in its order.

    Args:
        method: 'psanet', 'pspnet', ...
        recipe: a row of recipes.csv (config, depth, num_classes, mask_size).
    """
    classes = int(recipe['num_classes'])
    network = '_'.join(recipe['config'].split('_')[:2]).replace('d16-mg124', 'd8')
    if network in whole_networks():
        shapes = whole_networks()[network]
        return {k: (classes, *v[1:]) if 'conv_seg' in k else tuple(v) for k, v in shapes.items()}
    mask = prod(ast.literal_eval(recipe['mask_size'])) if recipe['mask_size'] else None
    shapes = {}
    for key, shape in _lines(f'backbone_r{recipe["depth"]}') + _lines(f'{method}_heads'):
        if 'conv_seg' in key:
            assert shape[0] == 19
            shape[0] = classes
        elif shape[:1] == [97 * 97]:
            shape[0] = mask
        shapes[key] = tuple(shape)
    return shapes
