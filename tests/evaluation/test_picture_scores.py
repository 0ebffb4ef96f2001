"""The table of pictures: each line is the picture's own score, the last their mean."""

import csv

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score

from segkit.evaluation import IoUMetric
from segkit.structures import PixelData, SegDataSample


def sample(label, pred, name, **meta):
    made = SegDataSample(metainfo=dict(img_path=name, **meta))
    made.gt_sem_seg = PixelData(data=torch.from_numpy(label)[None])
    made.pred_sem_seg = PixelData(data=torch.from_numpy(pred)[None])
    return made


def pairs(count=4):
    rng = np.random.default_rng(0)
    for i in range(count):
        label = rng.integers(0, 3, (6 + i, 7), dtype=np.uint8)
        pred = np.where(rng.random(label.shape) < 0.6, label, rng.integers(0, 3, label.shape))
        label[0, :2] = 255
        yield f'/data/img/{i}.png', label, pred.astype(np.uint8)


def evaluated(tmp_path, samples, **options):
    metric = IoUMetric(picture_file=str(tmp_path / 'p.csv'), class_scalars=False, **options)
    metric.dataset_meta = dict(classes=('a', 'b', 'c', 'never'))
    metric.image_root = '/data/img'
    samples = list(samples)
    metric.process(None, samples)
    results = metric.evaluate(len(samples))
    return results, list(csv.DictReader((tmp_path / 'p.csv').open()))


def test_lines_are_those_of_scikit_learn_and_the_last_their_mean(tmp_path):
    results, rows = evaluated(tmp_path, (sample(y, p, n) for n, y, p in pairs()))
    assert [row['picture'] for row in rows] == ['0.png', '1.png', '2.png', '3.png', 'mean']
    means = []
    for row, (_, label, pred) in zip(rows, pairs()):
        counts = label != 255
        wanted = 100 * jaccard_score(label[counts], pred[counts], average=None, labels=[0, 1, 2])
        assert [float(row[c]) for c in 'abc'] == pytest.approx(wanted, abs=1e-3)
        assert row['never'] == ''
        assert float(row['mIoU']) == pytest.approx(wanted.mean(), abs=1e-3)
        assert float(row['aAcc']) == pytest.approx(100 * (label == pred)[counts].mean(), abs=1e-3)
        means.append(wanted.mean())
    assert results['mIoU_pictures'] == pytest.approx(np.mean(means))
    assert float(rows[-1]['mIoU']) == pytest.approx(np.mean(means), abs=1e-3)


def test_unknown_pixels_are_left_out_and_counted(tmp_path):
    def cut():
        for name, label, pred in pairs():
            pred[1] = 255
            yield sample(label, pred, name, unknown_below=0.5)

    results, rows = evaluated(tmp_path, cut())
    labelled = [(label != 255).sum() for _, label, _ in pairs()]
    assert results['unknown'] == pytest.approx(100 * 4 * 7 / sum(labelled))
    assert float(rows[0]['unknown']) == pytest.approx(100 * 7 / labelled[0], abs=1e-3)
    kept = np.concatenate([np.delete(y, 1, 0)[np.delete(y, 1, 0) != 255] for _, y, _ in pairs()])
    pred = np.concatenate([np.delete(p, 1, 0)[np.delete(y, 1, 0) != 255] for _, y, p in pairs()])
    assert results['aAcc'] == pytest.approx(100 * (kept == pred).mean())


def test_nobody_asked_and_255_is_no_class(tmp_path):
    name, label, pred = next(pairs())
    pred[1] = 255
    with pytest.raises(ValueError, match='outside 0 to 3'):
        evaluated(tmp_path, [sample(label, pred, name)])
