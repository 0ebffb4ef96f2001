"""Cross-entropy, written out and by bands, against torch in float64."""

import json
import os
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.heads import random_labels
from helpers.operations import Operations

from segkit.models.losses import (
    CrossEntropyLoss,
    accuracy,
    load_class_weight,
    weighted_loss,
)
from segkit.models.losses import bands as banded
from segkit.models.losses.cross_entropy_loss import banded_cross_entropy

WEIGHTS = [0.5, 1.0, 2.0, 0.1, 3.0]
SIZES = [
    ((6, 7), (48, 56)),
    ((9, 9), (65, 70)),  # bands with a rest
    ((5, 8), (5, 8)),  # no resize
    ((1, 1), (40, 33)),
    ((20, 30), (11, 7)),  # downwards
    ((4, 70), (33, 600)),  # several blocks of columns
    ((3, 900), (2, 300)),
]


def wide(logits, size, align_corners=False):
    return F.interpolate(logits, size, mode='bilinear', align_corners=align_corners)


def pixel_losses(logits, labels, weights=None):
    """Loss of each pixel in float64, ignored ones 0."""
    weights = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    return F.cross_entropy(
        logits.double(), labels.long(), weights, ignore_index=255, reduction='none'
    )


@pytest.fixture
def case():
    torch.manual_seed(0)
    return torch.randn(2, 5, 12, 10), random_labels(2, (12, 10))


def written_out(logits, labels, weights, align_corners):
    """Loss sum and gradient by torch, in the dtype of the logits."""
    logits = logits.detach().requires_grad_()
    weights = None if weights is None else torch.tensor(weights, dtype=logits.dtype)
    upsampled = wide(logits, labels.shape[1:], align_corners)
    loss = F.cross_entropy(upsampled, labels.long(), weights, ignore_index=255, reduction='sum')
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('weights', [None, WEIGHTS], ids=['equal', 'weighted'])
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(('small', 'large'), SIZES)
def test_bands_equal_upsampling_and_cross_entropy(small, large, align_corners, weights, dtype):
    """Against float64, no further off than torch's own form (or a few units of rounding)."""
    torch.manual_seed(0)
    logits = (3 * torch.randn(2, 5, *small, dtype=dtype)).requires_grad_()
    labels = random_labels(2, large)
    weight = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    got, correct = banded_cross_entropy(logits, labels, weight, 255, align_corners, accurate=True)
    got.backward()
    exact = written_out(logits.double(), labels, weights, align_corners)
    peer = written_out(logits, labels, weights, align_corners)
    for mine, theirs, truth in zip((got.detach(), logits.grad), peer, exact):
        scale = truth.abs().max()
        allowed = max(1.5 * (theirs - truth).abs().max(), 100 * torch.finfo(dtype).eps * scale)
        assert (mine - truth).abs().max() <= allowed
    hits = wide(logits.detach().double(), large, align_corners).argmax(1) == labels
    assert int(correct) == int(hits.sum())


SMALL_BANDS = banded.AtOnce(1, 16, argmax=True)


@pytest.mark.parametrize('at_once', [banded.CPU, banded.DEVICE, SMALL_BANDS])
@pytest.mark.parametrize('align_corners', [False, True])
def test_bands_of_any_size_give_the_same(monkeypatch, at_once, align_corners):
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 9, 8, dtype=torch.float64, requires_grad=True)
    labels = random_labels(2, (61, 70))
    monkeypatch.setattr(banded, 'CPU', at_once)
    got, correct = banded_cross_entropy(logits, labels, None, 255, align_corners, accurate=True)
    (gradient,) = torch.autograd.grad(got, logits)
    want, exact = written_out(logits, labels, None, align_corners)
    assert got.item() == pytest.approx(want.item(), rel=1e-12)
    torch.testing.assert_close(gradient, exact, rtol=1e-9, atol=1e-12)
    found = wide(logits.detach(), (61, 70), align_corners).argmax(1)
    assert int(correct) == int((found == labels).sum())


