"""OHEM against sorting all pixels by hand."""

import pytest
import torch
import torch.nn.functional as F
from helpers.heads import SMALL, random_labels, samples_of

from segkit.models.decode_heads import FCNHead
from segkit.models.ohem_sampler import OHEMPixelSampler

CE = {'type': 'CrossEntropyLoss'}


def head_with(**kwargs):
    return FCNHead(**SMALL, sampler={'type': 'OHEMPixelSampler', **kwargs})


@pytest.fixture
def case():
    torch.manual_seed(0)
    labels = random_labels(2, (12, 10))
    return torch.randn(2, 5, 12, 10), labels[:, None]


def own_probabilities(logits, labels):
    """(probability of the own class, pixel) of every labelled pixel, rising."""
    p = logits.double().softmax(1)
    n, _, h, w = logits.shape
    rows = []
    for image in range(n):
        for y in range(h):
            for x in range(w):
                label = int(labels[image, 0, y, x])
                if label != 255:
                    rows.append((float(p[image, label, y, x]), (image, y, x)))
    return sorted(rows)


@pytest.mark.parametrize(('thresh', 'min_kept'), [(0.7, 10), (0.05, 40), (0.05, 1000)])
def test_keeps_the_unsure_and_at_least_so_many(case, thresh, min_kept):
    logits, labels = case
    got = head_with(thresh=thresh, min_kept=min_kept).sampler.sample(logits, labels)
    ranked = own_probabilities(logits, labels)
    limit = max(ranked[min(2 * min_kept, len(ranked) - 1)][0], thresh)
    want = torch.zeros(2, 12, 10)
    for probability, pixel in ranked:
        want[pixel] = float(probability < limit)
    assert torch.equal(got, want)


@pytest.mark.parametrize('losses', [CE, [CE, {**CE, 'loss_name': 'loss_b', 'loss_weight': 3.0}]])
@pytest.mark.parametrize('min_kept', [15, 1000])
def test_keeps_the_highest_losses(case, losses, min_kept):
    logits, labels = case
    head = FCNHead(
        **SMALL, loss_decode=losses, sampler={'type': 'OHEMPixelSampler', 'min_kept': min_kept}
    )
    got = head.sampler.sample(logits, labels)
    hardest = [pixel for _, pixel in own_probabilities(logits, labels)][: 2 * min_kept]
    want = torch.zeros(2, 12, 10)
    for pixel in hardest:
        want[pixel] = 1
    assert torch.equal(got, want)


SIGMOID = {**CE, 'use_sigmoid': True}
ONE_CHANNEL = {'num_classes': 2, 'out_channels': 1, 'threshold': 0.5, 'loss_decode': SIGMOID}


@pytest.mark.parametrize('kwargs', [{}, {'thresh': 0.6}], ids=['by loss', 'by probability'])
def test_a_binary_head_of_one_channel_keeps_its_hard_pixels(kwargs):
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 1, 12, 10), random_labels(2, (12, 10), classes=2)
    sampler = {'type': 'OHEMPixelSampler', 'min_kept': 20, **kwargs}
    head = FCNHead(**{**SMALL, **ONE_CHANNEL}, sampler=sampler)
    positive = logits[:, 0].sigmoid()
    own = torch.where(labels == 1, positive, 1 - positive).masked_fill(labels == 255, 2)
    limit = own.flatten().sort().values[40]
    want = own < (limit.clamp(min=0.6) if kwargs else limit)
    assert torch.equal(head.sampler.sample(logits, labels[:, None]), want.float())


def test_sigmoid_losses_are_ranked_by_their_sum_over_classes(case):
    logits, labels = case
    sampler = {'type': 'OHEMPixelSampler', 'min_kept': 15}
    head = FCNHead(**SMALL, loss_decode=[SIGMOID, CE], sampler=sampler)
    safe = labels.long().masked_fill(labels == 255, 0)
    hot = torch.zeros_like(logits).scatter_(1, safe, 1.0)
    each = F.binary_cross_entropy_with_logits(logits, hot, reduction='none').sum(1)
    each = each + F.cross_entropy(logits, safe[:, 0], reduction='none')
    limit = each.masked_fill(labels[:, 0] == 255, 0).flatten().sort(descending=True).values[29]
    want = ((each >= limit) & (labels[:, 0] != 255)).float()
    assert torch.equal(head.sampler.sample(logits, labels), want)
    losses = head.loss([torch.randn(2, 16, 6, 7)], samples_of(random_labels(2, (48, 56))))
    assert losses['loss_ce'] > 0


def test_the_loss_of_a_head_counts_only_kept_pixels():
    torch.manual_seed(0)
    head = head_with(thresh=0.3, min_kept=50).eval()
    x, labels = torch.randn(2, 16, 6, 7), random_labels(2, (48, 56))
    losses = head.loss([x], samples_of(labels))
    wide = F.interpolate(head([x]), (48, 56), mode='bilinear')
    kept = head.sampler.sample(wide, labels[:, None])
    each = F.cross_entropy(wide, labels.long(), ignore_index=255, reduction='none')
    torch.testing.assert_close(losses['loss_ce'], (each * kept).sum() / labels.numel())
    assert 0 < kept.mean() < 0.8
    losses['loss_ce'].backward()
    assert head.conv_seg.weight.grad.abs().sum() > 0


def test_nothing_labelled_keeps_nothing():
    labels = torch.full((1, 1, 4, 4), 255, dtype=torch.uint8)
    for kwargs in ({}, {'thresh': 0.7}):
        weight = head_with(**kwargs).sampler.sample(torch.randn(1, 5, 4, 4), labels)
        assert weight.shape == (1, 4, 4)
        assert weight.sum() == 0


def test_too_few_to_keep_is_refused():
    with pytest.raises(ValueError, match='min_kept must be above 1, got 1'):
        OHEMPixelSampler(None, min_kept=1)
