"""What mmsegmentation's documentation says of the parts that are here, as tests of ours.

Its wheels hold few of its own tests; these are written down from the documented behaviour. What it
refuses is refused here, most often by another class of exception: `REFUSED` counts them.
"""

import numpy as np
import pytest
import torch
from helpers.older_uses import IMAGE, LABEL, SMALL, X, folders, labelled, sample
from mmengine.structures import PixelData

from segkit.datasets import BaseSegDataset, CityscapesDataset
from segkit.datasets.transforms import (
    LoadAnnotations,
    PackSegInputs,
    PhotoMetricDistortion,
    RandomCrop,
    RandomFlip,
    RandomRotate,
)
from segkit.evaluation import IoUMetric
from segkit.models import (
    FCNHead,
    ISAHead,
    PSAHead,
    PSPHead,
    ResNet,
    ResNetV1c,
    ResNetV1d,
    SegDataPreProcessor,
)
from segkit.models.backbones.resnet import BasicBlock, Bottleneck
from segkit.models.decode_heads import BaseDecodeHead
from segkit.models.losses import CrossEntropyLoss, accuracy, weight_reduce_loss
from segkit.models.utils import nlc_to_nchw
from segkit.structures import OHEMPixelSampler, SegDataSample
from segkit.utils import get_classes, get_palette, stack_batch


class Plain(BaseDecodeHead):
    """The least a head needs; the base class itself has no features to classify."""

    def forward(self, inputs):
        return self.cls_seg(self._transform_inputs(inputs))


TWO = dict(in_channels=[32, 16], in_index=[0, 1], channels=8, num_classes=3)
# What is refused -> the documented class of the error.
REFUSED = {
    'a crop of no size': (lambda: RandomCrop((-1, 0)), AssertionError),
    'a rotation more likely than certain': (lambda: RandomRotate(prob=1.5), AssertionError),
    'a rotation by a negative angle': (lambda: RandomRotate(prob=0.5, degree=-10), AssertionError),
    'a rotation by three angles': (lambda: RandomRotate(0.5, (10, 20, 30)), AssertionError),
    'a ResNet of depth 20': (lambda: ResNet(20), KeyError),
    'a ResNet of no stages': (lambda: ResNet(50, num_stages=0), AssertionError),
    'a ResNet of five stages': (lambda: ResNet(50, num_stages=5), AssertionError),
    'strides for three of four stages': (lambda: ResNet(50, strides=(1, 1, 1)), AssertionError),
    'an unknown style': (lambda: ResNet(50, style='tensorflow'), AssertionError),
    'a bottleneck of unknown style': (lambda: Bottleneck(64, 64, style='keras'), AssertionError),
    'a number as weights': (
        lambda: ResNet(50, init_cfg=dict(type='Pretrained', checkpoint=0)).init_weights(),
        (AssertionError, TypeError)),
    'lists without a transform': (lambda: Plain([32, 16], 16, num_classes=19),
                                  AssertionError),
    'an index list without a transform': (
        lambda: Plain(32, 16, num_classes=19, in_index=[-1, -2]), AssertionError),
    'an unknown transform': (
        lambda: Plain(32, 16, num_classes=19, input_transform='concat'), AssertionError),
    'lists of two lengths': (lambda: Plain(
        [32, 16], 16, num_classes=19, in_index=[-1], input_transform='resize_concat'),
        AssertionError),
    'losses that are no configs': (
        lambda: Plain(3, 16, num_classes=19, loss_decode=['CrossEntropyLoss']), TypeError),
    'three output channels for two classes': (
        lambda: Plain(32, 16, num_classes=2, out_channels=3), ValueError),
    'no convolution and other channels': (
        lambda: FCNHead(in_channels=16, channels=8, num_classes=19, num_convs=0), AssertionError),
    'a number of pool scales': (lambda: PSPHead(pool_scales=1, **SMALL), AssertionError),
    'an unknown attention': (lambda: PSAHead(mask_size=(9, 9), psa_type='gather', **SMALL),
                             AssertionError),
    'mean without std': (lambda: SegDataPreProcessor(mean=[0, 0, 0]), AssertionError),
    'both swaps of channels': (
        lambda: SegDataPreProcessor(bgr_to_rgb=True, rgb_to_bgr=True), AssertionError),
    'both ways of padding': (
        lambda: stack_batch([torch.ones(3, 4, 4)], size=(8, 8), size_divisor=4), AssertionError),
    'images of other channels': (
        lambda: stack_batch([torch.ones(3, 4, 4), torch.ones(1, 4, 4)], size=(8, 8)),
        AssertionError),
    'softmax and mask at once': (
        lambda: CrossEntropyLoss(use_sigmoid=True, use_mask=True), AssertionError),
    'a sum with a factor': (
        lambda: weight_reduce_loss(torch.ones(3), reduction='sum', avg_factor=2), ValueError),
    'a reduction that is not known': (
        lambda: CrossEntropyLoss(reduction='median')(X[:, :3], X[:, 0].long().clamp(0, 2)),
        (AssertionError, KeyError, ValueError)),
    'more classes asked for than there are': (
        lambda: accuracy(torch.eye(3), torch.arange(3), topk=4), AssertionError),
    'one kept pixel': (lambda: OHEMPixelSampler(None, min_kept=1), AssertionError),
    'an unknown metric': (lambda: IoUMetric(iou_metrics=['unknown']), KeyError),
    'a class that is not of the data set': (
        lambda: CityscapesDataset(metainfo=dict(classes=('car', 'ufo')), lazy_init=True),
        ValueError),
    'tokens of another map': (lambda: nlc_to_nchw(torch.ones(2, 63, 4), (8, 8)), AssertionError),
    'labels in the place of label maps': (
        lambda: setattr(SegDataSample(), 'gt_sem_seg', [1, 2]), AssertionError),
    'classes of no data set': (lambda: get_classes('mars'), ValueError),
}  # fmt: skip
SAME, OTHER = 'the documented exception class', 'another exception class'


