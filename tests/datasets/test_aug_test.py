"""The views of multi-scale testing: their sizes by hand, against mmcv, and through a pipeline."""

import mmcv
import numpy as np
import pytest
import torch
from helpers.tiny_net import tiny_segmentor
from mmengine.config import Config

from segkit.datasets.transforms import Compose
from segkit.datasets.transforms.aug_test import (
    enable_aug_test,
    view_settings,
    view_size,
)
from segkit.registry import TRANSFORMS

PUBLISHED = {'img_ratios': [0.5, 0.75, 1.0, 1.25, 1.5, 1.75], 'flip': True}


def pipeline(scale, keep_ratio=True):
    return [
        {'type': 'LoadImageFromFile'},
        {'type': 'Resize', 'scale': scale, 'keep_ratio': keep_ratio},
        {'type': 'LoadAnnotations'},
        {'type': 'PackSegInputs'},
    ]


def derive_views(test_pipeline, aug_test, size):
    """(height, width, mirrored) of every view of an image of ``size``."""
    settings = view_settings(test_pipeline, aug_test)
    mirrored = (False, True) if settings['flip'] else (False,)
    scale, keep_ratio = settings['scale'], settings['keep_ratio']
    sizes = [view_size(size, ratio, scale, keep_ratio) for ratio in settings['ratios']]
    return [(*view, flip) for view in sizes for flip in mirrored]


# Worked out by hand: scale x ratio cut to integers, the smaller of the two factors, half up.
BY_HAND = [
    # Cityscapes
    ((2048, 1024), (1024, 2048), '512x1024 768x1536 1024x2048 1280x2560 1536x3072 1792x3584'),
    # Cityscapes 769: 1025 comes from 1024 * 2049 / 2048 = 1024.5
    ((2049, 1025), (1024, 2048), '512x1024 768x1536 1025x2049 1281x2561 1537x3073 1793x3585'),
    # ADE20K: 683 * 1.5 = 1024.5, 683 * 1.75 = 1195.25
    ((2048, 512), (512, 683), '256x342 384x512 512x683 640x854 768x1025 896x1195'),
    # a small ADE20K image is enlarged: the ratio multiplies the scale, not the image
    ((2048, 512), (256, 256), '256x256 384x384 512x512 640x640 768x768 896x896'),
    # a large one is reduced; a very wide one is bounded by its longer side
    ((2048, 512), (1536, 2048), '256x341 384x512 512x683 640x853 768x1024 896x1195'),
    ((2048, 512), (200, 1600), '128x1024 192x1536 256x2048 320x2560 384x3072 448x3584'),
    # VOC
    ((2048, 512), (375, 500), '256x341 384x512 512x683 640x853 768x1024 896x1195'),
    ((2048, 512), (500, 334), '383x256 575x384 766x512 958x640 1150x768 1341x896'),
    # Pascal Context
    ((520, 520), (375, 500), '195x260 293x390 390x520 488x650 585x780 683x910'),
    ((520, 520), (500, 500), '260x260 390x390 520x520 650x650 780x780 910x910'),
]


@pytest.mark.parametrize(('scale', 'size', 'sizes'), BY_HAND)
def test_the_published_views_of_an_image(scale, size, sizes):
    views = [tuple(map(int, text.split('x'))) for text in sizes.split()]
    want = [(*view, flip) for view in views for flip in (False, True)]
    assert derive_views(pipeline(scale), PUBLISHED, size) == want
    assert derive_views(pipeline(scale), None, size) == want


def test_sizes_are_mmcvs_for_any_image():
    rng = np.random.default_rng(0)
    for scale in ((2048, 512), (1024, 256), (520, 520), (3585, 1793), (910, 910)):
        for height, width in rng.integers(50, 3000, (200, 2)).tolist():
            want = mmcv.rescale_size((width, height), scale)[::-1]
            assert view_size((height, width), 1.0, scale, True) == want


def test_without_flip_keep_ratio_or_resize():
    aug = {'img_ratios': [0.5, 1.0], 'flip': False}
    stretched = derive_views(pipeline((100, 60), keep_ratio=False), aug, (77, 55))
    assert stretched == [(30, 50, False), (60, 100, False)]
    by_default = [{'type': 'Resize', 'scale': (100, 60)}]
    assert derive_views(by_default, aug, (77, 55)) == stretched
    bare = [{'type': 'LoadImageFromFile'}, {'type': 'PackSegInputs'}]
    assert derive_views(bare, aug, (75, 50)) == [(38, 25, False), (75, 50, False)]