@pytest.mark.parametrize('at_once', [banded.CPU, SMALL_BANDS])
@pytest.mark.parametrize('logits', ['dead', 'tied', 'two maps'])
def test_of_equal_scores_the_first_class_is_the_prediction(monkeypatch, logits, at_once):
    torch.manual_seed(0)
    labels = random_labels(2, (24, 24))
    scores = {
        'dead': torch.zeros(2, 5, 3, 3),
        'tied': torch.randint(0, 2, (2, 5, 24, 24)).float(),
        'two maps': torch.randn(2, 1, 3, 3).expand(2, 5, 3, 3),
    }[logits]
    monkeypatch.setattr(banded, 'CPU', at_once)
    given = scores.clone()
    correct = banded_cross_entropy(scores, labels, accurate=True).correct
    assert int(correct) == int((wide(scores, (24, 24)).argmax(1) == labels).sum())
    assert 0 < int(correct) < int((labels != 255).sum())
    assert torch.equal(scores, given)


@pytest.mark.parametrize(('weights', 'most'), [(None, 60), ([1.0] * 19, 70)])
def test_a_device_is_sent_few_operations(monkeypatch, weights, most):
    """Loss and gradient of two crops of Cityscapes, under what a GPU may hold at once."""
    monkeypatch.setattr(banded, 'CPU', banded.DEVICE)
    logits = torch.randn(2, 19, 64, 128, requires_grad=True)
    labels = random_labels(2, (512, 1024), classes=19)
    loss = CrossEntropyLoss(class_weight=weights)
    with Operations() as operations:
        loss.forward_small(logits, labels, 255, accurate=True).loss.backward()
    assert 20 < operations.dispatched <= most


def test_bands_keep_no_logits_of_label_size():
    """What autograd holds between forward and backward is one small gradient."""
    logits = torch.randn(1, 5, 8, 8, requires_grad=True)
    held = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: held.append(t.numel()) or t, id):
        banded_cross_entropy(logits, random_labels(1, (256, 256)))
    assert max(held) == logits.numel()


def test_bands_take_half_precision_and_count_in_float32():
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 6, 7)
    labels = random_labels(2, (48, 56))
    half = logits.bfloat16().requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        loss = banded_cross_entropy(half, labels).loss
    loss.backward()
    assert loss.dtype == torch.float32
    assert half.grad.dtype == torch.bfloat16
    want = pixel_losses(wide(half.detach().float(), (48, 56)), labels).sum()
    assert loss.item() == pytest.approx(want.item(), rel=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_bands_give_the_same_gradient_in_every_run_on_a_gpu():
    torch.manual_seed(0)
    logits = torch.randn(2, 19, 64, 64, device='cuda', requires_grad=True)
    labels = random_labels(2, (512, 512), classes=19).cuda()
    runs = [
        torch.autograd.grad(banded_cross_entropy(logits, labels).loss, logits)[0] for _ in range(5)
    ]
    assert all(torch.equal(run, runs[0]) for run in runs)


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int32, torch.int64])
def test_bands_leave_the_labels_as_they_were(dtype):
    logits, labels = torch.randn(2, 5, 6, 7), random_labels(2, (48, 56)).to(dtype)
    given = labels.clone()
    first = banded_cross_entropy(logits, labels).loss
    assert torch.equal(labels, given)
    assert torch.equal(banded_cross_entropy(logits, labels).loss, first)


def test_bands_without_gradient():
    loss = banded_cross_entropy(torch.randn(1, 5, 4, 4), random_labels(1, (32, 32))).loss
    assert not loss.requires_grad


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
@pytest.mark.parametrize('avg_non_ignore', [False, True])
@pytest.mark.parametrize('weights', [None, WEIGHTS], ids=['equal', 'weighted'])
def test_small_logits_give_the_loss_of_the_upsampled_ones(weights, avg_non_ignore, reduction, case):
    loss = CrossEntropyLoss(
        class_weight=weights, avg_non_ignore=avg_non_ignore, reduction=reduction, loss_weight=0.4
    )
    labels = random_labels(2, (48, 40))
    small = loss.forward_small(case[0], labels, ignore_index=255).loss
    torch.testing.assert_close(small, loss(wide(case[0], (48, 40)), labels, ignore_index=255))


def test_mean_counts_ignored_pixels_unless_told_otherwise(case):
    logits, labels = case
    total, labelled = pixel_losses(logits, labels).sum(), int((labels != 255).sum())
    mean = CrossEntropyLoss()(logits, labels, ignore_index=255)
    assert mean.item() == pytest.approx(total.item() / labels.numel(), rel=1e-6)
    mean = CrossEntropyLoss(avg_non_ignore=True)(logits, labels, ignore_index=255)
    assert mean.item() == pytest.approx(total.item() / labelled, rel=1e-6)


