"""Dice and Tversky against loops over pixels in float64, and by bands against the whole."""

import pytest
import torch
import torch.nn.functional as F
from helpers.heads import random_labels, samples_of

from segkit.errors import UserError
from segkit.models.decode_heads import FCNHead
from segkit.models.losses import DiceLoss, FocalLoss, TverskyLoss, bands

WEIGHTS = [0.5, 1.0, 2.0, 0.1, 3.0]
CASES = {
    'dice': DiceLoss(),
    'dice, softmax': DiceLoss(use_sigmoid=False, loss_weight=0.4),
    'dice, naive': DiceLoss(naive_dice=True, eps=1.0, ignore_index=2, reduction='sum'),
    'dice, probabilities': DiceLoss(activate=False),
    'tversky': TverskyLoss(),
    'tversky, weighted': TverskyLoss(alpha=0.6, beta=0.9, smooth=0.5, class_weight=WEIGHTS),
    'tversky, a class left out': TverskyLoss(ignore_index=2),
    'focal': FocalLoss(),
    'focal, weighted': FocalLoss(alpha=[0.1, 0.2, 0.3, 0.4, 0.5], gamma=0.5, class_weight=WEIGHTS),
    'focal, labelled': FocalLoss(avg_non_ignore=True, reduction='sum', loss_weight=3.0),
}


def by_hand(loss, logits, labels, weight):
    """The formula of one image, pixel by pixel."""
    count = len(logits)
    left_out = getattr(loss, 'ignore_index', 255)
    sigmoid = loss.use_sigmoid
    hits, found, wanted = ([0.0] * count for _ in range(3))
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            label, z = int(labels[y, x]), logits[:, y, x]
            if label == 255 or (isinstance(loss, TverskyLoss) and label == left_out):
                continue
            p = z.sigmoid() if sigmoid else z.softmax(0)
            p = z if not getattr(loss, 'activate', True) else p
            for k in range(count):
                w, t = float(weight[y, x]), float(k == label)
                hits[k] += w * p[k] * t
                found[k] += w * (p[k] ** 2 if getattr(loss, 'squared', False) else p[k])
                wanted[k] += w * t
    classes = [k for k in range(count) if k != left_out]
    if isinstance(loss, DiceLoss):
        a, b, c = (sum(part[k] for k in classes) for part in (hits, found, wanted))
        return 1 - ((2 * a + loss.eps) / (b + c + loss.eps) if loss.naive_dice
                    else 2 * a / (b + c + 2 * loss.eps))  # fmt: skip
    total = 0.0
    for k in classes:
        false, missed = found[k] - hits[k], wanted[k] - hits[k]
        whole = hits[k] + loss.alpha * false + loss.beta * missed + loss.smooth
        one = 1 - (hits[k] + loss.smooth) / whole
        total += one * (1 if loss.class_weight is None else loss.class_weight[k])
    return total / count


