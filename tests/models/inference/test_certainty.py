"""Confidence and probabilities are those of float64, in one view and in several, and binary too."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segkit.errors import UserError
from segkit.models.inference.certainty import UNKNOWN, unknown_below
from segkit.models.segmentors import EncoderDecoder
from segkit.structures import ImageViews, SegDataSample


class Backbone(nn.Module):
    def forward(self, x):
        return (F.avg_pool2d(x, 4),)


def network(channels=5, **test_cfg):
    torch.manual_seed(3)
    binary = dict(num_classes=2, out_channels=1, threshold=0.3) if channels == 1 else {}
    head = dict(
        type='FCNHead', in_channels=3, in_index=0, channels=3, num_convs=0, concat_input=False,
        dropout_ratio=0, **(binary or dict(num_classes=channels)),
    )  # fmt: skip
    if binary:
        head['loss_decode'] = dict(type='CrossEntropyLoss', use_sigmoid=True)
    net = EncoderDecoder(backbone=Backbone(), decode_head=head, test_cfg=dict(test_cfg)).eval()
    nn.init.normal_(net.decode_head.conv_seg.weight, std=3)
    return net


KEEP = dict(mode='whole', keep_logits=True, keep_confidence=True, keep_probabilities=True)
IMAGE = torch.rand(1, 3, 24, 36, generator=torch.Generator().manual_seed(1)) * 4 - 2
META = dict(ori_shape=(31, 45), img_shape=(24, 36), pad_shape=(24, 36))


def predicted(net, image=IMAGE):
    return net.predict(image, [SegDataSample(metainfo=META)])[0]


@pytest.mark.parametrize('channels', [1, 2, 5])
def test_they_are_the_softmax_in_float64_at_the_original_size(channels):
    sample = predicted(network(channels, **KEEP))
    logits = sample.seg_logits.data.double()
    # Of one channel seg_logits are its probabilities.
    expected = torch.cat([1 - logits, logits]) if channels == 1 else logits.softmax(0)
    assert sample.probabilities.data.shape == (max(channels, 2), 31, 45)
    assert (sample.probabilities.data - expected).abs().max() < 1e-6
    chosen = expected.gather(0, sample.pred_sem_seg.data.long())
    assert sample.confidence.data.shape == (1, 31, 45)
    assert (sample.confidence.data - chosen).abs().max() < 1e-6
    assert sample.confidence.data.min() > 1 / 5.1 if channels > 1 else True


@pytest.mark.parametrize('budget', [0, 1024])
def test_of_several_views_they_are_of_the_mean(budget):
    from segkit.models.data_preprocessor import Views

    net = network(**{**KEEP, 'memory_budget': budget})
    pictures = [IMAGE[0], IMAGE[0, :, ::2, ::2].contiguous()]
    views = Views(net.data_preprocessor, ImageViews(pictures, 'horizontal'))
    sample = net.predict([views], [SegDataSample(metainfo=META)])[0]
    means = sample.seg_logits.data.double()
    assert (means.sum(0) - 1).abs().max() < 1e-5
    assert (sample.probabilities.data - means).abs().max() < 1e-6
    assert (sample.confidence.data[0] - means.amax(0)).abs().max() < 1e-6


def test_pixels_of_low_confidence_are_unknown_and_others_as_before():
    plain = predicted(network(mode='whole', keep_confidence=True))
    cut = predicted(network(mode='whole', unknown_below=0.4))
    unsure = plain.confidence.data < 0.4
    assert 0.05 < unsure.float().mean() < 0.95
    assert torch.equal(cut.pred_sem_seg.data == UNKNOWN, unsure)
    assert torch.equal(cut.pred_sem_seg.data[~unsure], plain.pred_sem_seg.data[~unsure])
    assert not hasattr(cut, 'confidence')


def test_memory_stays_a_few_maps_of_one_class():
    net = network(40, mode='whole', keep_confidence=True)
    with torch.autograd.profiler.profile(profile_memory=True) as profile:
        net.predict(IMAGE, [SegDataSample(metainfo={**META, 'ori_shape': (400, 500)})])
    largest = max(event.cpu_memory_usage for event in profile.function_events)
    assert largest <= 4 * 400 * 500 * 4


@pytest.mark.parametrize('value', [0, -0.1, 1.5, 'half', True, np.nan])
def test_a_threshold_that_is_no_share_is_refused(value):
    with pytest.raises(UserError, match='unknown_below'):
        unknown_below({'unknown_below': value}, 5)


def test_256_classes_leave_no_value_for_unknown():
    assert unknown_below({'unknown_below': 0.5}, 255) == 0.5
    with pytest.raises(UserError, match='256 classes'):
        unknown_below({'unknown_below': 0.5}, 256)
