"""What every head inherits: inputs, outputs, losses under their names, prediction, errors."""

import copy

import pytest
import torch
import torch.nn.functional as F
from helpers.heads import SMALL, random_labels, samples_of, written_loss
from helpers.imports import modules_after
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope, Registry

from segkit.models.decode_heads import BaseDecodeHead, DAHead, FCNHead, ISAHead, PSAHead, PSPHead
from segkit.models.losses import CrossEntropyLoss, accuracy
from segkit.registry import MODELS
from segkit.structures import SegDataSample

CE = {'type': 'CrossEntropyLoss'}
BINARY = {'num_classes': 2, 'out_channels': 1, 'loss_decode': {**CE, 'use_sigmoid': True}}
DANET = {'in_channels': 4, 'channels': 4, 'num_classes': 5, 'pam_channels': 2}


class Linear(BaseDecodeHead):
    """The smallest head: a classifier on what the input transform hands over."""

    def forward(self, inputs):
        return self.cls_seg(self._transform_inputs(inputs))


def linear(**kwargs):
    return Linear(**{'in_channels': 4, 'channels': 4, 'num_classes': 5, **kwargs})


def losses_of(head, x, labels):
    return head.eval().loss([x], samples_of(labels))


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(2, 4, 6, 7)


@pytest.fixture
def labels():
    torch.manual_seed(1)
    return random_labels(2, (48, 56))


@pytest.mark.parametrize('cls', [FCNHead, PSPHead, PSAHead, DAHead, ISAHead])
def test_builds_by_name(cls):
    own = {
        PSAHead: {'mask_size': (3, 3)},
        DAHead: {'pam_channels': 2},
        ISAHead: {'isa_channels': 2},
    }
    head = MODELS.build({'type': cls.__name__, **SMALL, **own.get(cls, {})})
    assert type(head) is cls


def test_importing_and_building_a_head_stays_light():
    heavy = {'cv2', 'mmcv', 'matplotlib', 'torchvision', 'mmengine.runner', 'mmengine.model'}
    assert not heavy & modules_after(
        'from segkit.models.decode_heads import FCNHead; '
        'FCNHead(in_channels=4, channels=4, num_classes=2)'
    )


def test_takes_one_map_resizes_and_concatenates_or_selects():
    maps = [torch.randn(1, 2, 8, 8), torch.randn(1, 3, 4, 4), torch.randn(1, 4, 2, 2)]
    assert linear(in_index=2)._transform_inputs(maps) is maps[2]
    joined = linear(in_channels=(2, 3), in_index=(0, 1), input_transform='resize_concat')
    assert joined.in_channels == 5
    want = torch.cat([maps[0], F.interpolate(maps[1], (8, 8), mode='bilinear')], dim=1)
    torch.testing.assert_close(joined._transform_inputs(maps), want)
    chosen = linear(in_channels=(2, 4), in_index=(0, 2), input_transform='multiple_select')
    assert chosen._transform_inputs(maps) == [maps[0], maps[2]]


@pytest.mark.parametrize(
    'kwargs',
    [
        {'in_channels': (2, 3)},
        {'in_index': (0, 1)},
        {'in_channels': (2, 3), 'in_index': (0,), 'input_transform': 'resize_concat'},
        {'input_transform': 'multiple_select'},
    ],
)
def test_inputs_that_do_not_fit_are_refused(kwargs):
    with pytest.raises(ValueError, match='Linear: with input_transform=.* must be'):
        linear(**kwargs)


def test_unknown_input_transform_is_refused():
    with pytest.raises(ValueError, match="'concat' is none of None, 'resize_concat'"):
        linear(input_transform='concat')


def test_loss_and_accuracy_are_the_published_ones(x, labels):
    head = linear()
    losses = losses_of(head, x, labels)
    assert list(losses) == ['loss_ce', 'acc_seg']
    logits = head([x]).double()
    torch.testing.assert_close(
        losses['loss_ce'].double(), written_loss(logits, labels, False), rtol=1e-6, atol=1e-7
    )
    wide = F.interpolate(head([x]), (48, 56), mode='bilinear')
    torch.testing.assert_close(losses['acc_seg'], accuracy(wide, labels, ignore_index=255))


