"""Settings on top of a config: what they reach, and a word about those that reach nothing."""

import warnings

import pytest

from segkit.engine.config import load_config
from segkit.engine.config_options import flat_config

NAME = 'pspnet_r101-d8_512x512_80k_ade20k'


@pytest.fixture(autouse=True)
def no_warning_unless_asked_for():
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        yield


def test_options_reach_any_depth():
    options = {'model.decode_head.num_classes': 3, 'param_scheduler.0.end': 7, 'resume': True}
    cfg = load_config(NAME, options)
    assert (cfg.model.decode_head.num_classes, cfg.param_scheduler[0].end) == (3, 7)
    assert cfg.resume is True


def test_data_root_reaches_every_dataset():
    cfg = load_config('pspnet_r50-d8_512x512_20k_voc12aug', {'data_root': '/elsewhere'})
    roots = [part.data_root for part in cfg.train_dataloader.dataset.datasets]
    roots += [cfg.val_dataloader.dataset.data_root, cfg.test_dataloader.dataset.data_root]
    assert roots == ['/elsewhere'] * 4


@pytest.mark.parametrize(
    ('option', 'places'),
    [
        ('max_iters', ['param_scheduler.0.end', 'train_cfg.max_iters']),
        ('crop_size', ['model.data_preprocessor.size', r'train_dataloader.*\.crop_size']),
    ],
)
def test_a_variable_of_the_file_is_answered_with_what_to_set(option, places):
    wanted = '.*'.join([f'option {option} changes nothing', 'Set', *places, 'instead'])
    with pytest.warns(UserWarning, match=wanted):
        load_config(NAME, {option: 5})


def test_a_common_value_is_not_taken_for_the_variable(tmp_path):
    (tmp_path / 'c.py').write_text(
        'n = 1\nmodel = dict(n=n, strides=[dict(x=1), dict(y=1)], **{c: 1 for c in "abcdefgh"})\n'
    )
    with pytest.warns(UserWarning, match=r'Set model\.n instead'):
        load_config(tmp_path / 'c.py', {'n': 2})


def test_an_option_nothing_knows_is_named():
    with pytest.warns(UserWarning, match='option my_own changes nothing'):
        load_config(NAME, {'my_own': 5})


def test_flat_keys_are_those_of_options():
    flat = flat_config({'a': {'b': 1, 'c': [1, 2]}, 'd': [{'e': 3}]})
    assert flat == {'a.b': 1, 'a.c': [1, 2], 'd.0.e': 3}