def test_class_weights_enter_the_mean_as_in_torch(case):
    logits, labels = case
    got = CrossEntropyLoss(class_weight=WEIGHTS, avg_non_ignore=True)(
        logits, labels, ignore_index=255
    )
    want = F.cross_entropy(logits, labels.long(), torch.tensor(WEIGHTS), ignore_index=255)
    torch.testing.assert_close(got, want)


def test_class_weights_of_one_change_nothing(case):
    logits, labels = case
    for avg_non_ignore in (False, True):
        plain = CrossEntropyLoss(avg_non_ignore=avg_non_ignore)
        ones = CrossEntropyLoss(avg_non_ignore=avg_non_ignore, class_weight=[1.0] * 5)
        torch.testing.assert_close(
            plain(logits, labels, ignore_index=255), ones(logits, labels, ignore_index=255)
        )


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_class_weights_of_many_pixels_are_added_up_exactly_in_half_precision(dtype):
    """float16 ends at 65504, bfloat16 tells only 8 bits apart."""
    torch.manual_seed(0)
    logits, labels = torch.randn(1, 5, 300, 300).to(dtype), random_labels(1, (300, 300))
    with torch.autocast('cpu', dtype):
        got = CrossEntropyLoss(class_weight=[1.0] * 5)(logits, labels, ignore_index=255)
    want = pixel_losses(logits, labels).mean()
    assert got.item() == pytest.approx(want.item(), rel=1e-3)


def test_class_weights_move_with_the_loss_and_stay_out_of_its_state():
    loss = CrossEntropyLoss(class_weight=WEIGHTS)
    assert not loss.state_dict()
    assert {b.device.type for b in loss.to('meta').buffers()} == {'meta'}


@pytest.mark.parametrize('options', [{'avg_non_ignore': True}, {'use_sigmoid': True}])
def test_the_default_ignored_label_is_no_byte(options):
    """-100 wraps to the 156 of uint8, which may be a class."""
    torch.manual_seed(0)
    logits, labels = torch.randn(1, 200, 4, 4), torch.full((1, 4, 4), 156, dtype=torch.uint8)
    loss = CrossEntropyLoss(**options)
    assert loss(logits, labels) == loss(logits, labels.long()) > 0
    if loss.takes_small_logits:
        assert (
            loss.forward_small(logits, labels).loss
            == loss.forward_small(logits, labels.long()).loss
        )
    assert accuracy(logits, labels, ignore_index=-100) == accuracy(logits, labels)


def test_pixel_weights_and_no_reduction(case):
    logits, labels = case
    weight = torch.rand(labels.shape)
    got = CrossEntropyLoss()(logits, labels, weight, ignore_index=255, reduction_override='none')
    want = pixel_losses(logits, labels) * weight
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('use_sigmoid', [False, True])
def test_weights_of_another_shape_are_refused(case, use_sigmoid):
    """They would be broadcast: each pixel weighed by those of other images."""
    logits, labels = case
    with pytest.raises(ValueError, match='give one number for each pixel'):
        CrossEntropyLoss(use_sigmoid)(logits, labels, torch.ones(2, 1, 12, 10), ignore_index=255)


def test_all_ignored_gives_zero_and_no_gradient():
    logits = torch.randn(1, 5, 4, 4, requires_grad=True)
    labels = torch.full((1, 32, 32), 255, dtype=torch.uint8)
    for avg_non_ignore in (False, True):
        loss = CrossEntropyLoss(avg_non_ignore=avg_non_ignore)
        value, correct = loss.forward_small(logits, labels, ignore_index=255, accurate=True)
        (gradient,) = torch.autograd.grad(value, logits)
        assert value == 0
        assert correct == 0
        assert gradient.abs().max() == 0