@pytest.mark.parametrize('name', [name for name in CASES if 'focal' not in name])
@pytest.mark.parametrize('weighted', [False, True])
def test_values_are_those_of_the_formula(name, weighted):
    loss = CASES[name]
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 5, 4, 5, dtype=torch.float64), random_labels(2, (4, 5))
    weight = torch.rand(2, 4, 5, dtype=torch.float64) if weighted else torch.ones(2, 4, 5)
    each = torch.stack([by_hand(loss, *one) for one in zip(logits, labels, weight)])
    given = weight if weighted else None
    got = loss(logits, labels, weight=given, reduction_override='none', ignore_index=255)
    torch.testing.assert_close(got, loss.loss_weight * each, rtol=1e-6, atol=1e-9)
    reduced = each.sum() if loss.reduction == 'sum' else each.mean()
    got = loss(logits, labels, weight=given, ignore_index=255)
    torch.testing.assert_close(got, loss.loss_weight * reduced, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize('name', CASES)
def test_gradients(name):
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 3, 4, dtype=torch.float64, requires_grad=True)
    labels, weight = random_labels(2, (6, 7)), torch.rand(2, 3, 4)
    loss = CASES[name].double()
    assert torch.autograd.gradcheck(
        lambda x: loss(x, labels[:, :3, :4], weight=weight, ignore_index=255), logits
    )
    assert torch.autograd.gradcheck(lambda x: loss.forward_small(x, labels, 255).loss, logits)


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('align_corners', [False, True])
def test_bands_of_any_size_equal_the_upsampled_logits(monkeypatch, name, align_corners):
    torch.manual_seed(0)
    loss = CASES[name].double()
    logits = torch.randn(2, 5, 9, 8, dtype=torch.float64, requires_grad=True)
    labels = random_labels(2, (61, 70))
    wide = F.interpolate(logits, (61, 70), mode='bilinear', align_corners=align_corners)
    want = loss(wide, labels, ignore_index=255)
    (exact,) = torch.autograd.grad(want, logits)
    hits = int((wide.argmax(1) == labels).sum())
    for size in (bands.CPU, bands.DEVICE, bands.AtOnce(1, 16, argmax=False)):
        monkeypatch.setattr(bands, 'CPU', size)
        got, correct = loss.forward_small(logits, labels, 255, align_corners, accurate=True)
        (gradient,) = torch.autograd.grad(got, logits)
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(gradient, exact, rtol=1e-8, atol=1e-12)
        assert int(correct) == hits


@pytest.mark.parametrize('name', CASES)
def test_nothing_of_label_size_is_kept(name):
    """For 200 classes a one-hot label map alone would be 200 times the labels."""
    logits = torch.randn(1, 5, 8, 8, requires_grad=True)
    labels, held = random_labels(1, (256, 256)), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: held.append(t.numel()) or t, id):
        CASES[name].float().forward_small(logits, labels, 255)
    assert max(held) == labels.numel()


@pytest.mark.parametrize('name', CASES)
def test_an_ignored_pixel_changes_nothing_whatever_is_predicted_there(name):
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 5, 6, 7), random_labels(2, (6, 7))
    other = torch.where((labels == 255)[:, None], 100 * torch.randn(2, 5, 6, 7), logits)
    loss = CASES[name].float()
    want = loss(logits, labels, ignore_index=255)
    assert torch.equal(loss(other, labels, ignore_index=255), want)
    assert not torch.equal(loss(other, labels.masked_fill(labels == 255, 0)), want)


def test_255_classes_and_more_have_a_class_255():
    torch.manual_seed(0)
    logits, labels = torch.randn(1, 300, 6, 6), torch.full((1, 6, 6), 255)
    for loss in (DiceLoss(use_sigmoid=False), TverskyLoss(smooth=0.01)):
        value = loss(logits.requires_grad_(), labels, ignore_index=300)
        assert torch.autograd.grad(value, logits)[0][:, 255].abs().sum() > 0


def test_several_losses_in_one_head():
    torch.manual_seed(0)
    kinds = ['CrossEntropyLoss', 'DiceLoss', 'FocalLoss', 'LovaszLoss', 'TverskyLoss']
    head = FCNHead(
        in_channels=4, channels=4, num_classes=5, num_convs=1, dropout_ratio=0,
        loss_decode=[dict(type=kind, loss_weight=0.5) for kind in kinds],
    )  # fmt: skip
    losses = head.loss([torch.randn(2, 4, 4, 5)], samples_of(random_labels(2, (16, 20))))
    names = [name for name in losses if 'loss' in name]
    assert names == ['loss_ce', 'loss_dice', 'loss_focal', 'loss_lovasz', 'loss_tversky']
    assert all(value.requires_grad and value > 0 for name, value in losses.items() if name in names)
    assert 0 <= losses['acc_seg'] <= 100


ONE = dict(in_channels=4, channels=4, num_classes=2, out_channels=1, threshold=0.5, num_convs=1)


@pytest.mark.parametrize('loss', ['DiceLoss', 'FocalLoss', 'BoundaryLoss'])
def test_one_channel_is_that_of_label_1(loss):
    """The right answer costs less than the wrong one."""
    head = FCNHead(**ONE, loss_decode=dict(type=loss))
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    labels[:, :3] = 1
    right = torch.where(labels == 1, 5.0, -5.0)[:, None]
    good, bad = (head.loss_by_feat(x, samples_of(labels)) for x in (right, -right))
    (name,) = [name for name in good if 'loss' in name]
    assert good[name] < 0.05 * bad[name]
    assert (good['acc_seg'], bad['acc_seg']) == (100, pytest.approx(0, abs=1e-5))


