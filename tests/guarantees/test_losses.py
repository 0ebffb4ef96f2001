"""Every head with every loss, every loss alone, every pixel sampler and preprocessor: nothing that
is given is written into, and neither type nor layout of the labels, nor the batch they come in,
changes a value.
"""

import copy
import itertools

import pytest
import torch
from helpers import found
from helpers.heads import random_labels, samples_of, with_random_state
from helpers.untouched import untouched
from torchmetrics.functional.classification import multiclass_accuracy

from segkit.errors import UserError
from segkit.models.losses import Accuracy
from segkit.registry import MODELS, TASK_UTILS
from segkit.structures import PixelData

WEIGHTS = [0.5, 1.0, 2.0, 0.1, 3.0]
# A loss that is not named here is swept with its defaults.
LOSSES = {
    'CrossEntropyLoss': [
        {},
        {'class_weight': WEIGHTS},
        {'avg_non_ignore': True},
        {'class_weight': WEIGHTS, 'avg_non_ignore': True, 'loss_weight': 0.4},
        {'reduction': 'sum', 'loss_weight': 0},
        {'use_sigmoid': True},
        {'use_sigmoid': True, 'class_weight': WEIGHTS, 'avg_non_ignore': True},
    ],
    'DiceLoss': [{}, {'use_sigmoid': False, 'naive_dice': True, 'ignore_index': 1}],
    'TverskyLoss': [{}, {'class_weight': WEIGHTS, 'ignore_index': 2, 'smooth': 0, 'alpha': 0.6}],
    'FocalLoss': [
        {},
        {'gamma': 0.5, 'alpha': [0.2, 0.5, 0.7, 0.9, 0.4], 'class_weight': WEIGHTS},
        {'reduction': 'sum', 'avg_non_ignore': True},
    ],
    'LovaszLoss': [
        {},
        {'per_image': True, 'class_weight': WEIGHTS, 'classes': 'all'},
        {'per_image': True, 'loss_type': 'binary'},
    ],
}
# Losses whose values without a reduction are those of the batch, or hang on all of it.
OF_THE_BATCH = [{'type': 'LovaszLoss'}, {'type': 'BoundaryLoss'}]
SAMPLERS = {
    'OHEMPixelSampler': [{'min_kept': 40}, {'thresh': 0.3, 'min_kept': 40}],
}
HEADS = {
    'DAHead': {'pam_channels': 2},
    'ISAHead': {'isa_channels': 4},
    'PSAHead': {'mask_size': (3, 3)},
    'DepthwiseSeparableASPPHead': {'c1_in_channels': 6, 'c1_channels': 2},
}
SMALL = {'in_channels': 6, 'channels': 4, 'num_classes': 5, 'dropout_ratio': 0}
BINARY = {'num_classes': 2, 'out_channels': 1, 'threshold': 0.4}
SIGMOID = {'type': 'CrossEntropyLoss', 'use_sigmoid': True}
SIZE = (24, 20)
DTYPES = (torch.uint8, torch.int32, torch.int64, torch.uint16)


def strided(labels):
    """The same values with gaps between them."""
    wide = torch.full((*labels.shape[:-1], 2 * labels.shape[-1]), 77, dtype=labels.dtype)
    wide[..., ::2] = labels
    return wide[..., ::2]


LAYOUTS = {
    'plain': lambda labels: labels,
    'transposed': lambda labels: labels.mT.contiguous().mT if labels.dim() > 1 else labels,
    'strided': strided,
}
KINDS = [*itertools.product(DTYPES, LAYOUTS)]
FEW = [(dtype, 'plain') for dtype in DTYPES] + [
    (torch.int64, 'transposed'),
    (torch.int32, 'strided'),
]


def loss_configs():
    every = {name: LOSSES.get(name, [{}]) for name in found.losses()}
    return [{'type': name, **args} for name, many in every.items() for args in many]


def channels(config):
    """Of the head that has the loss: 1 where it takes no more."""
    one = config['type'] == 'BoundaryLoss' or config.get('loss_type') == 'binary'
    return 1 if one else 5


def labels_of(config, batch, size):
    """Random ones that are classes of a head with the loss."""
    return random_labels(batch, size, classes=max(channels(config), 2))


def sampler_configs():
    every = {name: SAMPLERS.get(name, [{}]) for name in found.pixel_samplers()}
    return [{'type': name, **args} for name, many in every.items() for args in many]


