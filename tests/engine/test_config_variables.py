"""Variables of config files: own names are free, what a child sets for nothing is said."""

import warnings

import pytest
from helpers.tiny_config import tiny_config

from segkit.engine import ConfigError, check_config
from segkit.engine.config import load_config

BASE = """
crop_size = (512, 512)
unread = 1
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends)
model = dict(type='EncoderDecoder', data_preprocessor=dict(size=crop_size))
"""


def said(tmp_path, *children: str) -> tuple[list[str], object]:
    """Warnings about a chain of files, each the base of the next, and the last one's config."""
    (tmp_path / 'file0.py').write_text(BASE)
    for i, child in enumerate(children, 1):
        (tmp_path / f'file{i}.py').write_text(f"_base_ = './file{i - 1}.py'\n{child}\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        cfg = load_config(tmp_path / f'file{len(children)}.py')
    return [str(warning.message) for warning in caught], cfg


@pytest.mark.parametrize(
    'children',
    [
        ['crop_size = (1, 1)'],
        ['crop_size = (1, 1)', 'work_dir = "x"'],
        ['work_dir = "x"', 'crop_size = (1, 1)'],
        ['crop_size = (1, 1)\nmodel = dict(data_preprocessor=dict(size=_base_.crop_size))'],
    ],
)
def test_a_variable_set_again_for_nothing_is_named_with_what_to_set(tmp_path, children):
    (text,), _ = said(tmp_path, *children)
    assert 'crop_size changes nothing' in text
    assert 'Set model.data_preprocessor.size' in text


@pytest.mark.parametrize(
    'child',
    [
        'crop_size = (1, 1)\nmodel = dict(data_preprocessor=dict(size=crop_size))',
        'crop_size = (512, 512)',
        'unread = 2',
        'my_own = 2',
        'models = [1]',
        'crop_size = (1, 1)\nx = list(locals())',
        'size = _base_.crop_size',
        'work_dir = "x"',
    ],
)
def test_nothing_is_said_where_something_reads_it_or_did_not_before(tmp_path, child):
    assert said(tmp_path, child)[0] == []


def test_backends_of_a_child_reach_the_visualizer(tmp_path):
    backend = 'TensorboardVisBackend'
    found, cfg = said(tmp_path, f"vis_backends = [dict(type='{backend}')]")
    assert (found, [b.type for b in cfg.visualizer.vis_backends]) == ([], [backend])


def test_backends_beside_a_visualizer_of_the_childs_own_stay_apart(tmp_path):
    _, cfg = said(
        tmp_path,
        "vis_backends = [dict(type='A')]\nvisualizer = dict(vis_backends=[dict(type='B')])",
    )
    assert [backend.type for backend in cfg.visualizer.vis_backends] == ['B']


@pytest.mark.parametrize(
    'name', ['my_test_cfg', 'models', 'optim_wrapper_cfg', 'model_', 'base_model', 'resume_path']
)
def test_a_name_with_a_word_more_is_a_variable_of_ones_own(name):
    check_config(tiny_config('w', **{name: dict(a=1)}))


@pytest.mark.parametrize('name', ['modell', 'test_cgf', 'optim_wraper', 'default_hookss'])
def test_a_slip_is_none(name):
    with pytest.raises(ConfigError, match=f'{name}: there is no such key'):
        check_config(tiny_config('w', **{name: dict(a=1)}))


def test_a_variable_that_the_file_reads_may_have_any_name(tmp_path):
    (tmp_path / 'file0.py').write_text(BASE)
    (tmp_path / 'c.py').write_text(
        "_base_ = './file0.py'\nmodell = dict(pretrained=None)\nmodel = modell\n"
    )
    with pytest.raises(ConfigError, match=r'c\.py: model\.'):  # not of modell
        check_config(load_config(tmp_path / 'c.py', {'model.wrong': 1}))
