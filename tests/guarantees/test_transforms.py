"""Every transform that a config can name: maps move with the picture, nothing given is written
into, and the type or layout of a label changes no value."""

import numpy as np
import pytest
import torch
from helpers import found

from segkit.errors import DataError
from segkit.registry import TRANSFORMS

H, W = 24, 37
FLIP = dict(type='RandomFlip', prob=1.0, direction='horizontal')
SMALLER = dict(type='Resize', scale=(20, 16))
PACK = dict(type='PackSegInputs')


def packed(results):
    """What MultiScaleFlipAug wants of its last step."""
    out = TRANSFORMS.build(PACK)(results)
    return dict(inputs=out['inputs'], data_sample=out['data_samples'])


# What moves a picture, each with arguments of every branch.
MOVING = {
    'Resize': [
        dict(scale=(50, 40), keep_ratio=True),
        dict(scale=(20, 31)),
        dict(scale_factor=1.7, interpolation='nearest'),
        dict(scale=(50, 20), backend='pillow'),
    ],
    'RandomResize': [dict(scale=(40, 30), ratio_range=(0.5, 2.0), keep_ratio=True)],
    'RandomChoiceResize': [dict(scales=[(20, 30), (50, 40)])],
    'RandomCrop': [dict(crop_size=(16, 16), cat_max_ratio=0.75), dict(crop_size=(10, 60))],
    'CenterCrop': [dict(crop_size=(15, 12)), dict(crop_size=(40, 40), auto_pad=True)],
    'RandomFlip': [
        dict(prob=1.0, direction=name) for name in ('horizontal', 'vertical', 'diagonal')
    ]
    + [dict(prob=1.0, swap_seg_labels=[(1, 2)])],
    'RandomRotate': [
        dict(prob=1.0, degree=30),
        dict(prob=1.0, degree=(80, 100), auto_bound=True),
        dict(prob=1.0, seg_pad_val=9, center=(3, 4)),
    ],
    'Pad': [
        dict(size=(50, 40)),
        dict(size_divisor=32, pad_val=dict(img=3, seg=7)),
        dict(pad_to_square=True, padding_mode='reflect'),
    ],
    'ResizeShortestEdge': [dict(scale=30, max_size=60), dict(scale=(16, 20), max_size=20)],
    'ResizeToMultiple': [dict(size_divisor=16)],
    'SegRescale': [dict(scale_factor=0.5)],
    'RandomRotFlip': [dict(rotate_prob=1.0), dict(rotate_prob=0.0, flip_prob=1.0)],
    'RandomCutOut': [dict(prob=1.0, n_holes=(2, 4), cutout_shape=[(5, 6), (9, 3)], seg_fill_in=9)],
    'RandomMosaic': [dict(prob=1.0, img_scale=(30, 40)), dict(prob=1.0, img_scale=(20, 31))],
    'Albu': [
        dict(transforms=[dict(type='HorizontalFlip', p=1.0)]),
        dict(transforms=[dict(type='Affine', rotate=25, scale=1.2, fill_mask=255, p=1.0)]),
        dict(transforms=[dict(type='RandomResizedCrop', size=(20, 20), p=1.0)]),
    ],
    'RandomApply': [dict(transforms=[FLIP], prob=1.0)],
    'RandomChoice': [dict(transforms=[[FLIP], [SMALLER]])],
    'Compose': [dict(transforms=[FLIP, SMALLER])],
    'KeyMapper': [dict(mapping={}, auto_remap=False, transforms=[FLIP])],
    'TransformBroadcaster': [],  # takes several pictures; tested through what it holds
    'MultiScaleFlipAug': [dict(scales=[(20, 16)], allow_flip=True, transforms=[packed])],
    'TestTimeAug': [dict(transforms=[[SMALLER], [FLIP], [PACK]])],
}
# What leaves maps where they are.
STILL = {
    'PhotoMetricDistortion': [dict()],
    'RandomGaussianBlur': [dict(prob=1.0)],
    'RandomGrayscale': [dict(prob=1.0, keep_channels=True)],
    'Normalize': [dict(mean=[1, 2, 3], std=[4, 5, 6])],
    'LoadImageFromNDArray': [dict()],
    'CLAHE': [dict(tile_grid_size=(3, 4))],
    'RGB2Gray': [dict()],
    'AdjustGamma': [dict(gamma=1.7)],
    'Rerange': [dict()],
    'GenerateEdge': [dict()],
    'MultiScaleViews': [dict(ratios=[0.5, 1.0], scale=(40, 30))],
}
PACKING = {
    'PackSegInputs': [dict()],
    'PackViews': [],  # packs what MultiScaleViews made; see STILL
    'ImageToTensor': [dict(keys=['img'])],
    'ToTensor': [dict(keys=['img'])],
}
LOADING = {'LoadImageFromFile', 'LoadAnnotations'}  # swept with the data sets
EVERY = {**MOVING, **STILL, **PACKING}
CASES = [
    pytest.param(dict(type=name, **args), id=f'{name}-{number}')
    for name, many in EVERY.items()
    for number, args in enumerate(many)
]
MOVES = [case for case in CASES if case.values[0]['type'] in MOVING]


