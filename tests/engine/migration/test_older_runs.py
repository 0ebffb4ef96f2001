"""Converted configs train two iterations and test.

SEGKIT_OLDER_CONFIGS=FOLDER names a folder of the older toolbox's configs (the `.mim/configs` of its
wheel); each of our networks in it is then converted, trained and tested, too.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.older_runs import ITERATIONS, make_pictures, shrink, train_and_test
from mmengine.config import Config

from segkit.engine.migration import convert, leaf_text, same_parameters

FOLDER = os.environ.get('SEGKIT_OLDER_CONFIGS', '')
NETWORKS = ('danet', 'fcn', 'isanet', 'psanet', 'pspnet')
FILES = [path for name in NETWORKS for path in sorted(Path(FOLDER).glob(f'{name}/*.py')) if FOLDER]


@pytest.mark.skipif(not FOLDER, reason='SEGKIT_OLDER_CONFIGS names no folder')
@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_a_config_of_the_folder_trains_and_tests(path, tmp_path, monkeypatch):
    old = Config.fromfile(path)
    config = convert(old).config
    assert same_parameters(old.model, config.model) == []
    text = leaf_text(config)
    assert text is not None
    assert 'segkit::_base_/models/' in text
    monkeypatch.chdir(tmp_path)
    make_pictures(config, tmp_path)
    losses, scores = train_and_test(shrink(Config.fromstring(text, '.py'), tmp_path / 'run'))
    assert len(losses) == ITERATIONS
    assert np.isfinite(losses).all()
    assert 0 <= scores['aAcc'] <= 100