def kind_of(case: str) -> str:
    """How a refusal compares with the documented one; fails where nothing is refused."""
    call, documented = REFUSED[case]
    try:
        call()
    except Exception as error:
        return SAME if isinstance(error, documented) else OTHER
    pytest.fail(f'{case} is not refused')


@pytest.mark.parametrize('case', REFUSED)
def test_what_is_documented_as_refused_is_refused(case):
    assert kind_of(case) in (SAME, OTHER)


def test_the_reasons_for_differences_are_counted():
    kinds = [kind_of(case) for case in REFUSED]
    assert (len(kinds), kinds.count(SAME), kinds.count(OTHER)) == (34, 6, 28)


@pytest.mark.parametrize(
    ('depth', 'block', 'channels'),
    [(18, BasicBlock, [64, 128, 256, 512]), (50, Bottleneck, [256, 512, 1024, 2048])],
)
@pytest.mark.parametrize('cls', [ResNet, ResNetV1c, ResNetV1d])
def test_the_maps_of_a_resnet(cls, depth, block, channels):
    with torch.device('meta'):
        network = cls(depth, norm_eval=True)
    assert all(isinstance(part, block) for part in network.layer1)
    network = network.to_empty(device='cpu').eval()
    maps = network(torch.zeros(1, 3, 32, 32))
    assert [tuple(m.shape[1:]) for m in maps] == [(c, s, s) for c, s in zip(channels, (8, 4, 2, 1))]
    assert hasattr(network, 'stem') == (cls is not ResNet)


def test_frozen_stages_and_norms_stay_as_they_are():
    network = ResNet(18, base_channels=4, stem_channels=4, frozen_stages=2, norm_eval=True).train()
    frozen = [network.conv1, network.bn1, network.layer1, network.layer2]
    assert not any(p.requires_grad for part in frozen for p in part.parameters())
    assert all(p.requires_grad for p in network.layer3.parameters())
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert not any(norm.training for norm in norms)


