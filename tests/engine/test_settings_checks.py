"""Settings that fit no part of the run are named before it starts, with a cure that works."""

import warnings

import pytest
from helpers.tiny_config import tiny_config

from segkit.engine import Runner
from segkit.engine.before_training import (
    Plan,
    class_names,
    custom_keys_match,
    findings,
    known_scores,
)
from segkit.engine.command_line import parse_options
from segkit.engine.config import load_config, merge_options
from segkit.engine.config_files import shipped_configs
from segkit.engine.hooks.watched_score import better_rule
from segkit.errors import ConfigError


def poly(**options):
    return [dict(type='PolyLR', eta_min=1e-4, power=0.9, by_epoch=False, **options)]


WARM_UP = dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=3)
STEPS = dict(type='StepLR', step_size=1, by_epoch=False, begin=9)
STOPPING = [dict(type='EarlyStoppingHook', monitor='mDice')]
FAULTS = {
    'ends at 5, but training goes on for 8': dict(param_scheduler=poly(begin=0, end=5)),
    'ends at 20000, but training ends after 8': dict(param_scheduler=poly(begin=0, end=20000)),
    'has no end, but training ends after 8': dict(param_scheduler=poly(begin=0)),
    'begins at 9, when training, 8': dict(
        param_scheduler=[*poly(begin=0, end=8), STEPS]
    ),
    "save_best='IoU.wtaer' is not among": dict(
        default_hooks__checkpoint__save_best='IoU.wtaer'
    ),
    "save_best='mDice' is not among": dict(default_hooks__checkpoint__save_best=['mIoU', 'mDice']),
    "monitor='mDice' is not among": dict(custom_hooks=STOPPING),
}  # fmt: skip


@pytest.mark.parametrize('words', FAULTS)
def test_a_fault_is_found_and_its_cure_cures_it(tmp_path, words):
    cfg = tiny_config(tmp_path, **FAULTS[words])
    found = findings(Plan(cfg, 11))
    assert any(words in finding.text for finding in found), found
    options = parse_options(option for finding in found for option in finding.options)
    merge_options(cfg, options)
    assert findings(Plan(cfg, 11)) == []


@pytest.mark.parametrize(
    'options',
    [
        dict(param_scheduler=[WARM_UP, *poly(begin=3, end=8)]),
        dict(param_scheduler=[WARM_UP]),  # then as it is
        dict(param_scheduler=[dict(type='MultiStepLR', milestones=[4], by_epoch=False)]),
        dict(param_scheduler=dict(type='CosineAnnealingLR', T_max=8, by_epoch=False)),
        dict(param_scheduler=[dict(type='PolyLR', end=5, by_epoch=True)]),  # epochs of what length?
        dict(param_scheduler=None),
        dict(train_cfg=dict(type='MyLoop')),
        dict(default_hooks__checkpoint__save_best='auto'),
        dict(default_hooks__checkpoint__save_best='IoU.water'),
        dict(
            default_hooks__checkpoint__save_best='mIoU_pictures',
            val_evaluator__picture_file='p.csv',
        ),
        dict(default_hooks__checkpoint__save_best=['Acc.water', 'mAcc', 'FWIoU']),
        dict(default_hooks__checkpoint__save_best='val_loss', val_cfg__val_loss=True),
        dict(default_hooks__checkpoint__save_best='own', val_evaluator=dict(type='mine.Metric')),
        dict(
            default_hooks__checkpoint__save_best='a/mDice',
            val_evaluator=dict(type='IoUMetric', iou_metrics='mDice', prefix='a'),
        ),
        dict(optim_wrapper__paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=2)})),
    ],
)
def test_nothing_is_said_of_what_is_right(tmp_path, options):
    cfg = tiny_config(tmp_path)
    options = dict(options)
    for key in {'train_cfg', 'param_scheduler'} & set(options):
        cfg[key] = options.pop(key)
    merge_options(cfg, {key.replace('__', '.'): value for key, value in options.items()})
    assert findings(Plan(cfg, 11)) == []


def test_nothing_is_said_of_the_shipped_schedules_and_scores():
    names = sorted(shipped_configs())
    assert len(names) > 60
    for name in names[::5]:
        cfg = load_config(name)
        cfg.model.pop('pretrained', None)
        assert findings(Plan(cfg, 1000)) == []
        whole, single = known_scores(cfg)
        assert 'mIoU' in whole
        assert len(single) == 6 * cfg.model.decode_head.num_classes


def test_parts_that_no_parameter_is_called_after(tmp_path):
    keys = {'head': dict(lr_mult=10.0), 'decode_haed': dict(lr_mult=10.0), 'norm': dict(x=1)}
    cfg = tiny_config(tmp_path, optim_wrapper__paramwise_cfg=dict(custom_keys=keys))
    texts = [finding.text for finding in custom_keys_match(Plan(cfg, None))]
    assert [text.split("'")[1] for text in texts] == ['decode_haed', 'norm']
    assert 'decode_head.conv_seg' in texts[0]


def test_a_score_that_nothing_measures_ends_training_before_the_first_step(tmp_path):
    cfg = tiny_config(tmp_path, default_hooks__checkpoint__save_best='IoU.wtaer')
    with pytest.raises(ConfigError, match=r"save_best='IoU.wtaer' is not among .*IoU\.water"):
        Runner.from_cfg(cfg).train()
    assert not list(tmp_path.glob('*.pth'))


def test_the_best_of_a_class_is_kept_and_watched(tmp_path):
    hook = dict(type='EarlyStoppingHook', monitor='Acc.water', patience=9)
    cfg = tiny_config(tmp_path, default_hooks__checkpoint__save_best='IoU.sky', custom_hooks=[hook])
    runner = Runner.from_cfg(cfg)
    runner.train()
    (file,) = tmp_path.glob('best_IoU.sky_iter_*.pth')
    best = runner.message_hub.get_info('best_checkpoints')['IoU.sky']
    scores = runner.val_loop.evaluator.metrics[0].scores
    own = 100 * scores.iou[list(scores.classes).index('sky')]
    assert best['file'] == file.name
    assert best['score'] >= own
    assert runner.message_hub.get_info('early_stopping')[1] <= 2


def test_the_name_of_a_class_does_not_tell_the_rule():
    assert better_rule('IoU.lossy') == better_rule('val/Acc.error') == 'greater'
    assert better_rule('val_decode.loss_ce') == 'less'


def test_classes_are_found_in_wrapped_data_sets():
    inner = dict(type='BaseSegDataset', metainfo=dict(classes=('a', 'b')))
    assert class_names(dict(type='RepeatDataset', dataset=inner)) == ['a', 'b']
    assert class_names(dict(type='ConcatDataset', datasets=[inner])) == ['a', 'b']
    assert len(class_names(dict(type='CityscapesDataset'))) == 19
    assert class_names(None) == []
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert class_names(dict(type='ConcatDataset', datasets=[])) == []
