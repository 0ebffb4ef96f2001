"""IoUMetric as the Runner uses it, on one process and on two."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from helpers.eval_samples import CLASSES, META, random_samples, sample_of
from sklearn.metrics import confusion_matrix, jaccard_score

from segkit.evaluation import EvaluationError
from segkit.evaluation.image_counts import confidence_interval
from segkit.registry import METRICS
from segkit.visualization.report import ReportBuilder


def metric_of(**kwargs):
    metric = METRICS.build({'type': 'IoUMetric', **kwargs})
    metric.dataset_meta = META
    return metric


def evaluate(samples, **kwargs):
    metric = metric_of(**kwargs)
    metric.process({}, [sample.to_dict() for sample in samples])
    return metric.evaluate(len(samples)), metric


def flat_maps(samples):
    label = torch.cat([s.gt_sem_seg.data.flatten() for s in samples]).numpy()
    pred = torch.cat([s.pred_sem_seg.data.flatten() for s in samples]).numpy()
    return label[label != 255], pred[label != 255]


# The IoU of the two classes that occur is 1/2 and 0, their accuracy 1 and 0; three are absent.
@pytest.mark.parametrize(('absent', 'miou', 'macc'), [(None, 25, 50), (0, 10, 20), (1, 70, 80)])
def test_percentages_of_two_pixels(absent, miou, macc):
    maps = torch.tensor([[0, 1]], dtype=torch.uint8), torch.tensor([[0, 0]], dtype=torch.uint8)
    results, _ = evaluate([sample_of(*maps)], nan_to_num=absent)
    assert results['aAcc'] == 50
    assert results['mIoU'] == pytest.approx(miou)
    assert results['mAcc'] == pytest.approx(macc)


def test_equals_scikit_learn_over_a_data_set():
    samples = random_samples(6)
    label, pred = flat_maps(samples)
    results, metric = evaluate(samples)
    assert np.array_equal(metric.scores.matrix, confusion_matrix(label, pred))
    per_class = jaccard_score(label, pred, average=None)
    assert np.array_equal(metric.scores.iou, per_class)
    assert results['mIoU'] == 100 * per_class.mean()


def test_data_samples_and_dicts_give_the_same():
    samples = random_samples(3)
    metric = metric_of()
    metric.process({}, samples)
    assert metric.evaluate(3) == evaluate(samples)[0]


def test_all_metric_groups():
    results, _ = evaluate(random_samples(3), iou_metrics=['mIoU', 'mDice', 'mFscore'])
    assert list(results) == [
        'aAcc', 'mIoU', 'mAcc', 'FWIoU', 'mDice', 'mFscore', 'mPrecision', 'mRecall'
    ]  # fmt: skip
    assert results['mDice'] == pytest.approx(results['mFscore'])


def test_prefix_goes_before_every_name():
    results, _ = evaluate(random_samples(2), prefix='val')
    assert set(results) == {'val/aAcc', 'val/mIoU', 'val/mAcc', 'val/FWIoU'}


def test_a_second_evaluation_starts_from_nothing():
    samples = random_samples(2)
    metric = metric_of()
    metric.process({}, samples[:1])
    metric.evaluate(1)
    metric.process({}, samples[1:])
    assert metric.evaluate(1) == evaluate(samples[1:])[0]


def test_json_and_csv_hold_every_class(tmp_path):
    results, _ = evaluate(random_samples(3), result_file=str(tmp_path / 'scores'))
    data = json.loads((tmp_path / 'scores.json').read_text())
    assert data['metrics']['mIoU'] == results['mIoU']
    assert [entry['class'] for entry in data['classes']] == list(CLASSES)
    rows = list(csv.DictReader((tmp_path / 'scores.csv').open()))
    assert [row['class'] for row in rows] == [*CLASSES, 'mean']
    assert float(rows[-1]['IoU']) == results['mIoU']


def test_bootstrap_interval_holds_the_value():
    results, _ = evaluate(random_samples(20), bootstrap=200)
    assert results['mIoU_low'] < results['mIoU'] < results['mIoU_high']


def test_bootstrap_draws_as_many_resamples_as_asked():
    samples = random_samples(6)
    matrices = [confusion_matrix(*flat_maps([sample]), labels=range(5)) for sample in samples]
    counts = np.stack([[m.diagonal(), m.sum(1), m.sum(0)] for m in matrices])
    low, high = confidence_interval(counts, resamples=50)
    results, _ = evaluate(samples, bootstrap=50)
    assert (results['mIoU_low'], results['mIoU_high']) == (100 * low, 100 * high)


@pytest.mark.parametrize('wrong', [-3, 0.5, 'many'])
def test_a_wrong_number_of_resamples_is_refused_before_the_test(wrong):
    with pytest.raises(EvaluationError, match=r'bootstrap=.*number of resamples, or 0'):
        metric_of(bootstrap=wrong)


def test_one_image_has_no_interval():
    results, _ = evaluate(random_samples(1), bootstrap=50)
    assert 'mIoU' in results
    assert not {'mIoU_low', 'mIoU_high'} & set(results)


def test_boundary_iou_of_a_perfect_prediction_is_100():
    label = random_samples(1)[0].gt_sem_seg.data[0]
    pred = torch.where(label == 255, 0, label)
    assert evaluate([sample_of(label, pred)], boundary=True)[0]['mBIoU'] == 100


def test_every_score_leaves_the_ignored_label_out():
    sample = random_samples(1)[0]
    pred, label = sample.pred_sem_seg.data[0], sample.gt_sem_seg.data[0]
    threes = torch.where(label == 255, 3, label)
    want, _ = evaluate([sample_of(torch.where(threes == 3, 255, threes), pred)], boundary=True)
    got, _ = evaluate([sample_of(threes, pred)], boundary=True, ignore_index=3)
    assert 0 < want['mBIoU'] < 100
    assert got == want


def test_stray_label_names_the_image():
    bad = sample_of(torch.full((2, 2), 9), torch.zeros(2, 2, dtype=torch.uint8), 'images/bad.jpg')
    with pytest.raises(ValueError, match='images/bad.jpg: label value.* 9 on 4 pixel'):
        evaluate([bad])


def test_stray_label_names_the_label_file_and_the_value_stored_in_it():
    label, pred = torch.tensor([[199, 3], [199, 255]]), torch.zeros(2, 2, dtype=torch.uint8)
    sample = sample_of(label, pred, seg_map_path='labels/bad.png', reduce_zero_label=True)
    with pytest.raises(
        ValueError, match=r'^Label map labels/bad.png .*: label value.* 200 on 2 pix'
    ) as error:
        evaluate([sample])
    assert '(1 to 5)' in str(error.value)
    assert 'set reduce_zero_label' not in str(error.value)
    sample.set_metainfo({'reduce_zero_label': False})
    with pytest.raises(ValueError, match='199 on 2 pix.*set label_map={199: class}'):
        evaluate([sample])


@pytest.mark.parametrize(('ignored', 'warned'), [(255, 0), (3, 1), (9, 0)])
def test_a_class_that_the_dataset_ignores_is_warned_about_once(monkeypatch, ignored, warned):
    said = []
    monkeypatch.setattr(
        'segkit.evaluation.iou_metric.print_log', lambda text, *_, **__: said.append(text)
    )
    samples = random_samples(3)
    for sample in samples:
        sample.set_metainfo({'ignore_index': ignored})
    evaluate(samples)
    assert sum('the metric 255: 3 counts as a class there' in text for text in said) == warned


def test_missing_label_says_what_to_do():
    with pytest.raises(ValueError, match='images/a.jpg: no label .*format_only'):
        evaluate([sample_of(None, torch.zeros(2, 2, dtype=torch.uint8))])


def test_data_set_without_classes():
    metric = METRICS.build({'type': 'IoUMetric'})
    with pytest.raises(ValueError, match='names no classes.*metainfo'):
        metric.process({}, random_samples(1))


def test_wrong_metric_name_lists_the_right_ones():
    with pytest.raises(ValueError, match='mIuO.*mIoU, mDice, mFscore'):
        metric_of(iou_metrics=['mIuO'])


def test_format_only_needs_a_folder_and_no_labels(tmp_path):
    with pytest.raises(ValueError, match='set output_dir'):
        metric_of(format_only=True)
    pred = torch.zeros(2, 2, dtype=torch.uint8)
    results, _ = evaluate(
        [sample_of(None, pred)], format_only=True, output_dir=str(tmp_path / 'ids')
    )
    assert results == {}
    assert (tmp_path / 'ids/a.png').exists()


# -- two ranks -----------------------------------------------------------------------------------

OPTIONS = {'iou_metrics': ['mIoU', 'mFscore'], 'bootstrap': 50, 'boundary': True}


# Images, and whether a sampler repeats one to give both ranks as many. A single image leaves the
# second rank with nothing.
CASES = [(5, False), (5, True), (1, False)]


def report_on(samples, path: str) -> None:
    builder = ReportBuilder(CLASSES, META['palette'], keep=2)
    panel = np.zeros((4, 6, 3), np.uint8)
    for sample in samples:
        maps = sample.gt_sem_seg.data, sample.pred_sem_seg.data
        builder.add(sample.img_path, *maps, lambda: {'image': panel})
    builder.write(path, 'ranks')


def _rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    results = []
    for images, padded in CASES:
        samples = random_samples(images)
        order = list(range(images)) + ([0] if padded else [])
        metric = metric_of(**OPTIONS)
        for i in order[rank::2]:
            if rank:  # whose labels are no bytes
                samples[i].gt_sem_seg.data = samples[i].gt_sem_seg.data.long()
            metric.process({}, [samples[i].to_dict()])
        results.append(metric.evaluate(images))
    Path(folder, f'{rank}.json').write_text(json.dumps(results))
    metric = metric_of(format_only=True, output_dir=f'{folder}/ids')
    metric.process({}, [sample_of(None, np.zeros((2, 2), np.uint8), f'{rank}/same.jpg')])
    with pytest.raises(EvaluationError, match='1/same.jpg: its prediction overwrites that of 0/sa'):
        metric.evaluate(2)
    report_on(random_samples(5)[rank::2], f'{folder}/report_{rank}.html')
    torch.distributed.destroy_process_group()


def test_two_ranks_equal_one_process_to_the_last_digit(tmp_path):
    """Also where a padding sampler repeats an image, and where a rank has no image at all."""
    mp.spawn(_rank, (str(tmp_path),), nprocs=2)
    expected = [evaluate(random_samples(images), **OPTIONS)[0] for images, _ in CASES]
    for rank in range(2):
        assert json.loads((tmp_path / f'{rank}.json').read_text()) == expected
    # The first rank writes the page of all, the same as one process would.
    report_on(random_samples(5), str(tmp_path / 'one.html'))
    assert (tmp_path / 'report_0.html').read_text() == (tmp_path / 'one.html').read_text()
    assert not (tmp_path / 'report_1.html').exists()