def head_configs():
    """Every head with each loss, with two losses, with each sampler, and with one channel."""
    every = loss_configs()
    losses = [c for c in every if c['type'] == 'CrossEntropyLoss' or len(c) == 1]
    losses += [c for c in every if channels(c) == 1 and len(c) > 1]
    choices = [
        {'loss_decode': loss} if channels(loss) > 1 else {**BINARY, 'loss_decode': loss}
        for loss in losses
    ]
    usual = [{'type': 'CrossEntropyLoss', **args} for args in LOSSES['CrossEntropyLoss'][:2]]
    choices += [{'loss_decode': [usual[0], {**loss, 'loss_name': 'loss_b'}]} for loss in usual]
    choices += [{'loss_decode': [loss for loss in losses if channels(loss) > 1]}]
    choices += [{'sampler': sampler} for sampler in sampler_configs()]
    choices += [{**BINARY, 'loss_decode': SIGMOID}]
    choices += [
        {**BINARY, 'loss_decode': SIGMOID, 'sampler': sampler} for sampler in sampler_configs()
    ]
    for name in found.heads():
        for choice in choices:
            yield {'type': name, **SMALL, **HEADS.get(name, {}), **choice}


def built(config):
    torch.manual_seed(0)
    return with_random_state(MODELS.build(config)).eval()


def maps():
    torch.manual_seed(1)
    return torch.randn(2, 6, 6, 5)


def labels_for(config, ignored=255):
    torch.manual_seed(2)
    labels = random_labels(2, SIZE, classes=config.get('num_classes', 5))
    return labels.long().masked_fill(labels == 255, ignored) if ignored != 255 else labels


def every_kind(labels, kinds=KINDS):
    """(what it is, the labels) for each type and layout that can hold them."""
    for dtype, layout in kinds:
        if labels.to(dtype).long().equal(labels.long()):
            yield f'{dtype}, {layout}', LAYOUTS[layout](labels.to(dtype))


def differing(got, want):
    assert got.keys() == want.keys()
    return [name for name in want if not torch.equal(got[name], want[name])]


def test_the_sweep_is_over_everything():
    heads = list(head_configs())
    assert len({config['type'] for config in heads}) == len(found.heads()) >= 5
    assert len(heads) >= 9 * (13 + 3 + 2 + 1 + 2)
    assert len(loss_configs()) >= 18
    assert {config['type'] for config in loss_configs()} == set(found.losses())
    assert len(sampler_configs()) >= 2
    assert len(list(every_kind(torch.zeros(1, 2, 2)))) == 12


@pytest.mark.parametrize('name', found.heads())
def test_heads(name):
    """Losses and gradients, for each loss, type and layout."""
    swept = 0
    for config in head_configs():
        if config['type'] != name:
            continue
        with untouched(config=config):
            head = built(config)
        x, want = maps().requires_grad_(), None
        for what, labels in every_kind(labels_for(config), FEW):
            samples = samples_of(labels, img_path='a.png')
            for sample, label in zip(samples, labels):
                sample.gt_sem_seg = PixelData(data=label[None])
            with untouched(head=head, x=x, samples=samples, labels=labels):
                losses = head.loss([x], samples)
                total = sum(value.sum() for key, value in losses.items() if 'loss' in key)
                found_ = {**losses, 'gradient': torch.autograd.grad(total, x)[0]}
            want = want or found_
            assert not differing(found_, want), (config, what)
            swept += 1
    assert swept >= 21 * len(FEW)


@pytest.mark.parametrize('name', found.heads())
@pytest.mark.parametrize('ignored', [255, 250, 0, -100])
def test_losses_of_training_are_those_of_validation_with_any_ignored_label(name, ignored):
    """Nothing in these heads tells the modes apart but dropout and batch norm, and none is here."""
    configs = [config for config in head_configs() if config['type'] == name]
    assert len(configs) >= 21
    for config in configs:
        head = built({**config, 'ignore_index': ignored})
        labels, ignores = labels_for(config, ignored), {**config}
        samples = samples_of(labels)
        with torch.no_grad():
            want = head.eval().loss([maps()], samples)
            fused = head.loss_by_feat(head([maps()]), samples)  # DANet gives one output of three
            assert not differing(fused, {key: want[key] for key in fused}), ignores
            assert not differing(head.train().loss([maps()], samples), want), ignores
            output = head.train()([maps()])
            assert not differing(head.loss_by_feat(output, samples), want), ignores
        if ignored == 255:
            continue
        usual, plain = built(config), labels.masked_fill(labels == ignored, 255)
        if ignored != 0:  # else a class went
            with torch.no_grad():
                assert not differing(want, usual.loss([maps()], samples_of(plain))), ignores