def test_losses_of_one_name_add_up_and_others_stand_alone(x, labels):
    several = [
        {**CE, 'loss_weight': 0.5},
        {**CE, 'loss_weight': 2.0},
        {**CE, 'loss_name': 'loss_labelled', 'avg_non_ignore': True},
        {**CE, 'loss_name': 'loss_binary', 'use_sigmoid': True},
    ]
    head = linear(loss_decode=several)
    losses = losses_of(head, x, labels)
    assert list(losses) == ['loss_ce', 'loss_labelled', 'loss_binary', 'acc_seg']
    one = written_loss(head([x]), labels, False)
    torch.testing.assert_close(losses['loss_ce'], 2.5 * one)
    share = (labels != 255).float().mean()
    torch.testing.assert_close(losses['loss_labelled'], one / share)


def test_a_loss_that_knows_no_bands_gets_the_upsampled_logits(x, labels):
    class Plain(torch.nn.Module):
        loss_name = 'loss_plain'

        def forward(self, logits, label, weight=None, ignore_index=255):
            assert logits.shape == (2, 5, 48, 56)
            assert label.dtype == torch.int64
            assert label.shape == (2, 48, 56)
            return logits.mean()

    MODELS.register_module(name='PlainLossOfATest', module=Plain, force=True)
    head = linear(loss_decode={'type': 'PlainLossOfATest'})
    losses = losses_of(head, x, labels)
    assert list(losses) == ['loss_plain', 'acc_seg']
    by_bands = linear()
    by_bands.load_state_dict(head.state_dict())
    torch.testing.assert_close(losses['acc_seg'], losses_of(by_bands, x, labels)['acc_seg'])


def test_a_head_lent_to_another_project_keeps_its_own_loss():
    other = Registry('model', parent=ROOT_MODELS, scope='detector_of_a_test')
    other.register_module(name='CrossEntropyLoss', module=torch.nn.Identity)
    sampler = {'type': 'OHEMPixelSampler'}
    with DefaultScope.overwrite_default_scope('detector_of_a_test'):
        head = other.build({'type': 'segkit.FCNHead', **SMALL, 'sampler': sampler})
        several = FCNHead(**SMALL, loss_decode=[CE])
        borrowed = FCNHead(**SMALL, loss_decode={'type': 'detector_of_a_test.CrossEntropyLoss'})
    assert type(head.loss_decode) is CrossEntropyLoss
    assert type(several.loss_decode[0]) is CrossEntropyLoss
    assert type(borrowed.loss_decode) is torch.nn.Identity


def has_accuracy(head, x, labels):
    return any('acc_seg' in name for name in head.loss([x], samples_of(labels)))


@pytest.mark.parametrize('validated', [0, 1, 4])
@pytest.mark.parametrize('build', [linear, lambda **k: DAHead(**DANET, **k)], ids=['base', 'DA'])
def test_accuracy_is_logged_at_the_same_training_steps_after_any_validation(
    x, labels, build, validated
):
    """Ranks validate unequal numbers of batches, and average what they log by position."""
    head = build(acc_interval=3)
    have = []
    for _ in range(2):
        have += [has_accuracy(head.train(), x, labels) for _ in range(4)]
        assert all(has_accuracy(head.eval(), x, labels) for _ in range(validated))
    assert have == [False, False, True, False, False, True, False, False]


def test_prediction_has_the_size_the_network_was_fed(x):
    head = linear(align_corners=True).eval()
    fed = head.predict([x], [{'img_shape': (40, 50), 'pad_shape': (48, 56)}])
    want = F.interpolate(head([x]), (48, 56), mode='bilinear', align_corners=True)
    torch.testing.assert_close(fed, want)
    assert head.predict([x], [{'img_shape': (40, 50)}]).shape == (2, 5, 40, 50)
    window = [{'img_shape': torch.Size((30, 30)), 'pad_shape': (48, 56)}]
    assert head.predict([x], window).shape == (2, 5, 30, 30)


def test_binary_head_with_one_channel(x):
    labels = random_labels(2, (48, 56), classes=2)
    with pytest.warns(UserWarning, match='0.3 is used'):
        head = linear(**BINARY).eval()
    losses = losses_of(head, x, labels)
    wide = F.interpolate(head([x]), (48, 56), mode='bilinear')
    valid = labels != 255
    right = (wide[:, 0].sigmoid() > 0.3) == labels
    torch.testing.assert_close(losses['acc_seg'][0], 100 * right[valid].float().mean())
    elementwise = F.binary_cross_entropy_with_logits(
        wide[:, 0], labels.masked_fill(~valid, 0).float(), reduction='none'
    )
    torch.testing.assert_close(losses['loss_ce'], (elementwise * valid).mean())


