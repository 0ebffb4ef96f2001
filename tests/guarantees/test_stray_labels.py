"""A label that is no class is reported in one sentence wherever it is met, and what the sentence
says to set, set as it is printed, lets such labels pass.
"""

import re

import numpy as np
import pytest
import torch
from helpers.checks import SIZES, config, errors_of, labels_of
from helpers.eval_samples import sample_of
from helpers.heads import samples_of
from helpers.make_data import write_dataset

from segkit.engine.command_line import parse_options
from segkit.engine.config import load_config
from segkit.inspection.check import check
from segkit.models.decode_heads import FCNHead
from segkit.models.losses import check_labels
from segkit.registry import DATASETS, METRICS, MODELS

# Stored values, classes, what is to be set in the dataset, and what else is named.
CASES = [
    ((1, 2, 3, 255), 3, ['reduce_zero_label=True'], []),
    ((0, 1, 2, 3), 3, ['reduce_zero_label=True'], ['num_classes']),
    ((0, 128), 2, ['label_map={128: 1}'], []),
    ((0, 1, 2, 250), 3, ['label_map={250: 255}', 'ignore_index=250', 'label_map={250: class}'], []),
    ((7, 11, 255), 2, ['label_map={stored value: class}'], ['num_classes']),
]
NOT_MEANT = (7, 11, 255), 'reduce_zero_label=True'
SETTING = re.compile(r'(label_map=\{[^}]*\}|reduce_zero_label=True|ignore_index=\d+)')


@pytest.fixture
def root(tmp_path):
    return write_dataset(tmp_path, SIZES)


def values_of(values):
    label = np.zeros(SIZES[0], np.uint8)
    label[:] = np.array(values, np.uint8)[np.arange(SIZES[0][1]) * len(values) // SIZES[0][1]]
    return label


def said_by_the_head(label, num_classes):
    head = FCNHead(in_channels=2, channels=2, num_classes=num_classes, num_convs=1)
    with pytest.raises(ValueError, match='label value') as said:
        head.loss([torch.zeros(1, 2, 5, 7)], samples_of(torch.from_numpy(label)[None]))
    return str(said.value)


def said_by_the_metric(label, num_classes):
    metric = METRICS.build({'type': 'IoUMetric'})
    metric.dataset_meta = {'classes': [str(i) for i in range(num_classes)]}
    with pytest.raises(ValueError, match='label value') as said:
        metric.process({}, [sample_of(label, np.zeros_like(label))])
    return str(said.value)


def said_by_the_check(root, cfg):
    (error,) = [e for e in errors_of(cfg) if 'label value' in e]
    return error.split('\n')[0]


@pytest.mark.parametrize(('values', 'num_classes', 'settings', 'more'), CASES)
def test_one_sentence_everywhere(root, values, num_classes, settings, more):
    labels_of(root, *values)
    cfg = config(root, num_classes=num_classes)
    label = values_of(values)
    said = [
        said_by_the_head(label, num_classes),
        said_by_the_metric(label, num_classes),
        said_by_the_check(root, cfg),
    ]
    sentences = {re.sub(r'^.*(?=label value\(s\))', '', s) for s in said}
    sentences = {re.sub(r' (on \d+ pixel|in up to \d+ image)\(s\)', '', s) for s in sentences}
    assert len(sentences) == 1
    (sentence,) = sentences
    # All but 'if they count from 1', which is no guess for these.
    assert [s for s in SETTING.findall(sentence) if (values, s) != NOT_MEANT] == settings
    assert all(word in sentence for word in more)


@pytest.mark.parametrize(('values', 'num_classes', 'settings', 'more'), CASES)
def test_what_the_sentence_says_lets_the_labels_pass(root, values, num_classes, settings, more):
    for setting in settings:
        labels_of(root, *values)
        cfg = config(root, num_classes=num_classes)
        assert not check(cfg, 'x', ('train',), workers=0).ok
        typed = setting.replace('stored value: class', '7: 0, 11: 1').replace('class', '1')
        pairs = [f'train_dataloader.dataset.{typed}']
        if 'ignore_index' in typed:
            pairs += [f'model.{head}.{typed}' for head in ('decode_head', 'auxiliary_head')]
        cfg.merge_from_dict(parse_options(pairs))
        assert check(cfg, 'x', ('train',), workers=0).ok, setting
        label = DATASETS.build(cfg.train_dataloader.dataset)[0]['data_samples']
        head = FCNHead(in_channels=2, channels=2, num_convs=1, **cfg.model.decode_head)
        assert head.loss([torch.zeros(1, 2, 5, 7)], [label])['loss_ce'] > 0
        metric = METRICS.build({'type': 'IoUMetric', 'ignore_index': head.ignore_index})
        metric.dataset_meta = cfg.train_dataloader.dataset.metainfo
        metric.process({}, [sample_of(label.gt_sem_seg.data[0], np.zeros(SIZES[0], np.uint8))])
        assert 0 < metric.evaluate(1)['aAcc'] <= 100


def test_after_a_shift_the_stored_value_is_shown_and_the_shifted_one_mapped(root):
    labels_of(root, 1, 2, 3, 200)
    shifted = dict(num_classes=3, reduce_zero_label=True)
    sample = DATASETS.build(config(root, **shifted).train_dataloader.dataset)[0]['data_samples']
    with pytest.raises(ValueError, match=r'label value\(s\) 200 on .*classes \(1 to 3\)') as said:
        check_labels(sample.gt_sem_seg.data[None], 3, 255, [sample])
    (setting,) = SETTING.findall(str(said.value))
    cfg = config(root, **shifted)
    typed = setting.replace('class', '2')
    cfg.merge_from_dict(parse_options([f'train_dataloader.dataset.{typed}']))
    label = DATASETS.build(cfg.train_dataloader.dataset)[0]['data_samples'].gt_sem_seg.data
    assert label.unique().tolist() == [0, 1, 2]


@pytest.mark.parametrize('text', ['{255: 1', '{a: 1}', '{1, 2}', '[a, {b}]', '[{}'])
def test_a_dict_that_is_none_is_refused_on_the_command_line(text):
    with pytest.raises(SystemExit, match='a.b=.* is no dict of numbers and quoted texts'):
        parse_options([f'a.b={text}'])
    assert parse_options(['a.b={255: 1, "x": [2]}']) == {'a.b': {255: 1, 'x': [2]}}


def test_a_list_of_dicts_is_given_on_the_command_line_as_in_a_config():
    losses = [dict(type='CrossEntropyLoss', loss_weight=0.5), dict(type='DiceLoss')]
    for value in (losses, tuple(losses), [[1, {2: 'a'}], ()]):
        assert parse_options([f'a.b={value}']) == {'a.b': value}
    cfg = load_config(
        'fcn_r18-d8_shapes', parse_options([f'model.decode_head.loss_decode={losses}'])
    )
    names = [type(loss).__name__ for loss in MODELS.build(cfg.model).decode_head.loss_decode]
    assert names == ['CrossEntropyLoss', 'DiceLoss']
