"""What a config says of its validation is found before training."""

import copy

import pytest
from helpers import found

from segkit.engine.before_training import ERROR, WARNING, Plan, findings
from segkit.engine.before_validation import validation_faults
from segkit.engine.config import load_config

LOAD, LABEL = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')
RESIZE, PACK = dict(type='Resize', scale=(64, 64), keep_ratio=True), dict(type='PackSegInputs')
DATA = dict(type='BaseSegDataset', data_root='d', data_prefix=dict(img_path='a', seg_map_path='b'))


def config(steps=(LOAD, RESIZE, LABEL, PACK), **val):
    def loader(**data):
        dataset = dict(DATA, **data)
        return dict(batch_size=2, sampler=dict(type='DefaultSampler'), dataset=dataset)

    cfg = dict(
        train_dataloader=loader(pipeline=[LOAD, LABEL, PACK]),
        val_dataloader=loader(pipeline=list(steps), data_root='v', test_mode=True),
    )
    cfg['val_dataloader']['dataset'].update(val)
    return copy.deepcopy(cfg)


def told(cfg, endless=False):
    return [(level, text) for level, text, _ in validation_faults(cfg, endless)]


def test_a_usual_validation_has_no_fault():
    assert told(config()) == []
    assert told(dict(val_dataloader=None)) == []
    assert told(dict(config(), train_dataloader=None)) == []


def test_no_data_set_that_is_shipped_has_a_fault():
    paths = [path for name, path in found.bases().items() if name.startswith('datasets/')]
    assert len(paths) >= 12
    assert {str(path): told(load_config(str(path))) for path in paths} == {
        str(path): [] for path in paths
    }


@pytest.mark.parametrize('kind', ['RandomFlip', 'RandomCrop', 'PhotoMetricDistortion'])
def test_chance_in_a_validation_is_said(kind):
    ((level, text),) = told(config([LOAD, RESIZE, LABEL, dict(type=kind), PACK]))
    assert level == WARNING
    assert f'holds {kind}: scores would depend on chance' in text


def test_labels_that_are_resized_are_said():
    ((level, text),) = told(config([LOAD, LABEL, RESIZE, PACK]))
    assert level == WARNING
    assert 'LoadAnnotations before Resize' in text


def test_validating_on_what_is_trained_on_is_said_whatever_wraps_it():
    same = config(data_root='d')
    assert ['reads the pictures that are trained on' in text for _, text in told(same)] == [True]
    same['train_dataloader']['dataset'] = dict(
        type='RepeatDataset', times=3, dataset=same['train_dataloader']['dataset']
    )
    assert len(told(same)) == 1
    assert told(config(data_root='d', ann_file='val.txt')) == []


def test_they_are_among_the_checks_before_training():
    cfg = config([LOAD, LABEL, RESIZE, PACK])
    cfg['val_dataloader']['sampler'] = dict(type='InfiniteSampler')
    levels = [f.level for f in findings(Plan(cfg, 8)) if 'val_dataloader' in f.text]
    assert levels == [ERROR, WARNING]