MAPS = {
    'gt_edge_map': np.uint8,
    'gt_depth_map': np.float32,
    'gt_far_map': np.float64,
    'gt_part_map': np.int64,
    'gt_thing_map': np.int32,
    'gt_mask_map': np.uint16,
}


def test_every_registered_transform_is_swept():
    assert set(found.transforms(inherited=True)) == set(EVERY) | LOADING
    assert len(CASES) >= 51
    assert len(MOVES) >= 35


def label_of(dtype=np.uint8):
    label = (np.arange(H)[:, None] // 5 + np.arange(W) // 7) % 5
    label[:3] = 255
    return label.astype(dtype)


def sample(**maps):
    img = np.random.default_rng(3).integers(0, 256, (H, W, 3), dtype=np.uint8)
    return dict(
        img=img, img_shape=(H, W), ori_shape=(H, W), seg_fields=list(maps), img_path='a.png', **maps
    )


def run(config, results, seed=0):
    if config['type'] == 'Albu':
        pytest.importorskip('albumentations')
    if config['type'] == 'RandomMosaic':
        results['mix_results'] = [dict(results) for _ in range(3)]
    np.random.seed(seed)
    return TRANSFORMS.build(config)(results)


def outcomes(out):
    """Every array of a result by its name and place, whatever it is packed in."""
    arrays = {}
    for key, value in out.items():
        for place, item in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(item, np.ndarray | torch.Tensor):
                arrays[key, place] = np.asarray(item)
            elif key.startswith('data_sample'):
                for name, field in item.items():
                    name = 'gt_seg_map' if name.strip('_') == 'gt_sem_seg' else name
                    arrays[name, place] = field.data.numpy()[0]
            elif key == 'img_views':
                arrays.update({(key, i): t.numpy() for i, t in enumerate(item.tensors)})
    return arrays


@pytest.mark.parametrize('config', MOVES)
def test_every_map_moves_as_the_label_does_and_keeps_its_dtype(config):
    if config.get('swap_seg_labels'):
        pytest.skip('exchanges labels of gt_seg_map alone')
    maps = {key: label_of(dtype) for key, dtype in MAPS.items()}
    out = outcomes(run(config, sample(gt_seg_map=label_of(), **maps)))
    labels = {place: array for (name, place), array in out.items() if name == 'gt_seg_map'}
    assert labels
    for place, label in labels.items():
        for key, dtype in MAPS.items():
            moved = out[key, place]  # torch has no 16 bits without a sign
            assert moved.dtype == dtype or (dtype, moved.dtype) == (np.uint16, np.int32)
            assert np.array_equal(moved, label), (key, place)


@pytest.mark.parametrize('config', MOVES)
def test_a_map_lands_where_the_picture_lands(config):
    """The picture holds its own coordinates: nearest and interpolated differ by 1.5 at most."""
    if 'pillow' in config.values() or config['type'] in ('MultiScaleFlipAug', 'TestTimeAug'):
        pytest.skip('takes bytes alone')
    if config['type'] in ('SegRescale', 'Albu'):
        pytest.skip('the picture stays' if config['type'] == 'SegRescale' else 'takes [0, 1]')
    places = np.indices((H, W)).astype(np.float32)
    results = sample(gt_seg_map=label_of(), gt_row_map=places[0], gt_column_map=places[1])
    results['img'] = np.stack([*places, np.ones((H, W), np.float32)], axis=-1)
    out = run(config, results)
    inside = np.abs(out['img'][..., 2] - 1) < 1e-3  # not padded, not mixed with what is outside
    assert inside.mean() > 0.15
    for plane, key in enumerate(('gt_row_map', 'gt_column_map')):
        assert np.abs(out['img'][..., plane] - out[key])[inside].max() < 1.5


@pytest.mark.parametrize('config', CASES)
def test_nothing_that_was_given_is_written_into(config):
    results = sample(gt_seg_map=label_of(), gt_edge_map=label_of(np.int64))
    results['gt_bboxes'] = np.array([[1.0, 2, 10, 12]])
    results['gt_keypoints'] = np.array([[[3.0, 4, 1], [7, 8, 1]]])
    if config['type'] in ('KeyMapper', 'MultiScaleViews'):
        results.pop('gt_keypoints')
    arrays = {key: value for key, value in results.items() if isinstance(value, np.ndarray)}
    before = {key: value.copy() for key, value in arrays.items()}
    for value in arrays.values():
        value.setflags(write=False)
    fields = results['seg_fields']
    out = run(config, results)
    assert out is not None
    assert fields == ['gt_seg_map', 'gt_edge_map']
    for key, value in arrays.items():
        assert np.array_equal(value, before[key]), key
    if config['type'] in ('PackSegInputs', 'ImageToTensor', 'ToTensor', 'MultiScaleFlipAug'):
        return
    for (name, place), packed in outcomes(out).items():
        shared = [key for key, value in arrays.items() if np.shares_memory(value, packed)]
        assert not (isinstance(out.get(name), torch.Tensor) and shared), (name, place)


def layouts(label):
    """The same values lying otherwise in memory."""
    wide = np.zeros((2 * H, 2 * W), label.dtype)
    wide[::2, ::2] = label
    return dict(
        fortran=np.asfortranarray(label),
        strided=wide[::2, ::2],
        reversed=label[::-1, ::-1].copy()[::-1, ::-1],
    )


@pytest.mark.parametrize('config', CASES)
def test_type_and_layout_of_a_label_change_no_value(config):
    wanted = outcomes(run(config, sample(gt_seg_map=label_of()), seed=4))
    assert wanted
    others = {str(d): label_of(d) for d in (np.int32, np.int64, np.uint16)} | layouts(label_of())
    for name, label in others.items():
        got = outcomes(run(config, sample(gt_seg_map=label), seed=4))
        assert got.keys() == wanted.keys()
        for key, array in wanted.items():
            assert np.array_equal(got[key], array), (name, key)
            if 'Pack' in str(config):
                assert got[key].dtype == array.dtype, (name, key)


@pytest.mark.parametrize('ignored', [7, 254, -100])
@pytest.mark.parametrize(
    'config',
    [
        dict(type='Pad', size=(60, 50)),
        dict(type='CenterCrop', crop_size=(60, 50), auto_pad=True),
        dict(type='RandomRotate', prob=1.0, degree=(20, 30), auto_bound=True),
    ],
    ids=lambda config: config['type'],
)
def test_what_lies_outside_is_the_label_that_the_data_set_ignores(config, ignored):
    label = np.ones((H, W), np.uint8)
    out = run(config, {**sample(gt_seg_map=label), 'ignore_index': ignored})['gt_seg_map']
    assert set(np.unique(out).tolist()) == {1, ignored}


def test_a_crop_counts_the_label_that_the_data_set_ignores_for_nothing():
    label = np.full((H, W), 7, np.uint8)
    label[:, : W // 2] = 1
    crop = TRANSFORMS.build(dict(type='RandomCrop', crop_size=(H, W), cat_max_ratio=0.75))
    tried = []
    crop.draw = lambda height, width: tried.append(1) or (0, height, 0, width)
    crop({**sample(gt_seg_map=label), 'ignore_index': 7})
    assert len(tried) == 11
    tried.clear()
    crop(sample(gt_seg_map=label))
    assert len(tried) == 1


@pytest.mark.parametrize('kind', ['RandomCrop', 'RandomRotate'])
def test_a_map_of_another_size_is_named(kind):
    config = dict(type='RandomCrop', crop_size=(4, 4))
    if kind == 'RandomRotate':
        config = dict(type=kind, prob=1.0)
    with pytest.raises(DataError, match='a.png: gt_depth_map is .12, 18.*seg_fields'):
        run(config, sample(gt_seg_map=label_of(), gt_depth_map=np.zeros((12, 18))))


def test_the_joined_beginning_moves_and_packs_every_map(tmp_path):
    """Load, resize and crop as one step, where a data set brings maps of its own."""
    import cv2

    from segkit.datasets import BaseSegDataset

    for folder, array in (('img', sample()['img']), ('ann', label_of())):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / 'a.png'), array)

    class WithDepth(BaseSegDataset):
        def get_data_info(self, idx):
            info = super().get_data_info(idx)
            return {**info, 'gt_depth_map': label_of(np.float32), 'seg_fields': ['gt_depth_map']}

    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(type='RandomResize', scale=(60, 40), ratio_range=(0.5, 2.0), keep_ratio=True),
        dict(type='RandomCrop', crop_size=(16, 20), cat_max_ratio=0.75),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackSegInputs'),
    ]
    for seed in range(8):
        samples = []
        for fast in (True, False):
            data = WithDepth(
                data_root=str(tmp_path),
                data_prefix=dict(img_path='img', seg_map_path='ann'),
                img_suffix='.png',
                pipeline=pipeline,
                fast_pipeline=fast,
            )
            np.random.seed(seed)
            samples.append(data[0]['data_samples'])
        for packed in samples:
            assert packed.gt_depth_map.data.dtype == torch.float32
            assert torch.equal(packed.gt_depth_map.data, packed.gt_sem_seg.data.float())
        assert torch.equal(samples[0].gt_depth_map.data, samples[1].gt_depth_map.data)


def test_parts_are_ours_outside_of_any_default_scope():
    """As in a script or a data worker: mmcv builds parts from its own registry otherwise."""
    for name in ('RandomResize', 'RandomChoiceResize'):
        built = TRANSFORMS.build(dict(type=name, **MOVING[name][0]))
        assert type(built.resize).__module__.startswith('segkit.')
