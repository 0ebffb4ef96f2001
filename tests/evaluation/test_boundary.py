"""Bands of all classes at once, against one erosion a class as in the paper."""

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from segkit.errors import EvaluationError
from segkit.evaluation.boundary import band, boundary_counts


def blobs(seed: int, k: int = 4, shape=(60, 80)) -> np.ndarray:
    """Voronoi cells of k classes."""
    rng = np.random.default_rng(seed)
    points, classes = rng.random((12, 2)) * shape, rng.integers(0, k, 12)
    rows, columns = np.indices(shape)
    distance = (rows[..., None] - points[:, 0]) ** 2 + (columns[..., None] - points[:, 1]) ** 2
    return classes[distance.argmin(-1)].astype(np.uint8)


def band_of_mask(mask: np.ndarray, distance: int) -> np.ndarray:
    return mask & ~binary_erosion(mask, np.ones((3, 3)), iterations=distance)


@pytest.mark.parametrize('distance', [1, 2, 5])
def test_band_equals_mask_minus_erosion_for_every_class(distance):
    label = blobs(0)
    ours = band(label, distance)
    for c in range(4):
        assert np.array_equal(ours == c, band_of_mask(label == c, distance))


@pytest.mark.parametrize(
    ('shape', 'distance'),
    [((60, 80), 2), ((75, 105), 3)],  # 2 % of the diagonal: 2 exactly, and 2.58
)
def test_counts_equal_masks_counted_one_by_one(shape, distance):
    label, pred = blobs(1, shape=shape), blobs(2, shape=shape)
    label[20:45, 20:60] = 255  # in the middle, across classes of both
    counts = boundary_counts(label, pred, 4)
    for c in range(4):
        a = band_of_mask(label == c, distance)
        b = band_of_mask((pred == c) & (label != 255), distance)
        assert counts[:, c].tolist() == [(a & b).sum(), a.sum(), b.sum()]


def test_a_shifted_edge_costs_more_at_the_boundary_than_inside():
    label = np.zeros((100, 100), np.uint8)
    label[:, 50:] = 1
    pred = np.roll(label, 2, axis=1)
    pred[:, :2] = 0
    intersect, area, guess = boundary_counts(label, pred, 2)
    boundary = intersect / (area + guess - intersect)
    assert (boundary < 0.9).all()
    assert (label == pred).mean() > 0.97


def test_more_classes_than_a_byte_tells_apart_are_refused():
    label = np.zeros((4, 4), np.int64)
    with pytest.raises(EvaluationError, match='at most 255 classes, not 256'):
        boundary_counts(label, label, 256)
