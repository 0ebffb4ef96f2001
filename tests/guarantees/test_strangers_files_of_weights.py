"""What a file of weights says of classes, colours and its own network is used only if it fits."""

import json

import pytest
from helpers.hostile import MODEL, PIPELINE

from segkit.engine.untrusted_config import admit
from segkit.errors import ConfigError
from segkit.weights import dataset_meta_of

INF = float('inf')
PALETTES = [
    5, 'x', [[1]], [[256, 0, 0]], [[-1, 0, 0]], [[10**30, 0, 0]], [[0] * 4], [[]], [[INF] * 3], {},
    [[0, 0, 0], [0, 0]], [['a'] * 3], [None],
]  # fmt: skip


@pytest.mark.parametrize('palette', PALETTES)
def test_a_palette_that_is_none_is_left_out(palette):
    found = dataset_meta_of({'meta': dict(classes=['a', 'b'], palette=palette)})
    assert found is not None
    assert found['classes'] == ['a', 'b']
    assert found.get('palette', []) == []
    good = dict(CLASSES=['a'], PALETTE=[(255, 0, 9)])
    assert dataset_meta_of({'meta': good}) == dict(classes=['a'], palette=[[255, 0, 9]])


@pytest.mark.parametrize('value', [5, 'whole', [], [{}], True])
@pytest.mark.parametrize('key', ['test_cfg', 'train_cfg'])
def test_settings_of_the_network_are_a_dict(key, value):
    model = json.loads(json.dumps({**MODEL, key: value}))
    config = dict(model=model, test_dataloader=dict(dataset=dict(pipeline=PIPELINE)))
    with pytest.raises(ConfigError, match=rf'a\.json: model\.{key}: .* is no dict of settings'):
        admit(config, 'a.json')
    admit({**config, 'model': {**MODEL, key: None}}, 'a.json')