@pytest.mark.parametrize('avg_non_ignore', [False, True])
def test_sigmoid_is_one_binary_problem_per_class(case, avg_non_ignore):
    logits, labels = case
    loss = CrossEntropyLoss(use_sigmoid=True, avg_non_ignore=avg_non_ignore, class_weight=WEIGHTS)
    p = logits.double().sigmoid()
    total, count = 0.0, 0
    for k in range(5):
        for pixel, label in zip(p[:, k].flatten(), labels.flatten()):
            if label != 255:
                total -= WEIGHTS[k] * pixel.log() if label == k else (1 - pixel).log()
                count += 1
    want = total / (count if avg_non_ignore else logits.numel())
    got = loss(logits, labels, ignore_index=255)
    assert got.item() == pytest.approx(want.item(), rel=1e-5)


@pytest.mark.parametrize('avg_non_ignore', [False, True])
@pytest.mark.parametrize('classes', [1, 5])
def test_sigmoid_with_pixel_weights_leaves_ignored_pixels_out(case, classes, avg_non_ignore):
    logits, labels = case[0][:, :classes], case[1]
    if classes == 1:
        labels = torch.where(labels == 255, 255, labels % 2)
    loss = CrossEntropyLoss(use_sigmoid=True, avg_non_ignore=avg_non_ignore)
    plain = loss(logits, labels, ignore_index=255)
    torch.testing.assert_close(
        loss(logits, labels, torch.ones(labels.shape), ignore_index=255), plain
    )
    ignored_only = (labels == 255).float()
    assert ignored_only.sum() > 0
    assert loss(logits, labels, ignored_only, ignore_index=255) == 0


class Evil:
    def __reduce__(self):
        return os.system, ('echo ran > ran.txt',)


@pytest.mark.parametrize('ending', ['npy', 'json', 'pkl', 'array.pkl'])
def test_class_weights_from_a_file(tmp_path, ending):
    path = tmp_path / f'weights.{ending}'
    if ending == 'npy':
        np.save(path, np.array(WEIGHTS))
    elif ending == 'json':
        path.write_text(json.dumps(WEIGHTS))
    else:
        path.write_bytes(pickle.dumps(np.array(WEIGHTS) if 'array' in ending else WEIGHTS))
    assert CrossEntropyLoss(class_weight=str(path)).class_weight == WEIGHTS


def test_a_class_weight_file_never_runs_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'weights.pkl'
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match='weights.pkl cannot be used: it asks to run .*system'):
        load_class_weight(str(path))
    np.save(tmp_path / 'weights.npy', np.array([Evil()], dtype=object))
    with pytest.raises(ValueError, match='weights.npy cannot be used'):
        load_class_weight(tmp_path / 'weights.npy')
    assert not (tmp_path / 'ran.txt').exists()


def test_a_class_weight_file_that_is_missing_or_unknown_is_named(tmp_path):
    with pytest.raises(ValueError, match='missing.npy cannot be used: .*No such file'):
        load_class_weight(str(tmp_path / 'missing.npy'))
    with pytest.raises(ValueError, match='none of .npy, .json, .pkl'):
        load_class_weight('weights.txt')


def test_class_weights_of_the_wrong_length_are_refused(case):
    with pytest.raises(ValueError, match='class_weight has 3 values, the head predicts 5 classes'):
        CrossEntropyLoss(class_weight=[1, 2, 3])(*case, ignore_index=255)


def test_unknown_reduction_is_refused(case):
    with pytest.raises(ValueError, match="'none', 'sum' or 'mean', not 'average'"):
        CrossEntropyLoss(reduction='average')(*case, ignore_index=255)


def test_a_mask_for_each_object_is_refused_with_what_to_use():
    assert CrossEntropyLoss(use_sigmoid=True, use_mask=False).use_sigmoid
    with pytest.raises(ValueError, match='use_mask=True .* use_sigmoid=True'):
        CrossEntropyLoss(use_mask=True)


def test_a_loss_of_ones_own_is_weighted_and_reduced():
    @weighted_loss
    def squares(pred, target, scale=1.0):
        return scale * (pred - target) ** 2

    pred, target = torch.tensor([1.0, 2.0, 4.0]), torch.zeros(3)
    weight = torch.tensor([1.0, 0.0, 1.0])

    assert squares(pred, target) == 7
    assert squares(pred, target, weight, reduction='sum', scale=2.0) == 34
    assert squares(pred, target, weight, avg_factor=2).item() == pytest.approx(8.5)
    assert squares(pred, target, reduction='none').tolist() == [1, 4, 16]