def test_the_inputs_of_a_head():
    maps = [torch.randn(1, 32, 45, 45), torch.randn(1, 16, 21, 21)]
    joined = Plain(input_transform='resize_concat', **TWO)
    assert (joined.in_channels, joined._transform_inputs(maps).shape) == (48, (1, 48, 45, 45))
    chosen = Plain(input_transform='multiple_select', **TWO)._transform_inputs(maps)
    assert [m.shape for m in chosen] == [m.shape for m in maps]
    plain = Plain(32, 16, num_classes=19, in_index=0)
    assert plain._transform_inputs(maps) is maps[0]
    assert (plain.dropout.p, plain.threshold, plain.out_channels) == (0.1, None, 19)


def test_a_head_without_norm_has_none():
    head = PSPHead(**SMALL)
    assert not any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in head.modules())
    assert ISAHead(isa_channels=4, **SMALL)([X]).shape == (2, 3, 8, 8)


def test_several_losses_have_their_names_and_equal_names_add_up():
    losses = [dict(type='CrossEntropyLoss', loss_name=name) for name in ('loss_1', 'loss_2')]
    found = FCNHead(loss_decode=losses, **SMALL).loss_by_feat(X[:, :3], labelled())
    assert set(found) == {'loss_1', 'loss_2', 'acc_seg'}
    twice = FCNHead(loss_decode=losses[:1] * 2, **SMALL).loss_by_feat(X[:, :3], labelled())
    assert twice['loss_1'] == pytest.approx(float(2 * found['loss_1']))


def test_the_cross_entropy_of_two_pixels():
    pred, label = torch.tensor([[100.0, -100.0]]), torch.tensor([1])
    assert CrossEntropyLoss()(pred, label) == pytest.approx(200)
    # The mean is over the weights since 1.0: 200 * 0.2 / 0.2.
    assert CrossEntropyLoss(class_weight=[0.8, 0.2])(pred, label) == pytest.approx(200, rel=1e-5)
    assert CrossEntropyLoss(loss_weight=0.5)(pred, label) == pytest.approx(100)
    binary = CrossEntropyLoss(use_sigmoid=True)(pred, label)
    assert binary == pytest.approx(100)
    none = CrossEntropyLoss()(pred, label, reduction_override='none')
    assert none.shape == (1,)


def test_ignored_pixels_are_averaged_over_unless_asked():
    pred = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]).transpose(1, 2)[..., None]  # (1, 2, 2, 1)
    label = torch.tensor([[[0], [255]]])
    all_pixels = CrossEntropyLoss()(pred, label, ignore_index=255)
    labelled_only = CrossEntropyLoss(avg_non_ignore=True)(pred, label, ignore_index=255)
    assert labelled_only == pytest.approx(float(2 * all_pixels))


def test_accuracy_of_the_best_and_of_the_best_two():
    pred = torch.tensor([[0.2, 0.3, 0.6, 0.5], [0.1, 0.1, 0.2, 0.6], [0.9, 0.0, 0.0, 0.1],
                         [0.4, 0.7, 0.1, 0.1], [0.0, 0.0, 0.99, 0.0]])  # fmt: skip
    true = torch.tensor([2, 3, 0, 1, 2])
    assert accuracy(pred, true) == 100
    assert accuracy(pred, torch.tensor([2, 3, 1, 1, 2])) == 80
    best, two = accuracy(pred, torch.tensor([3, 3, 3, 1, 2]), topk=(1, 2))
    assert (float(best), float(two)) == (60, 100)
    assert accuracy(pred, true, thresh=0.8) == 40
    ignored = torch.tensor([2, 3, 255, 255, 0])
    assert accuracy(pred, ignored, ignore_index=255) == pytest.approx(66.7, 1e-3)


