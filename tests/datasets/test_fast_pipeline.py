"""The fused pipeline gives the plain one's bytes for the same random draws."""

import cv2
import numpy as np
import pytest
import torch
from helpers.make_data import PREFIX, write_dataset
from plain_pipeline import pipeline_config, plain_pipeline

from segkit.datasets import BaseSegDataset
from segkit.datasets.transforms import resize
from segkit.datasets.transforms.compose import Compose, LoadResizeCrop, fuse

SIZES = [(96, 128), (77, 131), (200, 120), (64, 64)]
SCALES = {
    'keeps the aspect': ((160, 100), (64, 80)),
    'smaller than the crop': ((96, 60), (128, 128)),
}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp('pairs'), SIZES)


def dataset(root, pipeline, **kwargs):
    metainfo = dict(classes=tuple('abcde'))
    kwargs.setdefault('img_suffix', '.png')
    return BaseSegDataset(
        data_root=root, data_prefix=PREFIX, metainfo=metainfo, pipeline=pipeline, **kwargs
    )


def assert_same(ours, plain):
    assert ours['inputs'].dtype == torch.uint8
    assert torch.equal(ours['inputs'], plain['inputs'])
    got, wanted = ours['data_samples'], plain['data_samples']
    assert got.gt_sem_seg.data.dtype == torch.uint8
    assert torch.equal(got.gt_sem_seg.data.long(), wanted.gt_sem_seg.data)
    assert got.metainfo == wanted.metainfo


@pytest.mark.parametrize('scale', SCALES.values(), ids=SCALES)
@pytest.mark.parametrize('reduce_zero_label', [False, True])
@pytest.mark.parametrize('fast', [True, False])
def test_bytes_equal_those_of_the_plain_pipeline(root, scale, reduce_zero_label, fast):
    mine = dataset(
        root, pipeline_config(*scale), reduce_zero_label=reduce_zero_label, fast_pipeline=fast
    )
    assert isinstance(mine.pipeline._steps[0], LoadResizeCrop) == fast
    plain = dataset(root, plain_pipeline(*scale), reduce_zero_label=reduce_zero_label)
    for seed in range(24):
        samples = []
        for data in (mine, plain):
            np.random.seed(seed)
            samples.append(data[seed % len(SIZES)])
            samples.append(np.random.rand())
        assert_same(samples[0], samples[2])
        assert samples[1] == samples[3], 'the two forms drew a different number of times'


def test_a_window_of_a_resized_image_equals_the_crop_of_the_whole():
    rng = np.random.default_rng(0)
    for _ in range(150):
        height, width = rng.integers(20, 300, 2)
        img = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        ratio = rng.choice([0.5, 2.0, rng.uniform(0.3, 3)])
        size = int(height * ratio + 0.5), int(width * ratio + 0.5)
        (y1, y2), (x1, x2) = (np.sort(rng.integers(0, n + 1, 2)) for n in size)
        if y1 == y2 or x1 == x2:
            continue
        box, whole = (y1, y2, x1, x2), cv2.resize(img, size[::-1])
        window = resize.bilinear_window(img, size, box, height)
        assert np.array_equal(window, whole[y1:y2, x1:x2])
        nearest = cv2.resize(img[..., 0], size[::-1], interpolation=cv2.INTER_NEAREST)
        window = resize.nearest_window(img[..., 0], size, box)
        assert np.array_equal(window, nearest[y1:y2, x1:x2])


@pytest.mark.parametrize(
    'change',
    [
        lambda p: p[:2] + [dict(type='RandomRotate', prob=0.5)] + p[2:],
        lambda p: [p[0]] + p[2:],
        lambda p: [dict(type='LoadImageFromFile', to_float32=True)] + p[1:],
        lambda p: p[:2] + [{**p[2], 'interpolation': 'nearest'}] + p[3:],
    ],
    ids=['rotation before the crop', 'no label', 'float image', 'another interpolation'],
)
def test_other_lists_run_as_they_are_written(change):
    built = Compose(change(pipeline_config((64, 64), (32, 32)))).transforms
    assert fuse(built) == built


def test_a_fixed_resize_and_no_resize_are_fused_alike(root):
    config = pipeline_config((160, 100), (64, 80))
    for step in (
        [dict(type='Resize', scale=(100, 90))],
        [dict(type='Resize', scale_factor=1.5)],
        [],
    ):
        pipeline = config[:2] + step + config[3:4] + config[6:]
        fast, plain = dataset(root, pipeline), dataset(root, pipeline, fast_pipeline=False)
        for seed in range(6):
            samples = []
            for data in (fast, plain):
                np.random.seed(seed)
                samples.append(data[seed % len(SIZES)])
            a, b = samples
            assert torch.equal(a['inputs'], b['inputs'])
            assert torch.equal(a['data_samples'].gt_sem_seg.data, b['data_samples'].gt_sem_seg.data)
            assert a['data_samples'].metainfo == b['data_samples'].metainfo


def first_corner(results):
    return 0, 80, 0, 64


CHANGES = {
    'a transform exchanged': lambda steps: steps.__setitem__(3, lambda results: {
        **results, 'img': results['img'][:80, :64], 'gt_seg_map': results['gt_seg_map'][:80, :64]}),
    'a transform put before the crop': lambda steps: steps.insert(3, lambda results: {
        **results, 'img': results['img'] * 0, 'gt_seg_map': results['gt_seg_map'] * 0}),
    'a transform taken out': lambda steps: steps.pop(4),
    'the list emptied': lambda steps: steps.__delitem__(slice(4, -1)),
    'a method of the crop': lambda steps: setattr(steps[3], 'crop_bbox', first_corner),
    'a method of the loading': lambda steps: setattr(
        steps[0], 'transform', lambda results, own=steps[0].transform: {
            **own(results), 'img': own(results)['img'][::-1]}),
    'a method of the resize': lambda steps: setattr(
        steps[2], 'transform', lambda results: results),
}  # fmt: skip


@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES)
def test_what_is_changed_in_a_built_pipeline_runs(root, change):
    found = []
    for fast in (True, False):
        data = dataset(root, pipeline_config((160, 100), (64, 80)), fast_pipeline=fast)
        data[0]
        change(data.pipeline.transforms)
        np.random.seed(3)
        found.append(data[1])
    assert_same_sample(*found)
    untouched = dataset(root, pipeline_config((160, 100), (64, 80)))
    np.random.seed(3)
    assert not same_pictures(untouched[1], found[0])
    assert len(CHANGES) == 7


def same_pictures(a, b):
    return a['inputs'].shape == b['inputs'].shape and torch.equal(a['inputs'], b['inputs'])


def assert_same_sample(a, b):
    assert same_pictures(a, b)
    assert torch.equal(a['data_samples'].gt_sem_seg.data, b['data_samples'].gt_sem_seg.data)
