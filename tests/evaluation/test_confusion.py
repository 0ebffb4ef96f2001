"""The counts, against scikit-learn and against a loop over pixels."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix as sklearn_matrix

from segkit.errors import EvaluationError
from segkit.evaluation import confusion as module
from segkit.evaluation.confusion import StrayLabelError, confusion_matrix


def maps(k: int, shape=(37, 53), seed: int = 0, ignored: float = 0.1):
    rng = np.random.default_rng(seed)
    label, pred = rng.integers(0, k, (2, *shape), dtype=np.uint8)
    label[rng.random(shape) < ignored] = 255
    return torch.from_numpy(label), torch.from_numpy(pred)


def test_counts_of_four_pixels():
    label = torch.tensor([[0, 1], [1, 255]], dtype=torch.uint8)
    pred = torch.tensor([[0, 0], [1, 1]], dtype=torch.uint8)
    assert confusion_matrix(label, pred, 2).tolist() == [[1, 0], [1, 1]]


@pytest.mark.parametrize('k', [1, 2, 19, 150, 255])
def test_equals_scikit_learn(k):
    label, pred = maps(k)
    matrix = confusion_matrix(label[None], pred, k)
    kept = label != 255
    expected = sklearn_matrix(label[kept], pred[kept], labels=range(k))
    assert matrix.dtype == torch.int64
    assert np.array_equal(matrix.numpy(), expected)


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int16, torch.int64])
def test_bincount_path_equals_histogram_path(dtype):
    label, pred = maps(19, seed=1)
    matrix, strays, others = module._bincount(label.to(dtype), pred, 19, 255)
    assert torch.equal(matrix, confusion_matrix(label, pred, 19))
    assert (strays, others) == (0, 0)


def test_any_integer_dtype_gives_the_same_counts():
    label, pred = maps(19, seed=2)
    expected = confusion_matrix(label, pred, 19)
    assert torch.equal(confusion_matrix(label.long(), pred.int(), 19), expected)


def test_more_classes_than_a_byte_holds():
    label = torch.tensor([[0, 299, -1]])
    pred = torch.tensor([[0, 298, 7]])
    matrix = confusion_matrix(label, pred, 300, ignore_index=-1)
    assert matrix.nonzero().tolist() == [[0, 0], [299, 298]]


def test_pictures_one_pixel_high_or_wide():
    label = torch.tensor([[0, 1, 1]], dtype=torch.uint8)
    assert confusion_matrix(label[None], label, 2).tolist() == [[1, 0], [0, 2]]
    assert confusion_matrix(label.T, label.T, 2).tolist() == [[1, 0], [0, 2]]


def test_ignore_index_may_be_a_class():
    label = torch.tensor([[0, 1, 2]], dtype=torch.uint8)
    assert confusion_matrix(label, label, 3, ignore_index=0).diagonal().tolist() == [0, 1, 1]


def test_counts_beyond_float32_stay_exact(monkeypatch):
    """A 17-million-pixel class is one more than float32 can count; bands keep it exact."""
    label = torch.zeros(2**24 + 3, 1, dtype=torch.uint8)
    assert int(confusion_matrix(label, label, 2)[0, 0]) == 2**24 + 3
    monkeypatch.setattr(module, '_EXACT_FLOAT32', 100)
    a, b = maps(5, seed=3)
    monkeypatched = confusion_matrix(a, b, 5)
    monkeypatch.undo()
    assert torch.equal(monkeypatched, confusion_matrix(a, b, 5))


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int64])
def test_stray_label_names_image_value_and_cure(dtype):
    label = torch.tensor([[0, 19], [20, 255]]).to(dtype)
    pred = torch.zeros(2, 2, dtype=torch.uint8)
    with pytest.raises(StrayLabelError, match='a.png: label value') as error:
        confusion_matrix(label, pred, 19, name='a.png')
    for part in ('19, 20', '2 pixel', '0 to 18', 'reduce_zero_label', 'label_map'):
        assert part in str(error.value)


def test_a_value_whose_low_byte_is_a_class_is_stray():
    wide, classes = torch.tensor([[0, 256, 300]]), torch.zeros(1, 3, dtype=torch.uint8)
    with pytest.raises(StrayLabelError, match='256, 300 on 2 pixel'):
        confusion_matrix(wide, classes, 19)
    with pytest.raises(StrayLabelError, match='2 pixel.* predicted as a class outside 0 to 18'):
        confusion_matrix(classes, wide, 19)


def test_stray_label_is_found_by_the_bincount_path():
    label = torch.tensor([[0, -3, 400, 255]])
    with pytest.raises(StrayLabelError, match='-3, 400 on 2 pixel'):
        confusion_matrix(label, torch.zeros(1, 4, dtype=torch.uint8), 300)


def test_prediction_outside_the_classes_is_an_error():
    label = torch.tensor([[0, 255]], dtype=torch.uint8)
    with pytest.raises(StrayLabelError, match='1 pixel.* predicted as a class outside 0 to 1'):
        confusion_matrix(label, torch.tensor([[2, 9]], dtype=torch.uint8), 2)


def test_size_mismatch_names_both_sizes():
    label = torch.zeros(4, 6, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r'b.png: the label map is 4 x 6 .* prediction is 6 x 4'):
        confusion_matrix(label, label.T, 2, name='b.png')


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_device_counts_equal_cpu_counts():
    label, pred = maps(150, (200, 300))
    matrix = confusion_matrix(label, pred.cuda(), 150)
    assert matrix.is_cuda
    assert torch.equal(matrix.cpu(), confusion_matrix(label, pred, 150))


def test_a_stray_value_that_32_bits_would_make_a_class():
    label = torch.tensor([[0, 2**32 + 1]])
    with pytest.raises(StrayLabelError, match='4294967297'):
        confusion_matrix(label, torch.zeros(1, 2, dtype=torch.uint8), 3)


def test_probabilities_are_no_classes():
    label = torch.zeros(1, 2, dtype=torch.uint8)
    with pytest.raises(EvaluationError, match='integers, not torch.uint8 and torch.float32'):
        confusion_matrix(label, torch.tensor([[0.2, 0.9]]), 3)
