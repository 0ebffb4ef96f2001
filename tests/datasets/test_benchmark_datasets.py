"""The benchmark datasets in their published folder layouts and with their settings."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import found
from helpers.make_data import blob_label, smooth_image
from mmengine.config import Config
from PIL import Image

from segkit.datasets import BaseSegDataset
from segkit.datasets.metainfo import dataset_metainfo
from segkit.registry import DATASETS

SIZE = (24, 40)
CONFIGS = Path(__file__).parents[2] / 'configs/_base_/datasets'
LAYOUTS = {
    'ADE20KDataset': dict(
        files=('images/training/ADE_train_00000001.jpg', 'annotations/training/{stem}.png'),
        prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        num_classes=150,
    ),
    'CityscapesDataset': dict(
        files=(
            'leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png',
            'gtFine/train/aachen/aachen_000000_000019_gtFine_labelTrainIds.png',
        ),
        prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        num_classes=19,
    ),
    'PascalVOCDataset': dict(
        files=('JPEGImages/2007_000032.jpg', 'SegmentationClass/{stem}.png'),
        prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/train.txt',
        num_classes=21,
    ),
    'PascalContextDataset': dict(
        files=('JPEGImages/2008_000002.jpg', 'SegmentationClassContext/{stem}.png'),
        prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext'),
        ann_file='ImageSets/SegmentationContext/train.txt',
        num_classes=60,
    ),
}
LAYOUTS['PascalContextDataset59'] = {**LAYOUTS['PascalContextDataset'], 'num_classes': 59}
# (picture, label), and the number of classes, of those that differ in nothing else.
MORE = {
    'COCOStuffDataset': (
        'images/train2017/000000000009.jpg', 'annotations/train2017/{stem}_labelTrainIds.png', 171,
    ),
    'LoveDADataset': ('img_dir/train/0.png', 'ann_dir/train/{stem}.png', 7),
    'ISPRSDataset': ('img_dir/train/area1_0_0_512_512.png', 'ann_dir/train/{stem}.png', 6),
    'PotsdamDataset': ('img_dir/train/2_10_0_0_512_512.png', 'ann_dir/train/{stem}.png', 6),
    'iSAIDDataset': (
        'img_dir/train/P0000_0_896_0_896.png', 'ann_dir/train/{stem}_instance_color_RGB.png', 16,
    ),
    'CamVidDataset': ('train/0001TP_006690.png', 'trainannot/{stem}.png', 11),
    'DarkZurichDataset': (
        'rgb_anon/val/night/GOPR0356/GOPR0356_frame_000321_rgb_anon.png',
        'gt/val/night/GOPR0356/GOPR0356_frame_000321_gt_labelTrainIds.png', 19,
    ),
    'NightDrivingDataset': (
        'leftImg8bit/test/night/0_a_leftImg8bit.png',
        'gtCoarse_daytime_trainvaltest/test/night/0_a_gtCoarse_labelTrainIds.png', 19,
    ),
}  # fmt: skip
for _name, (_image, _label, _count) in MORE.items():
    _prefix = dict(img_path=str(Path(_image).parent), seg_map_path=str(Path(_label).parent))
    LAYOUTS[_name] = dict(files=(_image, _label), prefix=_prefix, num_classes=_count)
REDUCED = ('ADE20KDataset', 'PascalContextDataset59', 'LoveDADataset', 'ISPRSDataset',
           'PotsdamDataset')  # fmt: skip


def write_label(path, label, palette):
    """VOC's labels are palette images; the colours must not matter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(label, 'P' if palette else 'L')
    if palette:
        image.putpalette(np.arange(768, dtype=np.uint16).astype(np.uint8).tobytes())
    image.save(path)


def write(root, name, label, folder=None):
    layout = LAYOUTS[name]
    image_path, label_path = (Path(root) / file for file in layout['files'])
    image_path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(image_path), smooth_image(np.random.default_rng(0), SIZE))
    label_path = Path(str(label_path).format(stem=image_path.stem))
    if folder:
        label_path = label_path.parent.with_name(folder) / label_path.name
    write_label(label_path, label, palette=name.startswith('Pascal'))
    if 'ann_file' in layout:
        split = Path(root) / layout['ann_file']
        split.parent.mkdir(parents=True, exist_ok=True)
        split.write_text(image_path.stem + '\n')


