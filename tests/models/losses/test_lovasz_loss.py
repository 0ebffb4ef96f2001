"""The Lovasz losses against their definition, and the losses of edges."""

import itertools

import pytest
import torch
from helpers.heads import random_labels

from segkit.errors import UserError
from segkit.models.losses import BoundaryLoss, LovaszLoss
from segkit.models.losses.lovasz_loss import jaccard_steps


def jaccard_loss(wrong, own, measure):
    """1 - IoU of a class whose pixels ``own`` are taken right but for those ``wrong``."""
    both = sum(m for w, o, m in zip(wrong, own, measure) if o and not w)
    either = sum(m for w, o, m in zip(wrong, own, measure) if o or w)
    return 1 - both / either if either else 0.0


def extension(errors, own, measure):
    """Definition 1: the sum over sorted errors of error times growth of the set function."""
    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    wrong, before, total = [False] * len(errors), 0.0, 0.0
    for i in order:
        wrong[i] = True
        now = jaccard_loss(wrong, own, measure)
        total, before = total + float(errors[i]) * (now - before), now
    return total


def test_steps_are_the_growth_of_the_jaccard_loss():
    """For every choice of a class's pixels among six, and of pixels that do not count."""
    torch.manual_seed(0)
    checked = 0
    for own in itertools.product([False, True], repeat=6):
        errors = torch.rand(6, dtype=torch.float64)
        for measure in ([1.0] * 6, [1, 0, 1, 1, 0, 1], [0, 0, 0, 1, 1, 1], [0.5, 2, 0, 1, 3, 0.1]):
            counted = torch.tensor(measure, dtype=torch.float64)
            steps = jaccard_steps(errors, torch.tensor(own), counted)
            want = extension(errors, own, measure)
            assert float((errors * steps).sum()) == pytest.approx(want, abs=1e-12)
            checked += 1
    assert checked == 256


def wanted(loss, logits, labels):
    """Of a group of images, from the definition."""
    channels = len(logits[0])
    p = logits.movedim(1, 0).flatten(1)
    label = labels.flatten()
    p = p if channels == 1 else p.softmax(0)
    measure = (label != 255).double().tolist()
    present = sorted(set(label.tolist()) - {255})
    chosen = {'present': present, 'all': range(channels)}.get(str(loss.classes), loss.classes)
    if channels == 1:
        own = (label == 1).tolist()
        errors = (1 - p[0] * torch.where(label == 1, 1, -1)).relu()
        return extension(errors, own, measure)
    values = []
    for k in chosen:
        own = label == k
        value = extension((own.double() - p[k]).abs(), own.tolist(), measure)
        values.append(value * (loss.class_weight[k] if loss.class_weight else 1))
    return sum(values) / len(values)


CASES = [
    dict(),
    dict(per_image=True, reduction='sum', loss_weight=0.3),
    dict(classes='all'),
    dict(classes=[0, 3], class_weight=[0.5, 1.0, 2.0, 0.1, 3.0]),
    dict(loss_type='binary'),
    dict(loss_type='binary', per_image=True),
]


@pytest.mark.parametrize('options', CASES, ids=str)
def test_values_and_gradients(options):
    torch.manual_seed(0)
    loss, channels = LovaszLoss(**options), 1 if 'loss_type' in options else 5
    logits = torch.randn(2, channels, 4, 5, dtype=torch.float64, requires_grad=True)
    labels = random_labels(2, (4, 5), classes=max(channels, 2))
    groups = [slice(0, 1), slice(1, 2)] if loss.per_image else [slice(0, 2)]
    each = [wanted(loss, logits.detach()[g], labels[g]) for g in groups]
    total = sum(each) if loss.reduction == 'sum' else sum(each) / len(each)
    got = loss(logits, labels, ignore_index=255)
    assert got.item() == pytest.approx(loss.loss_weight * total, rel=1e-6)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels, ignore_index=255), logits)


def test_of_hard_predictions_it_is_one_minus_the_iou():
    torch.manual_seed(0)
    labels, found = random_labels(1, (9, 8)), torch.randint(0, 5, (1, 9, 8))
    logits = torch.full((1, 5, 9, 8), -200.0).scatter_(1, found[:, None], 200.0)
    valid, ious = labels != 255, []
    for k in range(5):
        own, taken = (labels == k) & valid, (found == k) & valid
        ious.append(((own & taken).sum() / (own | taken).sum()).item())
    assert LovaszLoss()(logits, labels).item() == pytest.approx(1 - sum(ious) / 5, rel=1e-6)


@pytest.mark.parametrize('options', CASES[:2] + CASES[-1:], ids=str)
def test_pixels_of_weight_0_are_as_ignored(options):
    torch.manual_seed(0)
    channels = 1 if 'loss_type' in options else 5
    logits, labels = torch.randn(2, channels, 6, 7), torch.randint(0, max(channels, 2), (2, 6, 7))
    kept = torch.rand(2, 6, 7) < 0.7
    loss = LovaszLoss(**options)
    got = loss(logits, labels, weight=kept.float(), ignore_index=255)
    assert torch.equal(got, loss(logits, labels.masked_fill(~kept, 255), ignore_index=255))


def test_the_gradient_takes_one_number_for_each_logit():
    logits, held = torch.randn(1, 5, 32, 32, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: held.append(t.numel()) or t, id):
        LovaszLoss()(logits, random_labels(1, (32, 32)))
    assert sum(held) <= 2 * logits.numel() + 100  # the probabilities, and this


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(loss_type='binery'), "loss_type='binery' is neither"),
        (dict(classes='some'), "classes='some' is neither"),
        (dict(classes=[7]), r'classes=\[7\] has numbers that are none of the 5 classes, 0 to 4'),
        (dict(loss_type='binary'), 'compares one channel with labels of 0 and 1, and is given 5'),
    ],
)
def test_what_cannot_be_is_refused(options, said):
    with pytest.raises(UserError, match=said):
        LovaszLoss(**options)(torch.randn(1, 5, 3, 3), torch.zeros(1, 3, 3, dtype=torch.uint8))


def test_edges_and_the_rest_weigh_the_same():
    torch.manual_seed(0)
    logits = torch.randn(2, 1, 6, 7, dtype=torch.float64, requires_grad=True)
    labels = random_labels(2, (6, 7), classes=2)
    z, label = logits.detach().flatten().tolist(), labels.flatten().tolist()
    edges, others = label.count(1), label.count(0)
    total = 0.0
    for value, t in zip(z, label):
        p = 1 / (1 + torch.tensor(-value, dtype=torch.float64).exp())
        if t == 1:
            total -= others / (edges + others) * p.log()
        elif t == 0:
            total -= edges / (edges + others) * (1 - p).log()
    loss = BoundaryLoss(loss_weight=20.0)
    got = loss(logits, labels, ignore_index=255)
    assert got.item() == pytest.approx(20 * float(total) / len(z), rel=1e-6)
    assert torch.equal(loss(logits, labels[:, None]), got)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), logits)
