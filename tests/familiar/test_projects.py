"""Small projects in the style of those around mmsegmentation run after changing one word."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
STYLES = {
    'custom_data_set': 'a data set',
    'custom_head': 'a head, a loss, a sampler',
    'custom_transforms': 'transforms',
    'custom_segmentor': 'a segmentor, a data preprocessor, metrics, a hook',
    'before_1_0': '0.x: data set, config, training script, notebook',
    'older_parts': '0.x: a step of a pipeline, a head, a loss, a sampler, a repeated data set',
    'in_a_detector': 'a head in a detector of another project',
    'lazy_config': 'pure-python configs',
    'notebook': 'the tutorial, with the Runner of mmengine',
}


@pytest.fixture(scope='module')
def outcomes(tmp_path_factory):
    """Name -> '' or the traceback."""
    command = [sys.executable, str(HERE / 'run_projects.py'), str(tmp_path_factory.mktemp('moved'))]
    root = HERE.parents[1]
    done = subprocess.run(
        [*command, *STYLES], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_every_project_of_the_folder_is_run():
    assert {path.stem for path in (HERE / 'projects').glob('*.py')} == {*STYLES, 'base_config'}
    assert len(STYLES) == 9


@pytest.mark.parametrize('name', STYLES)
def test_a_project_runs_after_changing_one_word(name, outcomes):
    assert outcomes[name] == ''


def test_a_project_that_fails_is_told(tmp_path):
    command = [sys.executable, str(HERE / 'run_projects.py'), str(tmp_path), 'base_config']
    done = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=True)
    assert 'has no attribute' in json.loads(done.stdout.splitlines()[-1])['base_config']
