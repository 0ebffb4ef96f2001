"""Configs of mmsegmentation 0.x and 1.x, turned into ours.

`convert` tells the generations apart, `compare` proves the result: it builds both networks without
memory and compares every parameter's name and shape. `RENAMED` is the table docs/migration.md
shows.
"""

from .compare import differences, same_parameters
from .convert import Conversion, convert, generation
from .leaf import leaf_text, own_settings
from .names import RENAMED

__all__ = [
    'RENAMED', 'Conversion', 'convert', 'differences', 'generation', 'leaf_text', 'own_settings',
    'same_parameters',
]  # fmt: skip
