"""Losses as functions against their definitions, written out in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segkit.models.losses.cross_entropy_loss import binary_cross_entropy
from segkit.models.losses.dice_loss import dice_loss
from segkit.models.losses.focal_loss import py_sigmoid_focal_loss, sigmoid_focal_loss
from segkit.models.losses.lovasz_loss import (
    flatten_binary_logits,
    flatten_probs,
    lovasz_grad,
    lovasz_hinge,
    lovasz_hinge_flat,
    lovasz_softmax,
    lovasz_softmax_flat,
)
from segkit.models.losses.tversky_loss import binary_tversky_loss, tversky_loss

K = 4
SHAPE = (2, K, 5, 6)


def drawn(seed=0, ignored=0):
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(SHAPE, generator=rng, dtype=torch.float64)
    labels = torch.randint(0, K, (2, 5, 6), generator=rng)
    labels[0, 0, :ignored] = 255
    return logits, labels


def lovasz(errors, own):
    """Sum over pixels, by falling error, of the error times the growth of the Jaccard loss."""
    total, wrong = 0.0, np.zeros(len(own), bool)

    def jaccard():
        left = (own & ~wrong).sum()
        union = (own | wrong).sum()
        return 1 - left / union if union else 0.0

    for i in np.argsort(-errors, kind='stable'):
        before = jaccard()
        wrong[i] = True
        total += max(errors[i], 0) * (jaccard() - before)
    return total


def softmax_of(probs, labels, classes, weights=None):
    """Of (P, K) and (P,)."""
    found = [
        lovasz(np.abs((labels == k) - probs[:, k]), labels == k) * (weights[k] if weights else 1)
        for k in classes
    ]
    return np.mean(found)


@pytest.mark.parametrize('ignored', [0, 3])
def test_lovasz_softmax(ignored):
    logits, labels = drawn(ignored=ignored)
    labels[labels == 2] = 1  # a class that is nowhere
    probs = logits.softmax(1)
    flat, of = (x.numpy() for x in flatten_probs(probs, labels, 255))
    assert len(flat) == 60 - ignored
    weights = [1.0, 2.0, 3.0, 4.0]
    wanted = softmax_of(flat, of, [0, 1, 3], weights)
    assert lovasz_softmax(probs, labels, class_weight=weights).item() == pytest.approx(wanted)
    got = lovasz_softmax_flat(torch.tensor(flat), torch.tensor(of), 'all')
    assert got.item() == pytest.approx(softmax_of(flat, of, range(4)))
    each = lovasz_softmax(probs, labels, [1], per_image=True, reduction='none')
    alone = [flatten_probs(probs[i : i + 1], labels[i : i + 1], 255) for i in range(2)]
    assert each.tolist() == pytest.approx(
        [softmax_of(p.numpy(), of.numpy(), [1]) for p, of in alone]
    )


def test_lovasz_hinge():
    logits, labels = drawn(ignored=3)
    logits, labels = logits[:, 0], torch.where(labels == 255, 255, labels % 2)
    flat, of = flatten_binary_logits(logits, labels, 255)
    wanted = lovasz((1 - flat * (2 * of - 1)).numpy(), of.numpy() == 1)
    assert lovasz_hinge(logits, labels).item() == pytest.approx(wanted)
    assert lovasz_hinge_flat(flat, of).item() == pytest.approx(wanted)
    each = lovasz_hinge(logits, labels, per_image=True, reduction='none')
    assert each.shape == (2,)
    assert each.mean() == lovasz_hinge(logits, labels, per_image=True)


def test_the_growth_of_the_jaccard_loss():
    """Of 1, 0, 1, 1: 1 of 3 wrong, then 2 of 4 in error or missed, ..."""
    got = lovasz_grad(torch.tensor([1.0, 0.0, 1.0, 1.0]))
    torch.testing.assert_close(got, torch.tensor([1 / 3, 1 / 6, 1 / 4, 1 / 4]))
    assert lovasz_grad(torch.tensor([1, 0])).dtype == torch.float32


def test_focal_of_one_hot_labels_and_of_class_indices():
    torch.manual_seed(0)
    pred = torch.randn(7, K, dtype=torch.float64)
    target = torch.tensor([0, 1, 2, 3, 4, 0, 1])  # 4: none of the classes
    hot = F.one_hot(target, K + 1)[:, :K]
    weight, valid = torch.rand(7, dtype=torch.float64), (torch.arange(7) != 2).view(-1, 1)
    alpha, scale = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([1.0, 2, 3, 4])
    p = torch.where(hot == 1, pred.sigmoid(), 1 - pred.sigmoid())
    wanted = -torch.where(hot == 1, alpha, 1 - alpha) * (1 - p) ** 1.5 * p.log()
    wanted = wanted * scale * weight[:, None] * valid
    options = dict(gamma=1.5, alpha=alpha.tolist(), class_weight=scale.tolist(), valid_mask=valid)
    for loss, labels in ((py_sigmoid_focal_loss, hot), (sigmoid_focal_loss, target)):
        got = loss(pred, labels, hot, weight, **options, reduction='none')
        torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-9)
        mean = loss(pred, labels, hot, weight[:, None], **options, avg_factor=10)
        torch.testing.assert_close(mean, wanted.sum() / 10, rtol=1e-6, atol=0)


@pytest.mark.parametrize('naive', [False, True])
def test_dice(naive):
    logits, labels = drawn()
    probs, hot = logits.sigmoid(), F.one_hot(labels, K).movedim(-1, 1)
    p, t = (x[:, [0, 1, 3]].flatten(1).double() for x in (probs, hot))
    below = (p + t).sum(1) + 0.1 if naive else (p * p + t * t).sum(1) + 0.2
    wanted = 1 - (2 * (p * t).sum(1) + (0.1 if naive else 0)) / below
    got = dice_loss(probs, hot, None, 0.1, 'none', naive, ignore_index=2)
    torch.testing.assert_close(got, wanted)
    weight = torch.tensor([1.0, 3.0], dtype=torch.float64)
    weighted = dice_loss(probs, hot, weight, 0.1, 'mean', naive, 4, ignore_index=2)
    torch.testing.assert_close(weighted, (wanted * weight).sum() / 4, rtol=1e-6, atol=0)


def test_tversky():
    logits, labels = drawn()
    probs, hot = logits.softmax(1), F.one_hot(labels, K)
    valid = (labels != 1).long()
    each = []
    for k in range(K):
        p, t, m = (x.flatten(1).double() for x in (probs[:, k], hot[..., k], valid))
        hits, false, missed = ((x * m).sum(1) for x in (p * t, p * (1 - t), (1 - p) * t))
        each.append(1 - (hits + 2) / (hits + 0.4 * false + 0.6 * missed + 2))
        got = binary_tversky_loss(probs[:, k], hot[..., k], valid, 0.4, 0.6, 2, reduction='none')
        torch.testing.assert_close(got, each[-1])
    wanted = (each[0] + 2 * each[2] + each[3]).mean() / K
    got = tversky_loss(probs, hot, valid, 0.4, 0.6, 2, [1, 1, 2, 1], ignore_index=1)
    torch.testing.assert_close(got, wanted)


def test_the_arguments_of_binary_cross_entropy_in_their_order():
    logits, labels = drawn(ignored=2)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)[:, None, None]
    got = binary_cross_entropy(logits, labels, None, 'sum', None, weights, 255)
    hot, valid = F.one_hot(labels % 255, K).movedim(-1, 1).double(), labels != 255
    wanted = F.binary_cross_entropy_with_logits(logits, hot, pos_weight=weights, reduction='none')
    torch.testing.assert_close(got, (wanted * valid[:, None]).sum())
