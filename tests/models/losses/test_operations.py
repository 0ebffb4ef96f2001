"""How many operations a loss and its gradient issue on a device, where each is a launch: for two
crops of Cityscapes, every registered loss with every kind of setting.
"""

import contextlib

import pytest
import torch
from helpers import found
from helpers.operations import Operations

from segkit.registry import MODELS

CLASSES = 19
WEIGHTS = [1 + k / CLASSES for k in range(CLASSES)]
ONE = dict(use_sigmoid=True)
# loss -> its settings and how many operations are the most; those of one channel have 'binary'.
LOSSES = {
    'CrossEntropyLoss': (
        ({}, 60),
        (dict(avg_non_ignore=True), 60),
        (dict(class_weight=WEIGHTS), 60),
        (dict(class_weight=WEIGHTS, avg_non_ignore=True), 60),
        (dict(reduction='sum'), 60),
        (ONE, 60),
        (dict(class_weight=WEIGHTS, avg_non_ignore=True, **ONE), 60),
    ),
    'DiceLoss': (({}, 110), (dict(use_sigmoid=False, naive_dice=True), 110)),
    'TverskyLoss': (({}, 120), (dict(class_weight=WEIGHTS), 120)),
    'FocalLoss': (({}, 110), (dict(alpha=WEIGHTS, class_weight=WEIGHTS), 110)),
    # A sort of each class, and of each picture apart.
    'LovaszLoss': (
        (dict(classes='all'), 42 * CLASSES),
        (dict(classes='all', per_image=True, class_weight=WEIGHTS), 2 * 42 * CLASSES),
        (dict(loss_type='binary'), 60),
    ),
    'BoundaryLoss': (({}, 60),),
}
SWEPT = [(name, *case) for name, cases in LOSSES.items() for case in cases]


@pytest.fixture(autouse=True)
def _no_autocast(monkeypatch):
    """Which does not know 'meta'."""
    monkeypatch.setattr(torch, 'autocast', lambda *_, **__: contextlib.nullcontext())


@pytest.mark.parametrize(('name', 'options', 'most'), SWEPT)
def test_a_loss_and_its_gradient_are_few_operations(name, options, most):
    loss = MODELS.build(dict(type=name, **options))
    one = getattr(loss, 'one_channel', False)
    logits = torch.empty(2, 1 if one else CLASSES, 64, 128, device='meta', requires_grad=True)
    labels = torch.empty(2, 512, 1024, dtype=torch.uint8, device='meta')
    with Operations() as counted:
        if getattr(loss, 'takes_small_logits', False):
            value = loss.forward_small(logits, labels, 255, False, True).loss
        else:
            full = torch.nn.functional.interpolate(logits, (512, 1024), mode='bilinear')
            value = loss(full, labels.long(), ignore_index=255)
        value.backward()
    assert 10 < counted.issued.total() <= most
    assert logits.grad.shape == logits.shape


def test_every_loss_is_swept():
    assert set(LOSSES) == set(found.losses())