@pytest.mark.parametrize(
    ('loss', 'cure'),
    [
        (dict(type='DiceLoss', use_sigmoid=False), dict(use_sigmoid=True)),
        (dict(type='LovaszLoss'), dict(loss_type='binary')),
        (dict(type='TverskyLoss'), None),
    ],
)
def test_a_softmax_of_one_channel_is_refused_with_what_works(loss, cure):
    with pytest.raises(UserError, match='one channel cannot be trained with the softmax') as said:
        FCNHead(**ONE, loss_decode=loss)
    assert ('out_channels=1 and loss_decode.' in str(said.value)) == (cure is not None)
    if cure:
        ((key, value),) = cure.items()
        assert f'loss_decode.{key}={value!r}.' in str(said.value)
        FCNHead(**ONE, loss_decode={**loss, **cure})
    FCNHead(**{**ONE, 'out_channels': 2}, loss_decode=loss)


@pytest.mark.parametrize('loss', [dict(type='BoundaryLoss'),
                                  dict(type='LovaszLoss', loss_type='binary')])  # fmt: skip
def test_a_loss_of_one_channel_is_refused_where_there_are_more(loss):
    with pytest.raises(UserError, match='one channel .* the head predicts 2. Set num_classes=2'):
        FCNHead(**{**ONE, 'out_channels': 2}, loss_decode=loss)


@pytest.mark.parametrize(
    ('loss', 'said'),
    [
        (DiceLoss(), r'DiceLoss: the labels are \(1, 3, 3\), but logits of'),
        (TverskyLoss(class_weight=[1.0]), 'TverskyLoss: class_weight has 1 values'),
        (FocalLoss(alpha=[0.5] * 3), 'FocalLoss: alpha has 3 values, the head predicts 5'),
    ],
)
def test_what_does_not_fit_is_refused(loss, said):
    size = (3, 3) if 'labels' in said else (4, 4)
    with pytest.raises(UserError, match=said):
        loss(torch.randn(1, 5, 4, 4), torch.zeros(1, *size, dtype=torch.uint8))
    with pytest.raises(UserError, match='use_sigmoid=False is not there'):
        FocalLoss(use_sigmoid=False)


def test_focal_without_focus_is_half_the_cross_entropy_of_each_class():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 5, 6, 7), random_labels(2, (6, 7))
    hot = F.one_hot(labels.long().clamp(max=5), 6)[..., :5].permute(0, 3, 1, 2).float()
    plain = F.binary_cross_entropy_with_logits(logits, hot, reduction='none')
    plain = plain * (labels != 255)[:, None]
    got = FocalLoss(gamma=0.0)(logits, labels, reduction_override='none')
    torch.testing.assert_close(got, plain / 2)
    torch.testing.assert_close(FocalLoss(gamma=0.0)(logits, labels), plain.mean() / 2)


def test_focal_against_its_formula():
    torch.manual_seed(0)
    logits, labels = 30 * torch.randn(2, 5, 6, 7, dtype=torch.float64), random_labels(2, (6, 7))
    p = logits.sigmoid()
    own = labels[:, None] == torch.arange(5).view(5, 1, 1)
    pt, alpha = torch.where(own, p, 1 - p), torch.where(own, 0.25, 0.75)
    want = -alpha * (1 - pt) ** 1.5 * torch.where(own, F.logsigmoid(logits), F.logsigmoid(-logits))
    want = want * (labels != 255)[:, None]
    loss = FocalLoss(gamma=1.5, alpha=0.25)
    got = loss(logits, labels, reduction_override='none', ignore_index=255)
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(loss(logits, labels), want.mean(), rtol=1e-6, atol=0)
    assert loss(logits, labels, avg_factor=7.0).item() == pytest.approx(want.sum().item() / 7)
