"""The generated dataset: the same everywhere, every class there, context decides where it must."""

import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from segkit.datasets import BaseSegDataset, ShapesDataset
from segkit.datasets.shapes import CLASSES, PALETTE, Scene, render_scene
from segkit.registry import DATASETS

ROOT = Path(__file__).parents[2]
SIZE = (96, 128)
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
SCENES = [render_scene(0, 'train', i, SIZE) for i in range(80)]


def test_every_class_and_the_ignored_value_occur_and_no_other():
    counts = sum(np.bincount(label.ravel(), minlength=256) for _, label in SCENES)
    share = counts / counts.sum()
    assert (share[: len(CLASSES)] > 0.005).all()
    assert 0.02 < share[255] < 0.15
    assert counts[len(CLASSES) : 255].sum() == 0
    assert len(PALETTE) == len(CLASSES) == len(set(map(tuple, PALETTE)))


def test_pictures_are_the_same_in_another_process_and_differ_from_each_other():
    code = (
        'import zlib; from segkit.datasets.shapes import render_scene;'
        "print([zlib.crc32(a.tobytes()) for a in render_scene(5, 'val', 3, (96, 128))])"
    )
    command = [sys.executable, '-c', code]
    other = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    here = [zlib.crc32(array.tobytes()) for array in render_scene(5, 'val', 3, SIZE)]
    assert other.strip() == str(here)
    first = render_scene(5, 'val', 3, SIZE)[0]
    for other in ((6, 'val', 3), (5, 'train', 3), (5, 'val', 4)):
        assert not np.array_equal(first, render_scene(*other, SIZE)[0])


@pytest.mark.parametrize(
    ('method', 'flag', 'names'),
    [('_hull', 'on_water', ('cart', 'boat')), ('_ring', 'day', ('lamp', 'mirror'))],
)
def test_context_classes_look_alike_and_only_their_surroundings_tell(method, flag, names):
    pictures = []
    for value in (False, True):
        scene = Scene(np.random.default_rng(4), SIZE)
        setattr(scene, flag, value)
        scene.horizon = 36
        getattr(scene, method)()
        index = CLASSES.index(names[value])
        assert (scene.label == index).sum() > 100
        pictures.append((scene.image, scene.label == index))
    assert np.array_equal(pictures[0][0], pictures[1][0])
    assert np.array_equal(pictures[0][1], pictures[1][1])


def test_each_sky_holds_the_sun_or_the_moon():
    sun, moon = CLASSES.index('sun'), CLASSES.index('moon')
    lamp, mirror = CLASSES.index('lamp'), CLASSES.index('mirror')
    for _, label in SCENES:
        present = set(np.unique(label))
        assert len(present & {sun, moon}) == 1
        assert not (sun in present and lamp in present)
        assert not (moon in present and mirror in present)


def test_it_is_a_dataset_like_any_other():
    dataset = DATASETS.build(
        dict(type='ShapesDataset', split='val', num_images=3, size=SIZE, pipeline=LOAD)
    )
    assert len(dataset) == 3
    sample = dataset[2]
    image, label = render_scene(0, 'val', 2, SIZE)
    assert np.array_equal(sample['img'], image)
    assert np.array_equal(sample['gt_seg_map'], label)
    assert dataset.metainfo['classes'] == CLASSES
    few = ShapesDataset(num_images=1, pipeline=LOAD, metainfo=dict(classes=['grass', 'sky']))
    assert set(np.unique(few[0]['gt_seg_map'])) <= {0, 1, 255}


@pytest.mark.parametrize(
    ('kwargs', 'words'), [(dict(num_images=0), 'num_images'), (dict(size=(32, 128)), 'size')]
)
def test_impossible_arguments_are_named(kwargs, words):
    with pytest.raises(ValueError, match=words):
        ShapesDataset(**kwargs)


@pytest.mark.parametrize('reduced', [False, True])
def test_written_to_disk_and_read_back_it_is_the_same(tmp_path, reduced):
    arguments = ['--train', '2', '--val', '1', '--size', '64', '96', '--seed', '7']
    arguments += ['--reduce-zero-label'] * reduced
    command = [sys.executable, str(ROOT / 'tools/make_demo_dataset.py'), str(tmp_path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert '3 pairs of 13 classes' in done.stdout
    for split, count in (('train', 2), ('val', 1)):
        dataset = BaseSegDataset(
            data_root=str(tmp_path),
            data_prefix={'img_path': f'images/{split}', 'seg_map_path': f'annotations/{split}'},
            img_suffix='.png',
            metainfo=dict(classes=CLASSES, palette=PALETTE),
            reduce_zero_label=reduced,
            pipeline=LOAD,
        )
        assert len(dataset) == count
        for index in range(count):
            image, label = render_scene(7, split, index, (64, 96))
            assert np.array_equal(dataset[index]['img'], image)
            assert np.array_equal(dataset[index]['gt_seg_map'], label)
    assert (tmp_path / 'classes.txt').read_text().startswith('sky 140 190 235\ngrass ')