def build(root, name, **kwargs):
    layout = LAYOUTS[name]
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    config = dict(type=name, data_root=str(root), data_prefix=layout['prefix'], pipeline=pipeline)
    return DATASETS.build({**config, 'ann_file': layout.get('ann_file', ''), **kwargs})


@pytest.mark.parametrize('name', LAYOUTS)
def test_labels_are_read_as_the_published_settings_say(tmp_path, name):
    num_classes = LAYOUTS[name]['num_classes']
    stored = blob_label(
        np.random.default_rng(0), SIZE, num_classes + (name in REDUCED or 'CamVid' in name)
    )
    write(tmp_path, name, stored)
    dataset = build(tmp_path, name)
    assert len(dataset) == 1
    got = dataset[0]
    assert got['img'].shape == (*SIZE, 3)
    wanted = stored.astype(int)
    if name == 'CamVidDataset':
        wanted[stored == 11] = 255
    if name in REDUCED:
        wanted = np.where(stored == 0, 255, np.where(stored == 255, 255, wanted - 1))
    assert np.array_equal(got['gt_seg_map'], wanted)
    assert got['reduce_zero_label'] == (name in REDUCED)


@pytest.mark.parametrize('name', LAYOUTS)
def test_classes_and_palette_have_the_published_length(name):
    info = build('/nowhere', name, lazy_init=True).metainfo
    count = LAYOUTS[name]['num_classes']
    assert len(info['classes']) == len(set(info['classes'])) == len(info['palette']) == count
    assert all(
        len(colour) == 3 and 0 <= min(colour) <= max(colour) < 256 for colour in info['palette']
    )


def test_every_benchmark_has_its_layout_here():
    others = ('BaseSegDataset', 'ShapesDataset')
    leaves = {n for n, cls in found.datasets().items() if issubclass(cls, BaseSegDataset)}
    assert leaves - {*others} == set(LAYOUTS)


def test_void_of_camvid_is_ignored_whatever_classes_are_chosen(tmp_path):
    stored = np.arange(12, dtype=np.uint8).reshape(3, 4)
    write(tmp_path, 'CamVidDataset', stored)
    path = tmp_path / 'train/0001TP_006690.png'
    path.write_bytes(cv2.imencode('.png', smooth_image(np.random.default_rng(0), (3, 4)))[1])
    kept = build(tmp_path, 'CamVidDataset', metainfo=dict(classes=('Car', 'Sky')))
    wanted = np.full(12, 255)
    wanted[[8, 0]] = 0, 1
    assert np.array_equal(kept[0]['gt_seg_map'].ravel(), wanted)
    other = build(tmp_path, 'CamVidDataset', ignore_index=99)[0]['gt_seg_map']
    assert other.ravel().tolist() == [*range(11), 99]


def test_class_names_are_those_of_published_checkpoints():
    assert dataset_metainfo('cityscapes')['classes'][11] == 'person'
    assert dataset_metainfo('ade20k')['classes'][7] == 'bed '
    assert (
        dataset_metainfo('pascal_context')['classes'][1:]
        == (dataset_metainfo('pascal_context_59')['classes'])
    )
    with pytest.raises(KeyError, match='coco.*known'):
        dataset_metainfo('coco')


def test_voc_and_sbd_are_concatenated_from_two_label_folders(tmp_path):
    own, sbd = (np.full(SIZE, value, np.uint8) for value in (3, 7))
    write(tmp_path, 'PascalVOCDataset', own)
    write(tmp_path, 'PascalVOCDataset', sbd, folder='SegmentationClassAug')
    config = dict(
        type='PascalVOCDataset',
        data_root=str(tmp_path),
        pipeline=[dict(type='LoadAnnotations')],
        ann_file='ImageSets/Segmentation/train.txt',
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    )
    aug = {
        **config,
        'data_prefix': dict(img_path='JPEGImages', seg_map_path='SegmentationClassAug'),
    }
    both = DATASETS.build(dict(type='ConcatDataset', datasets=[config, aug]))
    assert [int(both[i]['gt_seg_map'][0, 0]) for i in range(len(both))] == [3, 7]
    assert both.metainfo['classes'] == dataset_metainfo('pascal_voc12')['classes']


def fixed_image(height=96, width=160):
    """A picture given by integers alone: the same wherever and with whatever it is made."""
    y, x = np.mgrid[:height, :width]
    planes = [y * 2 + x // 3, 40 + (x * y) // 80, 255 - abs(x - 80) * 2 - y // 4]
    return np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8)


