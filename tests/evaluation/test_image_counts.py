"""The interval, against a loop that draws images one by one."""

import numpy as np

from segkit.evaluation.image_counts import bootstrap_miou, confidence_interval
from segkit.evaluation.scores import iou_of_counts, nanmean


def counts_of(images: int, k: int = 3, spread: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(0)
    label = rng.integers(100, 1000, (images, k))
    intersect = (label * rng.uniform(0.7 - spread, 0.7 + spread, label.shape)).astype(int)
    return np.stack([intersect, label, label], axis=1)


def test_equals_resampling_one_by_one():
    counts = counts_of(40)
    rng = np.random.default_rng(1)
    loop = []
    for _ in range(2000):
        drawn = counts[rng.integers(0, 40, 40)].sum(0)
        loop.append(nanmean(iou_of_counts(drawn)))
    ours = bootstrap_miou(counts, 2000)
    assert abs(ours.mean() - np.mean(loop)) < 0.002
    assert abs(ours.std() / np.std(loop) - 1) < 0.1


def test_the_interval_holds_the_share_of_resamples_that_is_asked_for():
    counts = counts_of(40)
    values = bootstrap_miou(counts)
    assert confidence_interval(counts) == tuple(np.quantile(values, [0.025, 0.975]))
    low, high = confidence_interval(counts, level=0.5)
    assert ((low < values) & (values < high)).mean() == 0.5


def test_does_not_depend_on_the_order_of_images():
    counts = counts_of(20)
    assert confidence_interval(counts) == confidence_interval(counts[::-1])


def test_equal_images_give_a_point():
    low, high = confidence_interval(np.repeat(counts_of(1), 30, axis=0))
    assert low == high


def test_more_images_give_a_narrower_interval():
    few, many = (np.ptp(confidence_interval(counts_of(n))) for n in (20, 320))
    assert many < 0.5 * few


def test_no_labelled_pixel_is_nan_without_a_warning(recwarn):
    assert np.isnan(confidence_interval(np.zeros((2, 3, 4), np.int64), resamples=5)).all()
    assert not recwarn
