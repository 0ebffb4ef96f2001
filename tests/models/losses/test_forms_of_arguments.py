"""Labels, weights and arguments in the other forms that code written for mmsegmentation gives."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segkit.errors import UserError
from segkit.models import losses
from segkit.models.losses import CrossEntropyLoss, DiceLoss, FocalLoss, LovaszLoss, TverskyLoss
from segkit.models.losses.head_loss import HeadLoss

KINDS = sorted(
    (kind for kind in vars(losses).values()
     if isinstance(kind, type) and issubclass(kind, HeadLoss) and kind is not HeadLoss),
    key=lambda kind: kind.__name__,
)  # fmt: skip
WEIGHTS = [0.5, 1.0, 2.0, 0.1, 3.0]
FORMS = {
    'tuple': tuple, 'array': np.array, 'tensor': torch.tensor,
    'float32': lambda values: np.array(values, np.float32),
}  # fmt: skip


def drawn(*shape, classes=5, seed=0):
    torch.manual_seed(seed)
    logits = torch.randn(*shape, dtype=torch.float64)
    return logits, torch.randint(0, classes, (shape[0], *shape[2:]))


def one_hot(labels, classes=5):
    return F.one_hot(labels, classes).movedim(-1, 1)


def test_the_sweep_is_over_all_losses():
    assert len(KINDS) == 6, KINDS


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    'given',
    [dict(loss_weight='1'), dict(loss_weight=None), dict(loss_name=1), dict(loss_weight=[1])],
)
def test_a_factor_or_name_of_another_kind_is_refused(kind, given):
    with pytest.raises(UserError, match=f'{kind.__name__}: {next(iter(given))}='):
        kind(**given)


@pytest.mark.parametrize('kind', [kind for kind in KINDS if kind.__name__ not in
                                  ('BoundaryLoss', 'TverskyLoss')])  # fmt: skip
def test_an_unknown_reduction_is_refused_when_the_loss_is_built(kind):
    with pytest.raises(UserError, match="'none', 'sum' or 'mean', not 'average'"):
        kind(reduction='average')


@pytest.mark.parametrize('kind', KINDS)
def test_without_an_ignored_label_all_pixels_count(kind):
    one = kind.one_channel
    logits, labels = drawn(2, 1 if one else 5, 4, 6, classes=2 if one else 5)
    loss = kind()
    torch.testing.assert_close(loss(logits, labels, ignore_index=None),
                               loss(logits, labels, ignore_index=99), rtol=0, atol=0)  # fmt: skip


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('kind', [CrossEntropyLoss, FocalLoss, LovaszLoss, TverskyLoss])
def test_class_weights_in_any_form(kind, form):
    logits, labels = drawn(2, 5, 4, 6)
    got = kind(class_weight=FORMS[form](WEIGHTS))(logits, labels)
    torch.testing.assert_close(got, kind(class_weight=WEIGHTS)(logits, labels), rtol=0, atol=0)
    assert (got - kind()(logits, labels)).abs() > 1e-3


@pytest.mark.parametrize('given', [torch.ones(2, 5), [[1.0], [2.0]], [1.0, None], 1.0, ['a'],
                                   [float('nan')] * 5])  # fmt: skip
def test_class_weights_that_are_none_are_refused(given):
    with pytest.raises(UserError, match='class_weight cannot be used: .*one number per class'):
        CrossEntropyLoss(class_weight=given)


@pytest.mark.parametrize('shape', [(2, 5), (3, 5, 4, 6)])
@pytest.mark.parametrize('over', ['all', 'channels'])
@pytest.mark.parametrize('avg_non_ignore', [False, True])
def test_a_class_weight_for_each_number_of_a_sigmoid(shape, over, avg_non_ignore):
    logits, _ = drawn(*shape)
    target = torch.rand(*shape, dtype=torch.float64)
    if over == 'all':
        weights = torch.rand(*shape)
    else:
        weights = torch.rand(1, shape[1], *[1] * (len(shape) - 2))
    loss = CrossEntropyLoss(True, class_weight=weights, avg_non_ignore=avg_non_ignore)
    w = weights.double()
    each = -(w * target * F.logsigmoid(logits) + (1 - target) * F.logsigmoid(-logits))
    torch.testing.assert_close(loss(logits, target), each.mean(), rtol=1e-6, atol=0)
    out = torch.rand(shape) < 0.3
    assert 0 < out.sum() < out.numel()
    want = each[~out].mean() if avg_non_ignore else each[~out].sum() / out.numel()
    got = loss(logits, target.masked_fill(out, 10), ignore_index=10)
    torch.testing.assert_close(got, want, rtol=1e-6, atol=0)
    labels = torch.randint(0, 5, (shape[0], *shape[2:]))
    torch.testing.assert_close(loss(logits, labels), loss(logits, one_hot(labels)))


def test_class_weights_that_spread_over_nothing_are_refused():
    logits, labels = drawn(2, 5, 4, 6)
    with pytest.raises(UserError, match=r'shape \(2, 3\) does not spread over logits of'):
        CrossEntropyLoss(True, class_weight=torch.ones(2, 3))(logits, labels)


@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
@pytest.mark.parametrize('loss', [DiceLoss(), DiceLoss(False, naive_dice=True, ignore_index=1),
                                  FocalLoss(), FocalLoss(gamma=0.5, class_weight=WEIGHTS)],
                         ids=str)  # fmt: skip
@pytest.mark.parametrize('shape', [(2, 5, 4, 6), (7, 5), (2, 5, 9)])
def test_one_hot_labels_are_class_indices(loss, reduction, shape):
    logits, labels = drawn(*shape)
    for ignored in (255, 3):
        call = dict(reduction_override=reduction, ignore_index=ignored)
        want = loss(logits, labels, **call)
        for dtype in (torch.int64, torch.uint8, torch.bool, torch.float32):
            assert torch.equal(loss(logits, one_hot(labels).to(dtype), **call), want)


def test_the_map_of_one_channel_is_its_labels():
    logits, labels = drawn(2, 1, 4, 6, classes=2)
    labels[0, 0] = 255
    for loss in (DiceLoss(), FocalLoss()):
        want = loss(logits, labels, ignore_index=255)
        for dtype in (torch.uint8, torch.float32):
            got = loss(logits, labels.unsqueeze(1).to(dtype), ignore_index=255)
            torch.testing.assert_close(got, want, rtol=0, atol=0)


@pytest.mark.parametrize('classes', [1, 4])
@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_focal_of_shares(classes, gamma):
    logits, _ = drawn(2, classes, 4, 6)
    t = torch.rand(2, classes, 4, 6, dtype=torch.float64)
    weight, p = torch.rand(2, 4, 6, dtype=torch.float64), logits.sigmoid()
    want = -(t * p.log() + (1 - t) * (1 - p).log()) * (t * (1 - p) + (1 - t) * p) ** gamma
    want = want * (0.25 * t + 0.75 * (1 - t)) * weight[:, None]
    if classes > 1:
        want = want * (t.argmax(1) != 2)[:, None]
    loss, ignored = FocalLoss(gamma=gamma, alpha=0.25), 2
    got = loss(logits, t, weight, reduction_override='none', ignore_index=ignored)
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-9)
    got = loss(logits, t, weight, ignore_index=ignored)
    torch.testing.assert_close(got, want.mean(), rtol=1e-6, atol=1e-9)
    leaf = logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, t), leaf)


@pytest.mark.parametrize('naive', [False, True])
@pytest.mark.parametrize('overlapping', [False, True])
def test_dice_of_shares(naive, overlapping):
    logits, _ = drawn(3, 4, 5, 6)
    t = torch.rand(3, 4, 5, 6, dtype=torch.float64)
    t = (t > 0.4).double() if overlapping else t
    counts = torch.rand(3, 5, 6, dtype=torch.float64)
    seen = counts * (t.argmax(1) != 1)
    p, eps = logits.sigmoid(), 1e-3
    losses_of = []
    for i in range(3):
        a = b = c = 0.0
        for k in (0, 1, 3):  # 2 is the class to leave out
            a += (p[i, k] * t[i, k] * seen[i]).sum()
            b += (p[i, k] ** (1 if naive else 2) * seen[i]).sum()
            c += (t[i, k] ** (1 if naive else 2) * seen[i]).sum()
        losses_of.append(
            1 - ((2 * a + eps) / (b + c + eps) if naive else 2 * a / (b + c + 2 * eps))
        )
    loss = DiceLoss(naive_dice=naive, ignore_index=2, reduction='none')
    got = loss(logits, t, counts, ignore_index=1)
    torch.testing.assert_close(got, torch.stack(losses_of), rtol=1e-6, atol=1e-9)
    assert torch.autograd.gradcheck(lambda x: loss(x, t), logits.requires_grad_())


@pytest.mark.parametrize('loss', [DiceLoss(), FocalLoss()])
def test_shares_beyond_one_are_refused(loss):
    logits, labels = drawn(2, 5, 4, 6)
    with pytest.raises(UserError, match='values outside 0 to 1. Give the share of each class'):
        loss(logits, 2 * one_hot(labels))


@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
@pytest.mark.parametrize('shape', [(2, 5, 4, 6), (7, 5)])
def test_weights_of_focal_in_a_row_or_of_each_number(reduction, shape):
    logits, labels = drawn(*shape)
    labels.view(-1)[::4] = 255
    loss, weight = FocalLoss(), torch.rand(labels.shape, dtype=torch.float64)
    want = loss(logits, labels, weight, reduction_override=reduction)
    row = weight.reshape(-1)
    for given in (row, row[:, None], row[:, None].expand(-1, 5), weight[:, None].expand(shape)):
        got = loss(logits, labels, given, reduction_override=reduction)
        torch.testing.assert_close(got, want, rtol=0, atol=0)
    each = torch.rand(shape, dtype=torch.float64)
    want = loss(logits, labels, reduction_override='none') * each
    want = {'none': want, 'sum': want.sum(), 'mean': want.mean()}[reduction]
    for given in (each, each.movedim(1, -1).reshape(-1, 5)):
        got = loss(logits, labels, given, reduction_override=reduction)
        torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize('kind', [kind for kind in KINDS if kind.__name__ in
                                  ('BoundaryLoss', 'FocalLoss')])  # fmt: skip
def test_weights_of_images(kind):
    logits, labels = drawn(3, 1, 4, 6, classes=2)
    weight = torch.tensor([0.5, 2.0, 0.0], dtype=torch.float64)
    wide = weight[:, None, None].expand(labels.shape)
    assert torch.equal(kind()(logits, labels, weight), kind()(logits, labels, wide))


@pytest.mark.parametrize('per_image', [False, True])
def test_lovasz_of_one_channel_without_its_dimension(per_image):
    logits, labels = drawn(2, 1, 4, 6, classes=2)
    labels[0, 0] = 255
    loss = LovaszLoss('binary', per_image=per_image)
    assert torch.equal(loss(logits[:, 0], labels), loss(logits, labels))


@pytest.mark.parametrize(
    'given', [dict(gamma='2'), dict(alpha='test'), dict(alpha=[0.1, 'x']), dict(gamma=None)]
)
def test_arguments_of_focal_that_are_no_numbers_are_refused(given):
    with pytest.raises(UserError, match=f'FocalLoss: {next(iter(given))}=.* is no number'):
        FocalLoss(**given)


def test_focal_is_of_sigmoids_whenever_it_is_told_otherwise():
    loss = FocalLoss()
    loss.use_sigmoid = False
    with pytest.raises(UserError, match='use_sigmoid=False is not there'):
        loss(*drawn(2, 5, 4, 6))


@pytest.mark.parametrize('avg_non_ignore', [False, True])
def test_the_words_that_print_beside_a_loss(avg_non_ignore):
    loss = CrossEntropyLoss(avg_non_ignore=avg_non_ignore)
    assert loss.extra_repr() == f'avg_non_ignore={avg_non_ignore}'
