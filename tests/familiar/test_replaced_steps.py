"""A method that a subclass replaces is the one that runs (predictions: tests/models/segmentors/
test_overriding.py)."""

import copy
import pickle

import numpy as np
import pytest
import torch
from helpers.older_uses import IMAGE, LABEL, SMALL, X, labelled, sample

from segkit.datasets.transforms import PhotoMetricDistortion, RandomCrop, RandomRotate
from segkit.evaluation import IoUMetric
from segkit.models import FCNHead, ResNet, SegDataPreProcessor
from segkit.models.backbones.resnet import BasicBlock, Bottleneck
from segkit.models.layers import ConvModule
from segkit.registry import MODELS


def watched(cls, *names):
    """A subclass that counts the calls of methods."""
    calls = []

    def counting(name):
        method = getattr(cls, name)

        def replacement(self, *args, **kwargs):
            calls.append(name)
            return method(self, *args, **kwargs)

        return replacement

    return type(f'My{cls.__name__}', (cls,), {name: counting(name) for name in names}), calls


def build_head(cls):
    return cls(**SMALL)


def run_head(head):
    head.loss([X], labelled(), {})
    metas = [dict(img_shape=(32, 40), pad_shape=(32, 40), ori_shape=(32, 40))] * 2
    head.eval().predict([X], metas, {})


def run_network(network):
    network.train()
    network.eval()(torch.ones(1, 3, 32, 32))


def run_processor(processor):
    data = dict(inputs=[torch.ones(3, 32, 40)] * 2, data_samples=labelled())
    assert processor(data, True)['inputs'].shape == (2, 3, 48, 48)


def run_metric(metric):
    metric.dataset_meta = dict(classes=('a', 'b', 'c'))
    maps = dict(data=torch.from_numpy(LABEL)[None])
    metric.process({}, [dict(pred_sem_seg=maps, gt_sem_seg=maps, img_path='a')] * 2)
    scores = metric.evaluate(2)
    assert scores['mIoU'] == scores['aAcc'] == 100


STEPS = {
    FCNHead: (
        ['forward', 'cls_seg', '_transform_inputs', '_stack_batch_gt', 'loss_by_feat',
         'predict_by_feat'], build_head, run_head),
    ResNet: (
        ['make_res_layer', '_make_stem_layer', '_freeze_stages', 'forward', 'train'],
        lambda cls: cls(depth=18, base_channels=4, stem_channels=4, frozen_stages=1), run_network),
    SegDataPreProcessor: (
        ['forward', 'cast_data'], lambda cls: cls(size=(48, 48)), run_processor),
    IoUMetric: (['process'], lambda cls: cls(), run_metric),
    RandomCrop: (
        ['transform', 'crop_bbox', 'crop'], lambda cls: cls((8, 8), 0.75), lambda t: t(sample())),
    RandomRotate: (['generate_degree'], lambda cls: cls(1.0, 10), lambda t: t(sample())),
    PhotoMetricDistortion: (
        ['brightness', 'contrast', 'saturation', 'hue'], lambda cls: cls(), lambda t: t(sample())),
}  # fmt: skip
CASES = [(cls, name) for cls, (names, _, _) in STEPS.items() for name in names]


@pytest.mark.parametrize(
    ('cls', 'name'), CASES, ids=lambda value: getattr(value, '__name__', value)
)
def test_a_replaced_method_runs(cls, name):
    _, build, run = STEPS[cls]
    mine, calls = watched(cls, name)
    run(build(mine))
    assert name in calls


def test_there_are_steps_to_replace():
    assert len(CASES) >= 20


def test_a_distortion_replaced_on_the_object_runs():
    distort, calls = PhotoMetricDistortion(), []
    distort.hue = lambda img: (calls.append(1), img)[1]
    distort(sample())
    assert calls


@pytest.mark.parametrize('name', ['brightness', 'contrast', 'saturation', 'hue'])
def test_distorting_in_turn_gives_the_pictures_of_the_tables(name):
    mine, _ = watched(PhotoMetricDistortion, name)
    for seed in range(8):
        np.random.seed(seed)
        want = PhotoMetricDistortion()(sample())['img']
        np.random.seed(seed)
        np.testing.assert_array_equal(mine()(sample())['img'], want)


def test_a_crop_of_ones_own_cuts_picture_and_label():
    class Corner(RandomCrop):
        def crop_bbox(self, results):
            return 0, 8, 0, 6

        def crop(self, img, crop_bbox):
            return super().crop(img, crop_bbox)[::-1]

    found = Corner((8, 6))(sample())
    np.testing.assert_array_equal(found['img'], IMAGE[:8, :6][::-1])
    np.testing.assert_array_equal(found['gt_seg_map'], LABEL[:8, :6][::-1])


class HalfOfTheClasses(IoUMetric):
    def compute_metrics(self, results):
        return {'n': len(results), **super().compute_metrics(results)}


