"""What mmsegmentation's other transforms give, by closed forms and small arrays."""

import math
import os
import sys

import cv2
import numpy as np
import pytest
from helpers.make_data import PREFIX, smooth_image, write_pair

from segkit.datasets import SeededIndex
from segkit.engine.config_check import check_part
from segkit.errors import DataError, UserError
from segkit.registry import DATASETS, TRANSFORMS

RNG = np.random.default_rng(0)
IMAGE = smooth_image(RNG, (40, 60))
LABEL = RNG.integers(0, 4, (40, 60), dtype=np.uint8)


def run(kind, seed=0, *, img=IMAGE, gt_seg_map=LABEL, more=None, **args):
    np.random.seed(seed)
    results = dict(img=img, gt_seg_map=gt_seg_map, seg_fields=['gt_seg_map'], **(more or {}))
    return TRANSFORMS.build(dict(type=kind, **args))(results)


# Tones


@pytest.mark.parametrize('gamma', [0.4, 1.0, 2.2])
def test_gamma_is_the_power_of_every_byte(gamma):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    wanted = [math.floor((i / 255) ** (1 / gamma) * 255) for i in range(256)]
    assert run('AdjustGamma', img=ramp, gamma=gamma)['img'].ravel().tolist() == wanted


def test_grey_is_the_weighted_sum_in_the_order_of_the_channels():
    img = np.array([[[10, 20, 30], [0, 0, 255]]], np.uint8)
    out = run('RGB2Gray', img=img)['img']
    wanted = [10 * 0.299 + 20 * 0.587 + 30 * 0.114, 255 * 0.114]
    assert out.shape == (1, 2, 3)
    assert np.allclose(out[0].T, wanted, rtol=1e-15)
    assert run('RGB2Gray', img=img, out_channels=1, weights=(0, 0, 1))['img'].tolist() == [
        [[30.0], [255.0]]
    ]
    with pytest.raises(DataError, match='3 weights for an image of the shape'):
        run('RGB2Gray', img=img[..., :2])


def test_the_range_is_spread_from_end_to_end():
    img = np.array([[[7, 9], [11, 17]]], np.uint8)
    out = run('Rerange', img=img, min_value=-1, max_value=4)['img']
    assert out.tolist() == [[[-1, 0], [1, 4]]]
    with pytest.raises(DataError, match='all of this one are 5'):
        run('Rerange', img=np.full((2, 2, 3), 5, np.uint8))


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_equalisation_of_one_tile_is_the_cumulative_histogram(dtype):
    out = run('CLAHE', img=IMAGE.astype(dtype), clip_limit=1e6, tile_grid_size=(1, 1))['img']
    assert out.dtype == dtype
    for plane, done in zip(IMAGE.transpose(2, 0, 1), out.transpose(2, 0, 1)):
        below = np.bincount(plane.ravel(), minlength=256).cumsum()
        assert np.abs(done - (below * 255 / plane.size)[plane]).max() <= 0.5 + 1e-4


# Sizes


@pytest.mark.parametrize(
    ('shape', 'scale', 'largest', 'wanted'),
    [
        ((480, 640), 240, 1000, (240, 320)),
        ((640, 480), (240, 300), 1000, (320, 240)),
        ((480, 640), 480, 500, (375, 500)),
        ((300, 300), 450, 1000, (450, 450)),
    ],
)
def test_the_shorter_edge_gets_its_length(shape, scale, largest, wanted):
    img, label = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8)
    out = run('ResizeShortestEdge', img=img, gt_seg_map=label, scale=scale, max_size=largest)
    assert out['img'].shape[:2] == out['gt_seg_map'].shape == out['img_shape'] == wanted


def test_both_sides_reach_the_next_multiple():
    out = run('ResizeToMultiple', size_divisor=32)
    assert out['img'].shape[:2] == out['gt_seg_map'].shape == out['pad_shape'] == (64, 64)
    assert np.array_equal(out['img'], cv2.resize(IMAGE, (64, 64)))
    assert np.array_equal(run('ResizeToMultiple', size_divisor=(20, 10))['img'], IMAGE)


