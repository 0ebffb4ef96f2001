"""Objects below the network's grid are found, with a scale that keeps them."""

import subprocess

import cv2
import numpy as np
import pytest
from helpers.checks import config, paint, warnings_of
from helpers.make_data import write_dataset
from scipy import ndimage

from segkit.engine.command_line import parse_options
from segkit.engine.config import merge_options
from segkit.inspection.check import check
from segkit.inspection.small_objects import (
    lost_share,
    object_areas,
    scale_that_keeps,
    stride_of,
    training_scale,
)

RESIZE = dict(type='RandomResize', scale=(64, 64), ratio_range=(0.5, 2.0), keep_ratio=True)


def test_areas_are_those_of_another_library():
    mask = np.random.default_rng(0).random((60, 80)) < 0.3
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    want = ndimage.sum(mask, parts, range(1, count + 1)) / 9
    np.testing.assert_allclose(sorted(object_areas(mask, 3)), sorted(want))


def test_the_share_that_is_lost_and_the_scale_that_keeps_half():
    assert lost_share([0.5, 0.5, 3]) == 0.25
    assert lost_share([]) == 0
    areas = [0.1, 0.2, 0.3, 0.4]
    assert lost_share(areas) == 1
    larger = scale_that_keeps(areas)
    assert lost_share(areas, larger) < 0.5 < lost_share(areas, larger * 0.95)
    assert scale_that_keeps([2, 3]) == 1


def test_the_scale_of_a_resize_is_that_of_the_transform():
    image = np.zeros((48, 96), np.uint8)
    assert training_scale(RESIZE, image) == pytest.approx(64 / 96)
    assert training_scale(dict(scale=(192, 48)), image) == 1
    assert training_scale(dict(scale_factor=0.5), image) == 0.5
    assert training_scale(None, image) == 1
    assert stride_of(dict(backbone=dict(strides=(1, 2, 1, 1)))) == 8
    assert stride_of(dict(backbone=dict(strides=(1, 2, 2, 2)))) == 32


def test_classes_below_the_grid_are_named_with_a_scale_that_keeps_them(tmp_path):
    root = write_dataset(tmp_path, [(128, 128)] * 3)
    for index in range(3):
        label = np.zeros((128, 128), np.uint8)
        label[20:60, 20:60] = 1
        for y, x in ((80, 80), (90, 20), (100, 50)):
            cv2.circle(label, (x, y), 5, 2, -1)
        paint(root, index, label)
    cfg = config(root, num_classes=3)
    cfg.train_dataloader.dataset.pipeline = [*cfg.train_dataloader.dataset.pipeline[:2], RESIZE]

    (warning,) = [w for w in warnings_of(cfg) if 'too small' in w]

    assert 'one thing for 8 x 8 pixels' in warning
    assert 'c2 (100 %)' in warning
    assert 'c1 (' not in warning
    (finding,) = [f for f in check(cfg, 'x', ('train',), workers=0).datasets[0].findings
                  if 'too small' in f.text]  # fmt: skip
    assert finding.pictures == [f'{root}/img/000.png']
    words = f'printf "%s\\n" {" ".join(finding.options)}'
    typed = subprocess.run(['bash', '-c', words], capture_output=True, text=True).stdout
    merge_options(cfg, parse_options(typed.splitlines()))
    assert not [w for w in warnings_of(cfg) if 'too small' in w]