def config(flip=True):
    dataset = {'type': 'BaseSegDataset', 'pipeline': pipeline((96, 64))}
    return Config(
        {
            'test_dataloader': {'dataset': {'type': 'RepeatDataset', 'dataset': dataset}},
            'aug_test': {'img_ratios': [0.5, 1.0], 'flip': flip},
        }
    )


def test_enabling_rewrites_the_pipeline_of_the_config():
    cfg = config()
    cfg.test_dataloader.dataset.dataset.pipeline.insert(2, {'type': 'PhotoMetricDistortion'})
    assert enable_aug_test(cfg) is cfg
    steps = cfg.test_dataloader.dataset.dataset.pipeline
    names = ['LoadImageFromFile', 'MultiScaleViews', 'LoadAnnotations', 'PackViews']
    assert [step.type for step in steps] == names
    assert steps[1].ratios == [0.5, 1.0]
    assert (steps[1].scale, steps[1].keep_ratio, steps[1].flip) == ((96, 64), True, 'horizontal')
    assert [step.type for step in steps[1].transforms] == ['PhotoMetricDistortion']


def test_enabling_twice_is_enabling_once_and_a_copy_leaves_the_original_alone():
    cfg = config()
    once = enable_aug_test(cfg.copy()).test_dataloader
    assert [s.type for s in cfg.test_dataloader.dataset.dataset.pipeline][1] == 'Resize'
    assert enable_aug_test(enable_aug_test(cfg)).test_dataloader == once


@pytest.mark.parametrize('flip', [True, False])
def test_the_rewritten_pipeline_gives_the_derived_views_and_the_whole_label(tmp_path, flip):
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    label = np.random.default_rng(1).integers(0, 4, (50, 70), dtype=np.uint8)
    mmcv.imwrite(image, str(tmp_path / 'a.png'))
    mmcv.imwrite(label, str(tmp_path / 'b.png'))
    cfg = config(flip)
    views = derive_views(pipeline((96, 64)), cfg.aug_test, (50, 70))
    steps = enable_aug_test(cfg).test_dataloader.dataset.dataset.pipeline
    paths = {'img_path': str(tmp_path / 'a.png'), 'seg_map_path': str(tmp_path / 'b.png')}
    packed = Compose(steps)({**paths, 'reduce_zero_label': False, 'seg_fields': []})
    tensors = packed['inputs'].tensors
    got = [(*view.shape[1:], f) for view in tensors for f in ((False, True) if flip else (False,))]
    assert got == views
    height, width = views[0][:2]
    want = mmcv.imresize(image, (width, height), interpolation='bilinear', backend='cv2')
    assert torch.equal(tensors[0], torch.from_numpy(want).permute(2, 0, 1))
    sample = packed['data_samples']
    assert torch.equal(sample.gt_sem_seg.data, torch.from_numpy(label)[None])
    result = (
        tiny_segmentor().eval().test_step({'inputs': [packed['inputs']], 'data_samples': [sample]})
    )
    assert result[0].pred_sem_seg.data.shape == (1, 50, 70)


@pytest.mark.parametrize(
    ('steps', 'aug', 'message'),
    [
        (pipeline((96, 64)), {'img_ratios': []}, 'img_ratios.*at least one'),
        ([{'type': 'Resize', 'scale_factor': 2.0}], None, 'no scale'),
    ],
)
def test_what_cannot_be_derived_is_explained(steps, aug, message):
    with pytest.raises(ValueError, match=message):
        derive_views(steps, aug, (10, 10))


def test_a_ratio_that_leaves_no_pixel_names_the_image_and_the_setting():
    views = TRANSFORMS.build({'type': 'MultiScaleViews', 'ratios': [1.0, 0.001]})
    with pytest.raises(ValueError, match=r'a\.png: the ratio 0.001 .*0 x 0.*aug_test.img_ratios'):
        views({'img': np.zeros((50, 70, 3), np.uint8), 'img_path': 'a.png'})
