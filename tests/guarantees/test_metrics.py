"""Every metric: results do not hang on type or layout of the maps, nor on how the images are
batched or ordered, and nothing that is given is written into.
"""

import itertools

import numpy as np
import pytest
import torch
from helpers import found
from helpers.eval_samples import CLASSES, META, random_samples, sample_of
from helpers.untouched import untouched
from torchmetrics.functional.classification import multiclass_jaccard_index

from segkit.evaluation.boundary import boundary_counts
from segkit.evaluation.confusion import StrayLabelError, confusion_matrix
from segkit.registry import METRICS

# A metric that is not named here is swept with its defaults.
OPTIONS = {
    'IoUMetric': [
        {'iou_metrics': ['mIoU', 'mDice', 'mFscore'], 'boundary': True, 'bootstrap': 50},
        {'iou_metrics': 'mDice', 'nan_to_num': 0, 'beta': 2.0},
        {'ignore_index': 2},
        {'ignore_index': 250},
        {'ignore_index': -100},
    ]
}
TYPES = (np.uint8, np.int32, np.int64, np.int16)
LAYOUTS = {
    'plain': lambda x: x,
    'transposed': lambda x: x.T.copy().T,
    'strided': lambda x: np.repeat(x, 2, axis=1)[:, ::2],
}
OTHER = {'plain': 'transposed', 'transposed': 'plain', 'strided': 'plain'}
KINDS = [*itertools.product(TYPES, TYPES, LAYOUTS)]


def configs():
    every = {name: OPTIONS.get(name, [{}]) for name in found.metrics()}
    return [{'type': name, **args} for name, many in every.items() for args in many]


def test_the_sweep_is_over_everything():
    assert len(configs()) >= 5
    assert len(KINDS) == 48


def maps_for(config):
    """(label, prediction) pairs whose ignored value is that of the metric."""
    ignored, pairs = config.get('ignore_index', 255), []
    for sample in random_samples(5):
        label = sample.gt_sem_seg.data[0].numpy().astype(np.int64)
        pairs.append((np.where(label == 255, ignored, label), sample.pred_sem_seg.data[0].numpy()))
    return pairs


def scores(config, samples, sizes):
    """Results of a metric that gets the samples in batches of these sizes."""
    with untouched(config=config, meta=META):
        metric = METRICS.build(config)
        metric.dataset_meta = META
        start = 0
        for size in sizes:
            batch = samples[start : start + size]
            with untouched(batch=batch):
                metric.process({}, batch)
            start += size
        assert start == len(samples)
        results = metric.evaluate(len(samples))
    assert len(results) >= 3
    return {name: np.float64(value).tobytes() for name, value in results.items()}


def in_kind(pairs, label_type, pred_type, layout):
    """Samples with maps of these types; None if they cannot hold the values."""
    if any((label.astype(label_type) != label).any() for label, _ in pairs):
        return None
    turn, other = LAYOUTS[layout], LAYOUTS[OTHER[layout]]
    return [
        sample_of(turn(label.astype(label_type)), other(pred.astype(pred_type)), f'images/{i}.jpg')
        for i, (label, pred) in enumerate(pairs)
    ]


@pytest.mark.parametrize('config', configs(), ids=lambda config: str(config))
def test_metrics(config, monkeypatch):
    pairs, swept = maps_for(config), 0
    want = scores(config, in_kind(pairs, np.int64, np.uint8, 'plain'), [1] * 5)
    for kind in KINDS:
        samples = in_kind(pairs, *kind)
        if samples is not None:
            assert scores(config, samples, [2, 3]) == want, kind
            swept += 1
    assert swept >= 36
    samples = in_kind(pairs, np.int32, np.int64, 'strided')
    monkeypatch.setattr('segkit.evaluation.confusion._fits_uint8', lambda x: False)
    assert scores(config, samples, [5]) == want  # counted as on a device
    if not config.get('bootstrap'):  # resampling draws images by their number
        assert scores(config, samples[::-1], [4, 1]) == want


@pytest.mark.parametrize('ignored', [255, 250, 2, -100])
def test_counts_of_one_image(ignored):
    label, pred = maps_for({'ignore_index': ignored})[0]
    want, swept = None, 0
    for label_type, pred_type, layout in KINDS:
        if (label.astype(label_type) == label).all():
            a, b = (
                LAYOUTS[layout](label.astype(label_type)),
                LAYOUTS[OTHER[layout]](pred.astype(pred_type)),
            )
            with untouched(a=a, b=b):
                matrix = confusion_matrix(torch.from_numpy(a), torch.from_numpy(b), 5, ignored)
                edges = boundary_counts(a, b, 5, ignored)
            want = want or (matrix.numpy(), edges)
            assert np.array_equal(matrix.numpy(), want[0])
            assert np.array_equal(edges, want[1])
            swept += 1
    assert swept >= 36
    counted = label != ignored
    loops = np.zeros((5, 5), np.int64)
    np.add.at(loops, (label[counted], pred[counted]), 1)
    assert np.array_equal(want[0], loops)


@pytest.mark.parametrize('dtype', [np.uint8, np.int16, np.int64])
def test_what_a_byte_makes_of_the_ignored_label_is_none(dtype):
    """-100 wraps to 156."""
    label, pred = np.full((2, 3), 156, dtype), np.zeros((2, 3), np.uint8)
    with pytest.raises(StrayLabelError, match='156 on 6 pixel'):
        confusion_matrix(torch.from_numpy(label), torch.from_numpy(pred), 5, -100)


@pytest.mark.parametrize('ignored', [255, -100])
def test_miou_is_that_of_torchmetrics(ignored):
    pairs = maps_for({'ignore_index': ignored})
    metric = METRICS.build({'type': 'IoUMetric', 'ignore_index': ignored})
    metric.dataset_meta = META
    metric.process({}, in_kind(pairs, np.int64, np.int64, 'plain'))
    label, pred = (torch.from_numpy(np.concatenate([x.ravel() for x in y])) for y in zip(*pairs))
    want = multiclass_jaccard_index(pred, label, len(CLASSES), ignore_index=ignored)
    assert metric.evaluate(5)['mIoU'] == pytest.approx(100 * float(want), abs=1e-4)