@pytest.mark.parametrize('config', loss_configs(), ids=lambda config: str(config))
@pytest.mark.parametrize('shape', [(2, 5, 8, 9), (2, 5, 7), (30, 5)])
def test_losses(config, shape):
    shape = (shape[0], channels(config), *shape[2:])
    with untouched(config=config):
        loss = MODELS.build(config)
    torch.manual_seed(0)
    logits = torch.randn(shape, requires_grad=True)
    weight = torch.rand(shape[:1] + shape[2:])
    given = labels_of(config, shape[0], shape[2:])
    for options in ({}, {'weight': weight}, {'reduction_override': 'none', 'weight': weight}):
        want = None
        for what, labels in every_kind(given):
            with untouched(loss=loss, logits=logits, labels=labels, weight=weight):
                value = loss(logits, labels, ignore_index=255, **options)
                (gradient,) = torch.autograd.grad(value.sum(), logits)
            want = want or (value, gradient)
            assert torch.equal(value, want[0]), what
            assert torch.equal(gradient, want[1]), what


@pytest.mark.parametrize(
    'config', [c for c in loss_configs() if c not in OF_THE_BATCH], ids=lambda config: str(config)
)
def test_a_batch_is_its_images(config):
    """The loss of each pixel does not hang on the images beside it."""
    loss = MODELS.build(config)
    torch.manual_seed(0)
    logits, labels = torch.randn(3, channels(config), 8, 9), labels_of(config, 3, (8, 9))
    options = {'ignore_index': 255, 'reduction_override': 'none'}
    whole = loss(logits, labels, **options)
    parts = [loss(logits[i : i + 1], labels[i : i + 1], **options) for i in range(3)]
    torch.testing.assert_close(whole, torch.cat(parts))
    if getattr(loss, 'takes_small_logits', False):
        small = torch.nn.functional.avg_pool2d(logits, 2)
        wide = torch.nn.functional.interpolate(small, (8, 9), mode='bilinear')
        sums = copy.copy(loss)
        sums.reduction = 'sum'
        got = sums.forward_small(small, labels, 255).loss
        torch.testing.assert_close(got, loss(wide, labels, **options).sum())


@pytest.mark.parametrize('config', loss_configs(), ids=lambda config: str(config))
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_losses_in_half_precision_are_added_up_in_float32(config, dtype):
    """Within float32 of float64, for the same rounded logits; 90,000 pixels pass float16's end."""
    loss = MODELS.build(config)
    torch.manual_seed(0)
    logits = torch.randn(1, channels(config), 300, 300).to(dtype)
    labels = labels_of(config, 1, (300, 300))
    want = MODELS.build(config).double()(logits.double(), labels, ignore_index=255)
    for autocast in (True, False):
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            got = loss(logits, labels, ignore_index=255)
        assert got.dtype == torch.float32
        torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('autocast', [True, False])
def test_heads_compute_losses_of_half_precision_in_float32(dtype, autocast):
    """By bands or written out: the same as for the same logits in float32."""
    torch.manual_seed(0)
    swept = 0
    for config in head_configs():
        if config['type'] == 'FCNHead':
            head, samples = built(config), samples_of(labels_for(config))
            logits = torch.randn(2, head.out_channels, 6, 5).to(dtype)
            want = head.loss_by_feat(logits.float(), samples)
            with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
                assert not differing(head.loss_by_feat(logits, samples), want), config
            swept += 1
    assert swept >= 15


@pytest.mark.parametrize('config', loss_configs(), ids=lambda config: str(config))
def test_losses_where_nothing_is_labelled(config):
    loss = MODELS.build(config)
    for dtype in DTYPES:
        logits = torch.randn(2, channels(config), 4, 4, requires_grad=True)
        value = loss(logits, torch.full((2, 4, 4), 255, dtype=dtype), ignore_index=255)
        (gradient,) = torch.autograd.grad(value.sum(), logits)
        assert value.sum() == 0
        assert gradient.abs().max() == 0


def test_accuracy():
    torch.manual_seed(0)
    scores, given, want = torch.randn(2, 5, 9, 8), random_labels(2, (9, 8)), None
    for what, labels in every_kind(given):
        for module in (Accuracy((1, 2), ignore_index=255), Accuracy(1, thresh=0.5)):
            with untouched(scores=scores, labels=labels):
                values = module(scores, labels)
            got = torch.cat(values if isinstance(values, list) else [values])
            want = want or {}
            assert torch.equal(got, want.setdefault(module.thresh, got)), what
    micro = multiclass_accuracy(scores, given.long(), 5, average='micro', ignore_index=255)
    assert want[None][0].item() == pytest.approx(100 * micro.item(), abs=1e-3)


class Context:
    """What a sampler asks of the head it serves."""

    ignore_index = 255

    def __init__(self, loss):
        self.loss_decode = MODELS.build(loss)


