"""What a run scored, from its folder, its result file or its config."""

import json

import pytest
from helpers.eval_samples import META, random_samples
from helpers.run_folders import write_run

from segkit.evaluation import EvaluationError, IoUMetric
from segkit.evaluation.run_results import differing, read_run


def test_work_directory(tmp_path):
    run = read_run(write_run(tmp_path / 'a'))
    assert run.metrics == {'aAcc': 80.0, 'mIoU': 60.0}
    assert run.classes == {'sky': 90.0, 'car': 60.0}
    assert run.config.name == 'net.py'


def test_result_file(tmp_path):
    metric = IoUMetric(result_file=str(tmp_path / 'r'))
    metric.dataset_meta = META
    metric.process({}, random_samples(2))
    results = metric.evaluate(2)
    run = read_run(tmp_path / 'r.json')
    assert run.metrics['mIoU'] == results['mIoU']
    assert list(run.classes) == list(META['classes'])


def test_work_directory_of_a_test(tmp_path):
    folder = write_run(tmp_path / 'a')
    content = {'metrics': {'mIoU': 1.5}, 'classes': [{'class': 'sky', 'IoU': 1.5}]}
    (folder / 'results.json').write_text(json.dumps(content))
    run = read_run(folder)
    assert (run.metrics, run.classes) == ({'mIoU': 1.5}, {'sky': 1.5})
    assert run.config.name == 'net.py'


@pytest.mark.parametrize('name', ['nowhere', 'empty', 'bad.json', 'binary.json', 'net.pth'])
def test_nothing_to_read(tmp_path, name):
    for binary in ('binary.json', 'net.pth'):
        (tmp_path / binary).write_bytes(b'\x80\x02')
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'bad.json').write_text('{}')
    with pytest.raises(EvaluationError, match=name):
        read_run(tmp_path / name)


def test_differences_are_in_order_and_missing_keys_are_dashes():
    a = {'a.b': 1, 'a.c': [1, 2], 'd.0.e': 3}
    assert differing(a, {**a, 'a.b': 2, 'x': 0}) == [('a.b', 1, 2), ('x', '-', 0)]