# Made once by the published recipes' test pipelines from the picture above: size after the resize,
# the BGR values of three of its pixels (a quarter, half and three quarters down and across).
RECORDED = {
    'ade20k': ('ADE20KDataset', (512, 853), [[60, 51, 168], [121, 87, 242], [182, 147, 158]]),
    'cityscapes': (
        'CityscapesDataset',
        (1024, 1707),
        [[60, 51, 168], [121, 87, 242], [183, 146, 158]],
    ),
    'cityscapes_769x769': (
        'CityscapesDataset',
        (1025, 1708),
        [[60, 51, 168], [121, 87, 243], [182, 146, 158]],
    ),
    'pascal_voc12_aug': (
        'PascalVOCDataset',
        (512, 853),
        [[60, 51, 168], [121, 87, 242], [182, 147, 158]],
    ),
    'pascal_context': (
        'PascalContextDataset',
        (312, 520),
        [[60, 51, 169], [121, 87, 242], [183, 147, 158]],
    ),
    'pascal_context_59': (
        'PascalContextDataset59',
        (312, 520),
        [[60, 51, 169], [121, 87, 242], [183, 147, 158]],
    ),
    'coco-stuff164k': (
        'COCOStuffDataset',
        (512, 853),
        [[60, 51, 168], [121, 87, 242], [182, 147, 158]],
    ),
    'coco-stuff10k': (
        'COCOStuffDataset',
        (512, 853),
        [[60, 51, 168], [121, 87, 242], [182, 147, 158]],
    ),
    'loveda': ('LoveDADataset', (614, 1024), [[60, 51, 169], [121, 87, 242], [183, 147, 158]]),
    'potsdam': ('PotsdamDataset', (307, 512), [[60, 51, 169], [121, 87, 243], [183, 147, 158]]),
    'vaihingen': ('ISPRSDataset', (307, 512), [[60, 51, 169], [121, 87, 243], [183, 147, 158]]),
    'isaid': ('iSAIDDataset', (538, 896), [[60, 51, 169], [121, 87, 242], [183, 147, 158]]),
    'camvid': ('CamVidDataset', (288, 480), [[60, 51, 168], [121, 87, 243], [183, 147, 158]]),
    'dark_zurich': (
        'DarkZurichDataset',
        (1080, 1800),
        [[60, 51, 169], [121, 87, 242], [182, 147, 158]],
    ),
    'night_driving': (
        'NightDrivingDataset',
        (1080, 1800),
        [[60, 51, 169], [121, 87, 242], [182, 147, 158]],
    ),
}


@pytest.mark.parametrize('config', RECORDED)
def test_test_pipelines_of_the_recipes_give_the_recorded_values(tmp_path, config):
    name, (height, width), pixels = RECORDED[config]
    image = fixed_image()
    label = (np.arange(image[..., 0].size).reshape(image.shape[:2]) // 97 % 19).astype(np.uint8)
    write(tmp_path, name, label)
    layout = {**LAYOUTS[name]}
    # The decoder looks at the content: a PNG behind any suffix keeps the picture exact.
    path = Path(tmp_path) / layout['files'][0]
    path.write_bytes(cv2.imencode('.png', image)[1].tobytes())

    dataset = Config.fromfile(CONFIGS / f'{config}.py').test_dataloader.dataset
    dataset.update(data_root=str(tmp_path), ann_file=layout.get('ann_file', ''))
    dataset.data_prefix = layout['prefix']
    out = DATASETS.build(dataset)[0]
    got, sample = out['inputs'].numpy(), out['data_samples']
    assert got.shape == (3, height, width)
    for k, pixel in enumerate(pixels, 1):
        assert np.abs(got[:, height * k // 4, width * k // 4].astype(int) - pixel).max() <= 1
    reduced = name in REDUCED or config == 'coco-stuff10k'
    wanted = label.astype(int) - 1 if reduced else label.astype(int)
    if name == 'CamVidDataset':
        wanted[label == 11] = 255
    assert np.array_equal(sample.gt_sem_seg.data[0].numpy(), np.where(wanted < 0, 255, wanted))
    meta = sample.metainfo
    assert (meta['ori_shape'], meta['img_shape']) == (image.shape[:2], (height, width))
    assert meta['scale_factor'] == (width / image.shape[1], height / image.shape[0])