class OnlyUpperHalf(IoUMetric):
    @staticmethod
    def intersect_and_union(pred_label, label, num_classes, ignore_index):
        rows = slice(0, len(label) // 2)
        return IoUMetric.intersect_and_union(
            pred_label[rows], label[rows], num_classes, ignore_index
        )


class WithPrecision(IoUMetric):
    @staticmethod
    def total_area_to_metrics(*areas):
        right, _, predicted, _ = areas[:4]
        return {'aAcc': torch.tensor(0.5), 'Kept': right / predicted}


def scored(cls, wrong_rows):
    """mIoU and its like where the prediction of some rows is class 0."""
    metric = cls()
    metric.dataset_meta = dict(classes=('a', 'b', 'c'))
    label, pred = torch.from_numpy(LABEL), torch.from_numpy(LABEL.copy())
    pred[wrong_rows] = 0
    entry = dict(pred_sem_seg=dict(data=pred[None]), gt_sem_seg=dict(data=label[None]))
    metric.process({}, [dict(entry, img_path='a'), dict(entry, img_path='b')])
    return metric.evaluate(2), metric


def test_a_metric_from_areas_gives_what_the_matrix_gives():
    (plain, _), (mine, _) = (scored(c, slice(16, 32)) for c in (IoUMetric, HalfOfTheClasses))
    assert mine.pop('n') == 2
    assert mine == pytest.approx(plain)
    assert plain['mIoU'] < 60


def test_areas_of_ones_own_are_what_is_scored():
    assert scored(OnlyUpperHalf, slice(16, 32))[0]['mIoU'] == 100
    assert scored(OnlyUpperHalf, slice(0, 16))[0]['mIoU'] < 60


def test_scores_of_ones_own_are_reported():
    found, _ = scored(WithPrecision, slice(16, 32))
    assert found['aAcc'] == 50
    assert found['mKept'] < 100


def test_the_names_that_subclasses_read():
    processor = SegDataPreProcessor(bgr_to_rgb=True, mean=[0, 0, 0], std=[1, 1, 1])
    assert (processor.channel_conversion, processor._enable_normalize) == (True, True)
    assert SegDataPreProcessor()._enable_normalize is False
    network = ResNet(depth=18, base_channels=4, stem_channels=4)
    assert network.norm1 is network.bn1
    assert network.res_layers == ['layer1', 'layer2', 'layer3', 'layer4']
    block = network.layer1[0]
    assert (block.norm1, block.norm2) == (block.bn1, block.bn2)
    assert FCNHead(**SMALL)._stack_batch_gt(labelled()).dtype == torch.int64
    conv = FCNHead(**SMALL).convs[0]
    # As given and as built, which is how mmcv keeps them.
    assert (conv.kernel_size, conv.padding, conv.dilation) == ((3, 3), 1, (1, 1))


def test_a_network_of_other_depths():
    class Shallow(ResNet):
        arch_settings = {10: (BasicBlock, (1, 1, 1, 1)), 14: (Bottleneck, (1, 1, 1, 1))}

    for depth, widths in ((10, [4, 8, 16, 32]), (14, [16, 32, 64, 128])):
        maps = Shallow(depth=depth, base_channels=4).eval()(torch.ones(1, 3, 32, 32))
        assert [m.shape[1] for m in maps] == widths


def test_isinstance_holds_once_mmengine_is_there():
    from mmengine.model import BaseModel, BaseModule

    head, network = FCNHead(**SMALL), ResNet(depth=18, base_channels=4)
    assert isinstance(head, BaseModule)
    assert isinstance(network, BaseModule)
    assert not isinstance(head, BaseModel)
    model = MODELS.build(
        dict(
            type='EncoderDecoder',
            backbone=dict(type='ResNet', depth=18, base_channels=4),
            decode_head=dict(type='FCNHead', **{**SMALL, 'in_channels': 32}),
        )
    )
    assert isinstance(model, BaseModel)
    assert isinstance(model.decode_head, BaseModule)


def test_convolutions_count_as_mmcvs_once_it_is_there():
    from mmcv.cnn import ConvModule as Theirs
    from mmengine.utils.dl_utils.parrots_wrapper import SyncBatchNorm

    ours = ConvModule(3, 4, 1, norm_cfg=dict(type='SyncBN'))
    assert isinstance(ours, Theirs)
    assert isinstance(ours, ConvModule)
    assert isinstance(ours.bn, SyncBatchNorm)
    assert type(ours) is ConvModule
    assert not issubclass(ConvModule, Theirs)
    assert repr(ours).startswith('ConvModule(')
    for copied in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert type(copied) is ConvModule
        assert torch.equal(copied.conv.weight, ours.conv.weight)


class Older(FCNHead):
    """A head of 0.x with a loss of its own."""

    def losses(self, seg_logit, seg_label):
        assert seg_label.dtype == torch.int64
        return dict(loss_own=seg_logit.mean() * 0 + seg_label.shape[1])


class Oldest(FCNHead):
    def forward_train(self, inputs, img_metas, gt_semantic_seg, train_cfg):
        assert len(img_metas) == len(gt_semantic_seg)
        losses = super().forward_train(inputs, img_metas, gt_semantic_seg, train_cfg)
        return dict(losses, loss_more=losses['loss_ce'].detach() * 0 + 2)


def test_a_head_of_0x_is_trained_by_its_own_losses():
    assert Older(**SMALL).loss([X], labelled(), {})['loss_own'] == 1
    losses = Oldest(**SMALL).loss([X], labelled(), {})
    assert losses['loss_more'] == 2
    assert losses['loss_ce'] > 0
