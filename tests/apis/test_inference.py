"""From a picture to what the network takes, by the test pipeline of a config."""

import numpy as np
import pytest
from mmengine.config import Config

from segkit.apis.inference import InferencePipeline
from segkit.apis.sources import Picture

STEPS = [
    {'type': 'LoadImageFromFile'},
    {'type': 'Resize', 'scale': (40, 24), 'keep_ratio': False},
    {'type': 'LoadAnnotations'},
    {'type': 'PackSegInputs'},
]
PLAIN = {'type': 'BaseSegDataset', 'pipeline': STEPS}
REPEATED = {'type': 'RepeatDataset', 'times': 2, 'dataset': PLAIN}
JOINED = {'type': 'ConcatDataset', 'datasets': [REPEATED, {**PLAIN, 'pipeline': []}]}


@pytest.mark.parametrize('dataset', [PLAIN, REPEATED, JOINED], ids=lambda d: d['type'])
def test_the_pipeline_is_found_in_any_wrapper(dataset):
    pipeline = InferencePipeline(Config({'test_dataloader': {'dataset': dataset}}))
    data = pipeline(Picture('a', None, np.zeros((10, 10, 3), np.uint8)))
    assert data['inputs'].shape == (3, 24, 40)
    assert data['data_samples'].ori_shape == (10, 10)