def test_labels_alone_shrink_to_the_stride():
    out = run('SegRescale', scale_factor=0.25)
    assert np.array_equal(out['gt_seg_map'], LABEL[::4, ::4])
    assert out['img'] is IMAGE


# Edges


def test_an_edge_lies_where_two_classes_meet_and_nowhere_beside_what_is_ignored():
    label = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 255, 255], [2, 2, 255, 255]], np.uint8)
    out = run('GenerateEdge', gt_seg_map=label, edge_width=1)
    assert out['gt_edge_map'].tolist() == [[0, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert out['seg_fields'] == ['gt_seg_map', 'gt_edge_map']
    packed = TRANSFORMS.build(dict(type='PackSegInputs'))(out)['data_samples']
    assert packed.gt_edge_map.data.shape == (1, 4, 4)
    thick = run('GenerateEdge', gt_seg_map=label, edge_width=3)['gt_edge_map']
    assert np.array_equal(thick, cv2.dilate(out['gt_edge_map'], np.ones((3, 3), np.uint8)))
    own = run('GenerateEdge', gt_seg_map=label, edge_width=1, more=dict(ignore_index=1))
    assert own['gt_edge_map'][2:, 1].tolist() == [1, 1]


# Turned, cut out, put together


def test_mirrored_quarter_turns_are_all_there_and_take_the_label_along():
    seen = set()
    for seed in range(60):
        out = run('RandomRotFlip', seed, rotate_prob=0, flip_prob=1.0, img=LABEL[..., None])
        assert np.array_equal(out['img'][..., 0], out['gt_seg_map'])
        assert out['img_shape'] == out['gt_seg_map'].shape
        seen.add(out['gt_seg_map'].tobytes())
    turned = [np.rot90(LABEL[::-1], k) for k in range(4)]
    assert seen == {np.ascontiguousarray(one).tobytes() for one in turned}


def test_a_rotated_label_holds_its_classes_and_the_ignored_one():
    label = np.where(LABEL > 1, 200, 100).astype(np.uint8)
    out = run('RandomRotFlip', rotate_prob=1.0, degree=(19, 20), gt_seg_map=label)
    assert set(np.unique(out['gt_seg_map'])) == {100, 200, 255}


def test_holes_lie_where_they_are_drawn():
    settings = dict(n_holes=(1, 3), cutout_shape=[(7, 5), (3, 30)], fill_in=(1, 2, 3))
    for seed in range(20):
        out = run('RandomCutOut', seed, prob=1.0, seg_fill_in=9, **settings)
        np.random.seed(seed)
        np.random.rand()
        hidden = np.zeros(LABEL.shape, bool)
        for _ in range(np.random.randint(1, 4)):
            x, y = np.random.randint(0, 60), np.random.randint(0, 40)
            width, height = settings['cutout_shape'][np.random.randint(0, 2)]
            hidden[y : y + height, x : x + width] = True
        assert np.array_equal(out['gt_seg_map'], np.where(hidden, 9, LABEL))
        wanted = np.where(hidden[..., None], np.array((1, 2, 3), np.uint8), IMAGE)
        assert np.array_equal(out['img'], wanted)
    assert run('RandomCutOut', prob=1.0, **settings)['gt_seg_map'] is LABEL
    half = run('RandomCutOut', prob=1.0, n_holes=1, cutout_ratio=(1.0, 1.0), seg_fill_in=9)
    assert (half['gt_seg_map'] == 9).any()


@pytest.mark.parametrize(
    ('share', 'rows', 'columns'),
    [
        # pixels along each axis: of the picture before the centre, beside it; and what is padded
        (1.0, [0] * 4 + [1] * 4, [0] * 6 + [1] * 6),
        (0.5, [0] * 2 + [1] * 4 + [9] * 2, [0] * 3 + [1] * 6 + [9] * 3),
        (1.5, [9] * 2 + [0] * 4 + [1] * 2, [9] * 3 + [0] * 6 + [1] * 3),
    ],
)
def test_four_pictures_meet_at_the_centre(share, rows, columns):
    parts = [
        dict(
            img=np.full((8, 12, 3), 10 * n, np.uint8),
            gt_seg_map=np.full((8, 12), n, np.uint8),
            seg_fields=['gt_seg_map'],
        )
        for n in range(4)
    ]
    mosaic = dict(
        type='RandomMosaic', prob=1.0, img_scale=(4, 6), center_ratio_range=(share, share),
        pad_val=77,
    )  # fmt: skip
    out = TRANSFORMS.build(mosaic)({**parts[0], 'mix_results': parts[1:], 'ignore_index': 99})
    wanted = [[99 if 9 in (r, c) else 2 * r + c for c in columns] for r in rows]
    assert out['gt_seg_map'].tolist() == wanted
    colours = np.where(np.array(wanted) == 99, 77, 10 * np.array(wanted))
    assert np.array_equal(out['img'], np.repeat(colours[..., None], 3, axis=2))
    assert out['img_shape'] == out['ori_shape'] == (8, 12)


@pytest.fixture
def mixed(tmp_path):
    for i in range(6):
        write_pair(tmp_path, f'{i}', np.full((8, 8, 3), 40 * i, np.uint8), np.full((8, 8), i))
    inner = dict(
        type='BaseSegDataset', data_root=str(tmp_path), data_prefix=PREFIX, img_suffix='.png',
        metainfo=dict(classes=tuple('abcdef')),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
    )  # fmt: skip
    steps = [dict(type='RandomMosaic', prob=1.0, img_scale=(8, 8)), dict(type='PackSegInputs')]
    return dict(type='MultiImageMixDataset', dataset=inner, pipeline=steps)


def test_a_mixed_sample_depends_on_its_seed_alone(mixed):
    dataset = DATASETS.build(mixed)
    label = [dataset[SeededIndex(2, 7)]['data_samples'].gt_sem_seg.data for _ in range(2)]
    assert label[0].shape == (1, 16, 16)
    assert label[0].equal(label[1])
    others = {int(v) for s in range(20) for v in dataset[SeededIndex(2, s)]['inputs'].unique()}
    assert others == {0, 40, 80, 120, 160, 200}
    assert len(dataset) == 6
    assert dataset.metainfo['classes'] == tuple('abcdef')


def test_steps_are_left_out_by_name(mixed):
    dataset = DATASETS.build(dict(mixed, skip_type_keys=['RandomMosaic']))
    assert dataset[1]['inputs'].shape == (3, 8, 8)
    with pytest.raises(UserError, match=r"\['Mosaic'\] is not in its pipeline"):
        dataset.update_skip_type_keys(['Mosaic'])


def test_a_mosaic_of_one_picture_says_where_it_belongs(mixed):
    with pytest.raises(UserError, match="type='MultiImageMixDataset'"):
        run('RandomMosaic', prob=1.0)
    mixed['dataset']['pipeline'].append(dict(type='PackSegInputs'))
    with pytest.raises(UserError, match='packs the samples'):
        DATASETS.build(mixed)[0]


@pytest.mark.parametrize(
    ('config', 'words'),
    [
        (dict(type='CLAHE', tile_grid_size=(8,)), 'two counts'),
        (dict(type='RGB2Gray', out_channels=0), 'positive'),
        (dict(type='AdjustGamma', gamma=0), 'positive'),
        (dict(type='Rerange', min_value=3, max_value=3), 'must be below'),
        (dict(type='ResizeToMultiple', size_divisor=0), 'below 1'),
        (dict(type='GenerateEdge', edge_width=0), 'positive'),
        (dict(type='RandomRotFlip', flip_prob=2), 'flip_prob'),
        (dict(type='RandomCutOut', prob=1, n_holes=1), 'either cutout_shape or'),
        (dict(type='RandomCutOut', prob=1, n_holes=(3, 1), cutout_shape=(1, 1)), 'n_holes'),
        (dict(type='RandomMosaic', prob=1, center_ratio_range=(0, 3)), 'center_ratio_range'),
    ],
)
def test_impossible_arguments_are_named(config, words):
    with pytest.raises(UserError, match=words):
        TRANSFORMS.build(config)


# albumentations


def test_albumentations_moves_every_map_and_draws_from_numpys_generator():
    pytest.importorskip('albumentations')
    before = dict(os.environ)
    steps = [dict(type='Affine', rotate=(-40, 40), fill_mask=255, p=1.0)]
    fields = dict(gt_far_map=LABEL.astype(np.float64) + 0.125)
    outs = []
    for seed in (3, 3, 4):
        np.random.seed(seed)
        results = dict(img=IMAGE, gt_seg_map=LABEL, seg_fields=['gt_seg_map', *fields], **fields)
        outs.append(TRANSFORMS.build(dict(type='Albu', transforms=steps))(results))
    assert np.array_equal(outs[0]['img'], outs[1]['img'])
    assert not np.array_equal(outs[0]['img'], outs[2]['img'])
    label = outs[0]['gt_seg_map']
    assert 0.02 < (label == 255).mean() < 0.9
    wanted = np.where(label == 255, 255, label + 0.125)
    assert np.array_equal(outs[0]['gt_far_map'], wanted)
    assert dict(os.environ) == before


def test_albumentations_gets_rgb():
    pytest.importorskip('albumentations')
    steps = [dict(type='ChannelDropout', channel_drop_range=(1, 1), fill=0, p=1.0)]
    steps += [dict(type='OneOf', transforms=[dict(type='VerticalFlip', p=1.0)], p=1.0)]
    out = run('Albu', transforms=steps, update_pad_shape=True)
    dropped = [plane for plane in range(3) if not out['img'][..., plane].any()]
    assert len(dropped) == 1
    kept = [plane for plane in range(3) if plane not in dropped]
    assert np.array_equal(out['img'][..., kept], IMAGE[::-1][..., kept])
    assert out['pad_shape'] == (40, 60)
    grey = run('Albu', transforms=[dict(type='ToGray', p=1.0)])['img'][..., 0].astype(int)
    assert np.abs(grey - cv2.cvtColor(IMAGE, cv2.COLOR_BGR2GRAY)).max() <= 1


def test_a_config_may_name_what_albumentations_has_and_no_argument_that_albu_has_not():
    steps = [dict(type='OneOf', transforms=[dict(type='RandomScale', scale_limit=(-0.1, 0.2))])]
    dataset = dict(type='BaseSegDataset', pipeline=[dict(type='Albu', transforms=steps)])
    check_part(dict(train_dataloader=dict(batch_size=1, dataset=dataset)), 'train_dataloader')
    dataset['pipeline'][0]['transform'] = []
    with pytest.raises(UserError, match=r'pipeline\[0\].transform: Albu takes no argument'):
        check_part(dict(train_dataloader=dict(batch_size=1, dataset=dataset)), 'train_dataloader')


def test_albumentations_that_is_not_there_or_has_no_such_transform(monkeypatch):
    pytest.importorskip('albumentations')
    with pytest.raises(UserError, match="has no 'NoSuchFlip'"):
        run('Albu', transforms=[dict(type='NoSuchFlip')])
    with pytest.raises(UserError, match="names one 'image'"):
        run('Albu', transforms=[], keymap=dict(img='image', gt_seg_map='masks'))
    monkeypatch.setitem(sys.modules, 'albumentations', None)
    with pytest.raises(UserError, match='pip install "albumentations>=2,<3"'):
        run('Albu', transforms=[])
