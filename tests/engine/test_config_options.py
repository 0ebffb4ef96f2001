"""Settings on top of a config: what they reach, and a word about those that reach nothing."""

import warnings

import pytest

from segkit.engine.config import MOVED, flat_config, load_config
from segkit.engine.config_schema import RUNNER_KEYS
from segkit.errors import ConfigError

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
        ('num_classes', ['model.auxiliary_head.num_classes', 'model.decode_head.num_classes']),
    ],
)
def test_a_variable_of_the_file_is_answered_with_what_to_set(option, places):
    wanted = '.*'.join([f'--cfg-options {option}: changes nothing', 'Set', *places, 'instead'])
    with pytest.raises(ConfigError, match=wanted):
        load_config(NAME, {option: 5})


def test_a_common_value_is_not_taken_for_the_variable(tmp_path):
    (tmp_path / 'c.py').write_text(
        'n = 1\nmodel = dict(n=n, strides=[dict(x=1), dict(y=1)], **{c: 1 for c in "abcdefgh"})\n'
    )
    with pytest.raises(ConfigError, match=r'Set model\.n instead'):
        load_config(tmp_path / 'c.py', {'n': 2})


@pytest.mark.parametrize(
    ('option', 'today'),
    [
        ('optimizer.lr', 'Set optim_wrapper.optimizer.lr instead'),
        ('optimizer_config.grad_clip.max_norm', 'Set optim_wrapper.clip_grad.max_norm instead'),
        ('data.samples_per_gpu', 'Set train_dataloader.batch_size instead'),
        ('data.train.data_root', 'Set train_dataloader.dataset.data_root instead'),
        ('lr_config.policy', 'Set param_scheduler.0.type instead'),
        ('lr_config.power', 'Set param_scheduler.0.power instead'),
        ('runner.max_iters', 'Set train_cfg.max_iters instead'),
        ('evaluation.metric', 'Set val_evaluator.iou_metrics instead'),
        ('mdoel.backbone.depth', 'Did you mean model.backbone.depth'),
        ('head.dropout_ratio', 'model.decode_head.dropout_ratio'),
        ('foo.bar', 'print_config'),
    ],
)
def test_an_option_that_nothing_reads_names_todays_key(option, today):
    with pytest.raises(ConfigError) as caught:
        load_config(NAME, {option: 5})
    assert f'--cfg-options {option}: changes nothing' in str(caught.value)
    assert today in str(caught.value)


def test_every_cure_for_an_old_key_is_accepted():
    assert len(MOVED) >= 30
    for key, cure in MOVED.items():
        assert cure.split(' ')[0].split('=')[0].split('.')[0] in RUNNER_KEYS
        assert key.partition('.')[0] not in RUNNER_KEYS


def test_code_of_ones_own_may_read_any_key(tmp_path):
    (tmp_path / 'c.py').write_text("custom_imports = dict(imports=['json'])\nmodel = dict()\n")
    assert load_config(tmp_path / 'c.py', {'my_own.key': 5}).my_own.key == 5


@pytest.mark.parametrize('key', ['model.backbone.depth.x', 'param_scheduler.7.end'])
def test_an_option_put_over_another_kind_is_named(key):
    with pytest.raises(ConfigError, match=f'--cfg-options {key}: '):
        load_config(NAME, {key: 1})


def test_flat_keys_are_those_of_options():
    flat = flat_config({'a': {'b': 1, 'c': [1, 2]}, 'd': [{'e': 3}]})
    assert flat == {'a.b': 1, 'a.c': [1, 2], 'd.0.e': 3}