@pytest.mark.parametrize('one', [{'num_classes': 1}, {'num_classes': 2, 'out_channels': 1}])
@pytest.mark.parametrize('losses', [CE, [BINARY['loss_decode'], CE]], ids=['alone', 'second'])
def test_one_channel_with_a_softmax_loss_is_refused_with_the_cure(one, losses):
    with pytest.raises(ValueError, match='Linear: one channel .*softmax of CrossEntropyLoss') as no:
        linear(**one, threshold=0.5, loss_decode=losses)
    assert 'num_classes=2, out_channels=1 and loss_decode.use_sigmoid=True' in str(no.value)


def test_labels_0_and_1_for_one_sigmoid_class_are_answered_with_what_to_set(x):
    head = linear(**{**BINARY, 'num_classes': 1}, threshold=0.5)
    with pytest.raises(ValueError, match='1 on .* pixel') as caught:
        losses_of(head, x, random_labels(2, (48, 56), classes=2))
    assert 'set num_classes=2, out_channels=1 and loss_decode.use_sigmoid' in str(caught.value)
    assert 'reduce_zero_label' not in str(caught.value)


@pytest.mark.parametrize('losses', [{}, {'loss_decode': {**CE, 'use_sigmoid': True}}])
def test_an_ignored_label_that_bytes_cannot_hold_ignores_nothing(x, losses):
    """-100 of uint8 is 156, which is a class here."""
    head = linear(num_classes=200, ignore_index=-100, **losses)
    labels = torch.randint(150, 160, (2, 48, 56), dtype=torch.uint8)
    got, wide = losses_of(head, x, labels), losses_of(head, x, labels.long())
    assert got == wide
    assert got['loss_ce'] > 0
    labels[0, 0, 0] = 201
    with pytest.raises(ValueError, match=r'value\(s\) 201 on 1 pixel'):
        losses_of(head, x, labels)


def test_out_channels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match='out_channels=3 must equal num_classes=5'):
        linear(out_channels=3)


def test_a_classifier_that_was_exchanged_or_taken_out_starts_as_well():
    layers = torch.nn.Conv2d(4, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 5, 1)
    head = linear()
    head.conv_seg = torch.nn.Sequential(*layers)
    head.init_weights()
    assert all(0 < layers[i].weight.std() < 0.02 for i in (0, 2))
    assert not any(layers[i].bias.any() for i in (0, 2))
    assert (layers[1].weight == 1).all()
    for other in (torch.nn.Identity(), None):
        head.conv_seg = other
        head.init_weights()
    del head.conv_seg
    head.init_weights()


def test_classifier_starts_small_and_init_cfg_overrides_it():
    head = linear(channels=64, in_channels=64, num_classes=100)
    head.init_weights()
    assert head.conv_seg.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert head.conv_seg.bias.abs().max() == 0
    override = {'type': 'Normal', 'std': 0.5, 'override': {'name': 'conv_seg'}}
    head = linear(channels=64, in_channels=64, num_classes=100, init_cfg=override)
    head.init_weights()
    assert head.conv_seg.weight.std().item() == pytest.approx(0.5, rel=0.1)


def test_dropout_drops_whole_channels_in_training_only():
    head = linear(channels=64, in_channels=64, dropout_ratio=0.5)
    feat = torch.ones(1, 64, 3, 3)
    dropped = head.dropout(feat)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert (dropped.flatten(2).std(dim=2) == 0).all()
    assert head.eval().dropout(feat) is feat
    assert linear(dropout_ratio=0).dropout is None


def test_labels_of_different_sizes_are_refused(x):
    samples = samples_of(random_labels(1, (8, 8))) + samples_of(random_labels(1, (8, 9)))
    with pytest.raises(ValueError, match='labels of one batch differ in size'):
        linear().loss([x], samples)


def test_samples_without_labels_are_named(x):
    samples = [SegDataSample(metainfo={'img_path': '/data/a.jpg'}) for _ in x]
    with pytest.raises(ValueError, match="No labels for /data/a.jpg .*'LoadAnnotations'"):
        linear().loss([x], samples)


def test_a_stray_label_stops_training_with_its_file(x, labels):
    labels[1, 3, 4] = 7
    samples = samples_of(labels, seg_map_path='/data/b.png')
    with pytest.raises(ValueError, match=r'Label map /data/b.png: label value\(s\) 7 on 1 pixel'):
        linear().loss([x], samples)


def test_a_head_can_be_copied():
    head = linear()
    assert copy.deepcopy(head).state_dict().keys() == head.state_dict().keys()


def test_a_loss_config_that_is_none_is_refused():
    with pytest.raises(TypeError, match='loss_decode must be a dict or a list of dicts'):
        linear(loss_decode='CrossEntropyLoss')
