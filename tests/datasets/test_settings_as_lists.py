"""Settings of transforms as JSON, YAML and the command line give them."""

import json

import numpy as np
import pytest

from segkit.registry import TRANSFORMS

CASES = [
    dict(type='RandomFlip', prob=(0.3, 0.5), direction=('horizontal', 'vertical')),
    dict(type='RandomFlip', prob=1),
    dict(type='RandomResize', scale=(32, 24), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomResize', scale=[(32, 24), (64, 48)], keep_ratio=True),
    dict(type='Resize', scale=(32, 24), keep_ratio=True),
    dict(type='RandomChoiceResize', scales=[(32, 24), (16, 16)], keep_ratio=True),
    dict(type='RandomChoiceResize', scales=[32, 24], keep_ratio=True),
    dict(type='ResizeShortestEdge', scale=(32, 24), max_size=100),
    dict(type='RandomCrop', crop_size=(8, 8)),
    dict(type='Pad', size=(64, 64)),
    dict(type='RandomRotate', prob=1, degree=(-10, 10)),
    dict(type='RandomCutOut', prob=1, n_holes=(1, 2), cutout_shape=[(4, 4), (8, 8)]),
    dict(type='CLAHE', tile_grid_size=(8, 8)),
    dict(type='PhotoMetricDistortion', contrast_range=(0.5, 1.5)),
]


def given(step):
    np.random.seed(3)
    labels = np.arange(48 * 64, dtype=np.uint8).reshape(48, 64)
    return step(
        dict(
            img=np.stack([labels] * 3, -1), gt_seg_map=labels.copy(), seg_fields=['gt_seg_map'],
            img_shape=(48, 64), ori_shape=(48, 64),
        )
    )  # fmt: skip


@pytest.mark.parametrize('cfg', CASES, ids=lambda cfg: cfg['type'])
def test_lists_mean_what_tuples_mean(cfg):
    before = json.dumps(cfg)
    listed = TRANSFORMS.build(json.loads(before))
    mine = TRANSFORMS.build(cfg)
    assert json.dumps(cfg) == before
    np.testing.assert_array_equal(given(listed)['img'], given(mine)['img'])
