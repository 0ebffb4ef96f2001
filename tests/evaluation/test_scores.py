"""Scores a reader can check by hand, and against scikit-learn and torchmetrics."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score

from segkit.evaluation.scores import Scores, iou_of_counts, nanmean

# Class 0: 3 of 4 labelled right; class 1: 1 of 2; class 2: only predicted; class 3: absent.
MATRIX = np.array([[3, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
NAMES = ('a', 'b', 'c', 'd')


def test_hand_computed_scores():
    scores = Scores(MATRIX, NAMES)
    nan = float('nan')
    np.testing.assert_array_equal(scores.iou, [3 / 5, 1 / 2, 0, nan])
    np.testing.assert_array_equal(scores.acc, [3 / 4, 1 / 2, nan, nan])
    np.testing.assert_array_equal(scores.precision, [3 / 4, 1, 0, nan])
    np.testing.assert_array_equal(scores.dice, [6 / 8, 2 / 3, 0, nan])
    np.testing.assert_array_equal(scores.fscore, scores.dice)
    assert scores.overall == 4 / 6
    assert scores.frequency_weighted == pytest.approx(4 / 6 * 3 / 5 + 2 / 6 * 1 / 2, abs=1e-15)


def test_only_predicted_class_counts_zero_and_absent_class_is_left_out():
    results = Scores(MATRIX, NAMES).summary(['mIoU'])
    assert list(results) == ['aAcc', 'mIoU', 'mAcc', 'FWIoU']
    assert results['mIoU'] == pytest.approx(100 * (0.6 + 0.5 + 0) / 3)
    assert results['mAcc'] == pytest.approx(100 * (0.75 + 0.5) / 2)


def test_nan_to_num_makes_absent_classes_count():
    results = Scores(MATRIX, NAMES, nan_to_num=0).summary()
    assert results['mIoU'] == pytest.approx(110 / 4)
    assert results['mAcc'] == results['mRecall'] == pytest.approx(100 * (3 / 4 + 1 / 2) / 4)
    assert results['mPrecision'] == pytest.approx(100 * (3 / 4 + 1) / 4)
    assert results['mDice'] == pytest.approx(100 * (6 / 8 + 2 / 3) / 4)
    assert results['mFscore'] == results['mDice']


def test_beta_weighs_recall():
    scores = Scores(MATRIX, NAMES, beta=2)
    p, r = scores.precision[1], scores.recall[1]
    assert scores.fscore[1] == pytest.approx(5 * p * r / (4 * p + r))


def test_no_pixel_at_all_is_nan_without_a_warning(recwarn):
    scores = Scores(np.zeros((2, 2), np.int64), ('a', 'b'))
    assert all(np.isnan(value) for value in scores.summary().values())
    assert not recwarn.list


def test_equals_scikit_learn_to_the_bit():
    label, pred = np.random.default_rng(0).integers(0, 7, (2, 5000))
    scores = Scores(confusion_matrix(label, pred), NAMES)
    assert np.array_equal(scores.iou, jaccard_score(label, pred, average=None))
    np.testing.assert_allclose(scores.fscore, f1_score(label, pred, average=None), rtol=1e-15)


def test_agrees_with_torchmetrics():
    torchmetrics = pytest.importorskip('torchmetrics.classification')
    label, pred = torch.from_numpy(np.random.default_rng(1).integers(0, 7, (2, 5000)))
    judge = torchmetrics.MulticlassJaccardIndex(7, average=None)
    scores = Scores(confusion_matrix(label, pred), NAMES)
    np.testing.assert_allclose(scores.iou, judge(pred, label).numpy(), rtol=2e-7)


def test_iou_of_counts_broadcasts_over_images():
    counts = np.array([[[2, 0], [4, 0], [2, 0]], [[1, 1], [1, 2], [1, 1]]])
    np.testing.assert_array_equal(iou_of_counts(counts), [[0.5, np.nan], [1, 0.5]])
    assert nanmean(iou_of_counts(counts)) == pytest.approx(2 / 3)
