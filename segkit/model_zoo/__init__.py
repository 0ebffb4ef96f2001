"""The model zoo as data: what was published, how it was trained, what this code measured.

    published.csv   the rows of the model-zoo pages of PSPNet, PSANet, DANet, ISANet, DeepLabV3,
                    DeepLabV3+, UPerNet and SegFormer as they were published from 2020 on: figures,
                    checkpoint, log, licence of the weights. '-' where none was given
    recipes.csv     the values each of those configs was trained and tested with
    measured.csv    one line for each verification: figure, data, tolerance, commit, environment

``model_zoo.md`` is generated from the three (``tools/model_zoo.py table``); nothing is typed twice.
"""

from .catalog import PUBLISHED, Row, read_rows, select
from .measured import MEASURED, Measurement, append, latest, read_measurements

__all__ = [
    'MEASURED',
    'PUBLISHED',
    'Measurement',
    'Row',
    'append',
    'latest',
    'read_measurements',
    'read_rows',
    'select',
]