@pytest.mark.parametrize('config', sampler_configs(), ids=lambda config: str(config))
@pytest.mark.parametrize('loss', loss_configs(), ids=lambda config: str(config))
def test_samplers(config, loss):
    sampler = TASK_UTILS.build({**config, 'context': Context(loss)})
    torch.manual_seed(0)
    logits, want = torch.randn(2, channels(loss), 9, 8), None
    given = labels_of(loss, 2, (9, 8))[:, None]
    if 'thresh' not in config and not sampler.context.loss_decode.per_pixel:
        with pytest.raises(UserError, match='ranks pixels by their loss, and .* set thresh=0.7'):
            sampler.sample(logits, given)
        return
    for what, labels in every_kind(given):
        with untouched(logits=logits, labels=labels, context=sampler.context.loss_decode):
            weight = sampler.sample(logits, labels)
        want = weight if want is None else want
        assert torch.equal(weight, want), what
        assert 0 < weight.sum() < weight.numel()
        half = logits.half()
        assert torch.equal(sampler.sample(half, labels), sampler.sample(half.float(), labels))
        assert not weight[given[:, 0] == 255].any()


@pytest.mark.parametrize('name', found.preprocessors())
@pytest.mark.parametrize('training', [True, False])
def test_preprocessors(name, training):
    options = {
        'mean': [1.0, 2.0, 3.0],
        'std': [4.0, 5.0, 6.0],
        'bgr_to_rgb': True,
        'size': (16, 24),
    }
    with untouched(options=options):
        preprocessor = MODELS.build({'type': name, **options, 'test_cfg': {'size_divisor': 16}})
    torch.manual_seed(0)
    given, want = random_labels(2, (9, 20)), None
    for what, labels in every_kind(given):
        samples = samples_of(labels, img_path='a.png')
        for sample in samples:
            sample.set_field(PixelData(data=torch.rand(1, 9, 20)), 'gt_depth_map')
        data = {'inputs': [image() for _ in range(2)], 'data_samples': samples}
        with untouched(data=data, labels=labels):
            out = preprocessor(data, training)
        got = torch.stack([s.gt_sem_seg.data for s in out['data_samples']])
        assert got.dtype == labels.dtype
        want = (out['inputs'], got.long()) if want is None else want
        assert out['inputs'].shape == ((2, 3, 16, 24) if training else (2, 3, 16, 32))
        assert torch.equal(out['inputs'], want[0]), what
        assert torch.equal(got.long(), want[1]), what
        if training:
            assert (got[..., 9:, :] == 255).all()
            assert out['data_samples'][0].gt_depth_map.data.shape == (1, 16, 24)


def image():
    return torch.arange(3 * 9 * 20).remainder(251).reshape(3, 9, 20).to(torch.uint8)


@pytest.mark.parametrize('ignored', [0, 4, 250, 255, 300, -100])
@pytest.mark.parametrize('given', [None, 255])
def test_labels_are_padded_with_what_the_head_ignores(ignored, given):
    """Whichever label it is, and whatever the labels are held in: the loss is that of the rest."""
    head = {'type': 'FCNHead', **SMALL, 'in_index': 0, 'ignore_index': ignored, 'num_convs': 1}
    padded = {'size': (40, 48), **({} if given is None else {'seg_pad_val': given})}
    model = MODELS.build(
        {
            'type': 'EncoderDecoder',
            'backbone': torch.nn.Conv2d(3, 6, 3, 8, 1),
            'decode_head': head,
            'data_preprocessor': {'type': 'SegDataPreProcessor', **padded},
        }
    )
    for dtype in DTYPES:
        labels = torch.arange(16 * 16).remainder(5).reshape(1, 16, 16).to(dtype)
        data = {
            'inputs': [torch.zeros(3, 16, 16, dtype=torch.uint8)],
            'data_samples': samples_of(labels),
        }
        out = model.data_preprocessor(data, True)
        label = out['data_samples'][0].gt_sem_seg.data
        assert (label[:, 16:] == ignored).all()
        assert (label[:, :, 16:] == ignored).all()
        assert torch.equal(label[0, :16, :16].long(), labels[0].long())


def test_a_class_to_pad_with_is_kept():
    """Asked for by name, as where what lies outside is background."""
    preprocessor = MODELS.build({'type': 'SegDataPreProcessor', 'seg_pad_val': 0})
    preprocessor.serve(num_classes=5, ignore_index=255)
    assert preprocessor.seg_pad_val == 0
    preprocessor = MODELS.build({'type': 'SegDataPreProcessor', 'seg_pad_val': 255})
    preprocessor.serve(num_classes=300, ignore_index=300)
    assert preprocessor.seg_pad_val == 300
