"""Pixel accuracy, counted by hand."""

import pytest
import torch

from segkit.models.losses import Accuracy, accuracy

PRED = torch.tensor([[3.0, 1.0, 2.0], [1.0, 3.0, 2.0], [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
TARGET = torch.tensor([0, 1, 1, 255])


def test_ignored_pixels_are_left_out():
    assert accuracy(PRED, TARGET, ignore_index=255).item() == pytest.approx(200 / 3, abs=1e-3)
    assert accuracy(PRED, TARGET).item() == pytest.approx(50, abs=1e-3)


@pytest.mark.parametrize('classes', [3, 19])
def test_of_equal_scores_the_first_class_counts(classes):
    """A dead head predicts class 0 everywhere, as an argmax does."""
    target = torch.arange(38).reshape(2, 19) % classes
    dead = torch.zeros(2, classes, 19)
    right = 100 * (target == 0).float().mean().item()
    assert accuracy(dead, target).item() == pytest.approx(right, abs=1e-3)
    first, second = accuracy(dead, target, topk=(1, 2))
    assert first.item() == pytest.approx(right, abs=1e-3)
    assert second.item() == pytest.approx(100 * (target < 2).float().mean().item(), abs=1e-3)


def test_a_target_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r'target is \(2, 1, 4\).*need \(2, 4\)'):
        accuracy(torch.zeros(2, 3, 4), torch.zeros(2, 1, 4).long())


def test_several_ranks_and_a_threshold():
    first, second = accuracy(PRED, TARGET, topk=(1, 2), ignore_index=255)
    assert first.item() == pytest.approx(200 / 3, abs=1e-3)
    assert second.item() == pytest.approx(100, abs=1e-3)
    assert accuracy(PRED, TARGET, thresh=3.5, ignore_index=255).item() < 1e-3


def test_maps_are_counted_pixel_by_pixel():
    pred = PRED.T.reshape(1, 3, 2, 2)
    module = Accuracy(topk=1, ignore_index=255)
    assert module(pred, TARGET.reshape(1, 2, 2).byte()).item() == pytest.approx(200 / 3, abs=1e-3)


def test_nothing_labelled_reads_100_as_published():
    assert accuracy(PRED, torch.full((4,), 255), ignore_index=255).item() == pytest.approx(100)


def test_more_ranks_than_classes_are_refused():
    with pytest.raises(ValueError, match='topk=4 exceeds the 3 classes'):
        accuracy(PRED, TARGET, topk=4)
