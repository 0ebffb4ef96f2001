"""Each transform against a written-out form of what it promises."""

import cv2
import numpy as np
import pytest
import torch
from helpers.make_data import smooth_image
from plain_pipeline import PlainCrop, PlainDistortion, convert

from segkit.datasets.transforms.photometric import linear_table
from segkit.registry import TRANSFORMS

RNG = np.random.default_rng(0)
IMAGE = smooth_image(RNG, (40, 60))
LABEL = RNG.integers(0, 4, (40, 60), dtype=np.uint8)


def run(config, seed=0, **results):
    np.random.seed(seed)
    return TRANSFORMS.build(config)({'img': IMAGE, 'gt_seg_map': LABEL, **results})


@pytest.mark.parametrize(
    'name', ['RandomResize', 'Normalize', 'RandomChoice', 'RandomChoiceResize']
)
def test_mmcvs_transforms_are_built_by_name(name):
    assert TRANSFORMS.get(name).__module__.startswith('mmcv.transforms')


def test_wrappers_find_our_transforms():
    inner = [dict(type='RandomGaussianBlur', prob=1.0), dict(type='PhotoMetricDistortion')]
    from segkit.datasets.transforms import Compose

    compose = Compose([dict(type='RandomApply', transforms=inner, prob=1.0)])
    assert compose({'img': IMAGE})['img'].shape == IMAGE.shape


@pytest.mark.parametrize(('alpha', 'beta'), [(1.3, 0), (0.5, 0), (1, -31.7), (1, 32.0), (1, 0)])
def test_a_table_equals_the_float_formula_on_every_byte(alpha, beta):
    ramp = np.arange(256, dtype=np.uint8)
    assert np.array_equal(linear_table(alpha, beta), convert(ramp, alpha, beta))


def test_distortion_equals_the_written_out_one():
    for seed in range(60):
        got = run(dict(type='PhotoMetricDistortion'), seed)['img']
        after = np.random.rand()
        np.random.seed(seed)
        wanted = PlainDistortion()({'img': IMAGE})['img']
        assert np.array_equal(got, wanted)
        assert after == np.random.rand()


@pytest.mark.parametrize('size', [(20, 30), (64, 16), (64, 64)])
def test_crop_equals_the_written_out_one(size):
    label = np.where(LABEL < 3, 255, LABEL)  # often one class alone: the tries are used up
    for seed in range(30):
        config = dict(type='RandomCrop', crop_size=size, cat_max_ratio=0.75)
        got = run(config, seed, gt_seg_map=label)
        np.random.seed(seed)
        wanted = PlainCrop(size, 0.75)({'img': IMAGE, 'gt_seg_map': label})
        for key in ('img', 'gt_seg_map', 'img_shape'):
            assert np.array_equal(got[key], wanted[key])


def test_a_crop_holds_two_classes_of_which_none_dominates():
    label = np.zeros((40, 60), np.uint8)
    label[:, 50:] = 1
    config = dict(type='RandomCrop', crop_size=(16, 16), cat_max_ratio=0.75)
    shares = [run(config, seed, gt_seg_map=label)['gt_seg_map'].mean() for seed in range(60)]
    balanced = [0.25 < share < 0.75 for share in shares]
    free = dict(type='RandomCrop', crop_size=(16, 16))
    without = [run(free, seed, gt_seg_map=label)['gt_seg_map'].mean() for seed in range(60)]
    assert np.mean(balanced) > 0.75 > 0.4 > np.mean([0.25 < share < 0.75 for share in without])


def test_crop_works_on_labels_wider_than_a_byte_and_without_labels():
    wide = LABEL.astype(np.int64) + 300
    config = dict(type='RandomCrop', crop_size=(16, 16), cat_max_ratio=0.75)
    assert run(config, gt_seg_map=wide)['gt_seg_map'].shape == (16, 16)
    assert run(config, gt_seg_map=None)['img'].shape == (16, 16, 3)


@pytest.mark.parametrize('ignored', [255, 9])
def test_rotation_moves_image_and_label_together(ignored):
    label = np.zeros((41, 61), np.uint8)
    label[10:16, 20:29] = 1
    image = np.repeat(label[..., None] * 200, 3, axis=2)
    config = dict(type='RandomRotate', prob=1.0, degree=10.0, pad_val=7, seg_pad_val=ignored)
    for seed in range(8):
        out = run(config, seed, img=image, gt_seg_map=label)
        inside = out['gt_seg_map'] != ignored
        agree = (out['img'][..., 0] > 100) == (out['gt_seg_map'] == 1)
        assert agree[inside].mean() > 0.99
        assert set(np.unique(out['gt_seg_map'])) <= {0, 1, ignored}


def test_rotation_by_ninety_degrees_with_a_larger_canvas_is_exact():
    config = dict(type='RandomRotate', prob=1.0, degree=(90, 90), auto_bound=True)
    out = run(config)
    assert np.array_equal(out['gt_seg_map'], np.rot90(LABEL, -1))
    assert np.array_equal(out['img'], np.rot90(IMAGE, -1))


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_flip_equals_mmcvs_and_swaps_labels(direction):
    import mmcv.transforms

    settings = dict(prob=0.5, direction=direction, swap_seg_labels=[(1, 2)])
    for seed in range(6):
        got = run(dict(type='RandomFlip', **settings), seed)
        np.random.seed(seed)
        plain = mmcv.transforms.RandomFlip(**settings)
        wanted = plain({'img': IMAGE, 'gt_seg_map': LABEL})
        assert np.array_equal(got['img'], wanted['img'])
        assert np.array_equal(got['gt_seg_map'], wanted['gt_seg_map'])
        assert got['flip_direction'] == wanted['flip_direction']


def test_blur_is_opencvs_and_rotation_leaves_the_image_when_not_drawn():
    wanted = cv2.GaussianBlur(IMAGE, (5, 5), 0)
    assert np.array_equal(run(dict(type='RandomGaussianBlur', prob=1.0))['img'], wanted)
    for name in ('RandomGaussianBlur', 'RandomRotate'):
        assert run(dict(type=name, prob=0.0))['img'] is IMAGE


@pytest.mark.parametrize(
    ('config', 'words'),
    [
        (dict(type='RandomCrop', crop_size=(0, 5)), 'crop_size'),
        (dict(type='RandomRotate', prob=1.5), 'prob'),
        (dict(type='RandomRotate', degree=(5, -5)), 'degree'),
        (dict(type='RandomRotate', center=(1, 1), auto_bound=True), 'not both'),
        (dict(type='RandomGaussianBlur', kernel_size=4), 'must be odd'),
    ],
)
def test_impossible_arguments_are_named(config, words):
    with pytest.raises(ValueError, match=words):
        TRANSFORMS.build(config)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize('view', [lambda x: x, np.fliplr, lambda x: x[3:20, 5:30]])
def test_packing_keeps_every_value(dtype, view):
    image = view(IMAGE.astype(dtype))
    out = run(dict(type='PackSegInputs'), img=image, gt_seg_map=view(LABEL), img_path='a.png')
    assert np.array_equal(out['inputs'].numpy(), image.transpose(2, 0, 1))
    assert out['inputs'].is_contiguous()
    label = out['data_samples'].gt_sem_seg.data
    assert label.dtype == torch.uint8
    assert np.array_equal(label[0].numpy(), view(LABEL))
    assert out['data_samples'].metainfo == dict(img_path='a.png')
