"""SegDataPreProcessor: values, padding, labels, and images of different sizes in testing."""

import pytest
import torch
from helpers.tiny_net import sample_of

from segkit.models.data_preprocessor import SegDataPreProcessor

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def preprocessor(**kwargs):
    return SegDataPreProcessor(mean=MEAN, std=STD, bgr_to_rgb=True, **kwargs)


def picture(height, width, channels=3):
    return torch.randint(0, 256, (channels, height, width), dtype=torch.uint8)


def written_out(x):
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (MEAN, STD))
    return (x[[2, 1, 0]].float() - mean) / std


@pytest.mark.parametrize('ignored', [255, 254])
def test_training_images_are_normalised_padded_and_recorded(ignored):
    images = [picture(20, 30), picture(24, 10)]
    samples = [sample_of(labels=x.shape[1:]) for x in images]
    labels = [s.gt_sem_seg.data.clone() for s in samples]
    out = preprocessor(size=(24, 32), pad_val=7, seg_pad_val=ignored)(
        {'inputs': images, 'data_samples': samples}, training=True
    )
    assert out['inputs'].shape == (2, 3, 24, 32)
    assert torch.equal(out['inputs'][0, :, :20, :30], written_out(images[0]))
    assert (out['inputs'][0, :, 20:] == 7).all()
    assert (out['inputs'][1, :, :, 10:] == 7).all()
    padded = out['data_samples'][1].gt_sem_seg.data
    assert padded.dtype == torch.uint8
    assert torch.equal(padded[:, :, :10], labels[1])
    assert (padded[:, :, 10:] == ignored).all()
    meta = out['data_samples'][1].metainfo
    assert meta == {'img_shape': (24, 10), 'pad_shape': (24, 32), 'padding_size': (0, 22, 0, 0)}


def test_size_divisor_pads_to_the_next_multiple():
    data = {'inputs': [picture(20, 33)], 'data_samples': [sample_of(labels=(20, 33))]}
    assert preprocessor(size_divisor=16)(data, training=True)['inputs'].shape == (1, 3, 32, 48)


def test_testing_pads_only_if_asked():
    data = {'inputs': [picture(20, 33)] * 2, 'data_samples': [sample_of(), sample_of()]}
    assert preprocessor(size=(64, 64))(data)['inputs'].shape == (2, 3, 20, 33)
    out = preprocessor(test_cfg={'size_divisor': 32})(data)
    assert out['inputs'].shape == (2, 3, 32, 64)
    assert out['data_samples'][0].img_padding_size == (0, 31, 0, 12)


def test_different_sizes_stay_apart_in_testing():
    images = [picture(20, 33), picture(16, 16)]
    out = preprocessor()({'inputs': images, 'data_samples': [sample_of(), sample_of()]})
    assert [tuple(x.shape) for x in out['inputs']] == [(3, 20, 33), (3, 16, 16)]
    assert torch.equal(out['inputs'][1], written_out(images[1]))


def test_views_are_normalised_when_taken():
    views = [picture(20, 33), picture(16, 16)]
    prepare = preprocessor(test_cfg={'size_divisor': 32})
    out = prepare({'inputs': [views], 'data_samples': [sample_of()]})
    assert len(out['inputs'][0]) == 2
    image, padding = out['inputs'][0][1]
    assert torch.equal(image[:, :16, :16], written_out(views[1]))
    assert padding == (0, 16, 0, 16)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'rgb_to_bgr': True}, 'not both'),
        ({'size': (8, 8), 'size_divisor': 8}, 'size or size_divisor'),
    ],
)
def test_contradictions_are_explained(kwargs, message):
    with pytest.raises(ValueError, match=message):
        preprocessor(**kwargs)(
            {'inputs': [picture(8, 8)], 'data_samples': [sample_of(labels=(8, 8))]}, training=True
        )


def test_a_wrong_channel_count_is_explained():
    with pytest.raises(ValueError, match='images have 4 channels; give one value a channel'):
        preprocessor()({'inputs': [picture(8, 8, channels=4)], 'data_samples': [sample_of()]})