def test_hard_pixels_below_a_threshold_and_of_the_largest_loss():
    head, logits = FCNHead(**SMALL), torch.randn(1, 3, 45, 45)
    label = torch.randint(0, 3, (1, 1, 45, 45))
    easy = OHEMPixelSampler(head, thresh=0.7, min_kept=200).sample(logits, label)
    assert easy.shape == (1, 45, 45)
    assert easy.sum() > 200
    assert OHEMPixelSampler(head, min_kept=200).sample(logits, label).sum() == 200


def test_transforms_keep_what_they_should():
    for step in (RandomCrop((16, 20)), RandomCrop((16, 20), 0.75)):
        found = step(sample())
        assert found['img'].shape[:2] == found['gt_seg_map'].shape == found['img_shape'] == (16, 20)
    assert PhotoMetricDistortion()(sample())['img'].dtype == np.uint8
    np.testing.assert_array_equal(RandomFlip(prob=1.0)(sample())['img'], IMAGE[:, ::-1])
    turned = RandomRotate(1.0, 10.0, pad_val=0, seg_pad_val=255)(sample())
    assert turned['img'].shape == IMAGE.shape
    packed = PackSegInputs()(sample(flip=False))
    assert (packed['inputs'].shape, packed['data_samples'].ori_shape) == ((3, 32, 40), (32, 40))
    assert packed['data_samples'].gt_sem_seg.data.shape == (1, 32, 40)


def test_labels_are_reduced_then_mapped():
    path = folders()['data_root'] + '/labels/0.png'
    common = dict(seg_map_path=path, seg_fields=[])
    plain = LoadAnnotations()({**common})['gt_seg_map']
    np.testing.assert_array_equal(plain, LABEL)
    less = LoadAnnotations(reduce_zero_label=True)({**common, 'reduce_zero_label': True})
    assert set(np.unique(less['gt_seg_map'])) == {0, 1, 255}
    mapped = LoadAnnotations()({**common, 'label_map': {0: 5, 1: 4}})['gt_seg_map']
    assert set(np.unique(mapped)) == {2, 4, 5}


def test_a_data_set_names_its_classes():
    classes = ('a', 'b', 'c')
    found = BaseSegDataset(**folders(metainfo=dict(classes=classes)))
    assert (found.metainfo['classes'], len(found.metainfo['palette'])) == (classes, 3)
    assert BaseSegDataset.get_label_map(classes) is None
    some = CityscapesDataset(metainfo=dict(classes=('car', 'road')), lazy_init=True)
    assert some.metainfo['classes'] == ('car', 'road')
    assert some.metainfo['palette'] == [[0, 0, 142], [128, 64, 128]]
    assert (some.label_map[0], some.label_map[13], some.label_map[5]) == (1, 0, 255)


@pytest.mark.parametrize(
    ('name', 'count'), [('cityscapes', 19), ('ade', 150), ('voc', 21), ('pcontext', 59)]
)
def test_classes_and_colours_by_name(name, count):
    assert len(get_classes(name)) == len(get_palette(name)) == count


def test_images_are_normalised_swapped_and_padded():
    samples = [SegDataSample(metainfo=dict(img_shape=(11, 10))) for _ in range(2)]
    for one in samples:
        one.gt_sem_seg = PixelData(data=torch.ones(1, 11, 10, dtype=torch.long))
    data = dict(inputs=[torch.full((3, 11, 10), 8)] * 2, data_samples=samples)
    processor = SegDataPreProcessor([1, 2, 3], [1, 2, 1], size=(20, 20), bgr_to_rgb=True)
    out = processor(data, training=True)
    assert out['inputs'].shape == (2, 3, 20, 20)
    assert out['inputs'][0, :, 0, 0].tolist() == [7, 3, 5]
    assert out['inputs'][0, 0, 19, 19] == 0
    assert out['data_samples'][0].gt_sem_seg.data[0, 19, 19] == 255
    tested = SegDataPreProcessor(size=(20, 20), test_cfg=dict(size_divisor=15))
    images = dict(inputs=[torch.ones(3, 11, 10)], data_samples=labelled()[:1])
    assert tested(images)['inputs'].shape == (1, 3, 15, 15)
