"""Every data set and sampler that a config can name: the same samples however labels are stored and
whoever loads them, and nothing that was given is written into."""

import copy
import inspect
import pickle
import random

import cv2
import numpy as np
import pytest
import torch
from helpers import found
from helpers.make_data import PREFIX, blob_label, smooth_image
from PIL import Image
from torch.utils.data import DataLoader

from segkit.datasets import BaseSegDataset, SeededIndex, decode, row_codec
from segkit.datasets.cache_writer import write_cache
from segkit.registry import DATA_SAMPLERS, DATASETS, FUNCTIONS

WRAPPERS = {
    'ConcatDataset': lambda part: dict(datasets=[part, part]),
    'RepeatDataset': lambda part: dict(dataset=part, times=2),
    'ClassBalancedDataset': lambda part: dict(dataset=part, oversample_thr=0.5),
    'MultiImageMixDataset': lambda part: dict(
        dataset={**part, 'pipeline': part['pipeline'][:2]}, pipeline=part['pipeline'][2:]
    ),
}
LEAVES = sorted(set(found.datasets()) - set(WRAPPERS))
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
MOVE = [
    dict(type='RandomResize', scale=(60, 40), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(24, 32), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
TURN = [dict(type='RandomRotate', prob=0.7, degree=20), *MOVE]
INDICES = [SeededIndex(0, 11), SeededIndex(1, 12), SeededIndex(0, 13)]

# How a label of small whole numbers may lie on disk, by ending.
STORED = {
    'uint8': ('.png', lambda label: cv2.imencode('.png', label)[1].tobytes()),
    'uint16': ('.png', lambda label: cv2.imencode('.png', label.astype(np.uint16))[1].tobytes()),
    'int32': ('.tiff', lambda label: cv2.imencode('.tiff', label.astype(np.int32))[1].tobytes()),
    'float32': ('.tiff', lambda label: cv2.imencode('.tiff', np.float32(label))[1].tobytes()),
    'palette': ('.png', None),
    'bmp': ('.bmp', lambda label: cv2.imencode('.bmp', label)[1].tobytes()),
}


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    """The same two pairs for each way of storing labels."""
    roots = {}
    for name, (ending, encode) in STORED.items():
        root = roots[name] = tmp_path_factory.mktemp(name)
        rng = np.random.default_rng(5)
        for folder in PREFIX.values():
            (root / folder).mkdir()
        for stem, size in (('a', (40, 60)), ('b', (50, 44))):
            image, label = smooth_image(rng, size), blob_label(rng, size, 5)
            cv2.imwrite(str(root / 'img' / f'{stem}.png'), image)
            path = root / 'ann' / f'{stem}{ending}'
            if encode is None:
                picture = Image.fromarray(label, 'P')
                picture.putpalette([value % 256 for value in range(768, 0, -1)])
                picture.save(path)
            else:
                path.write_bytes(encode(label))
    return roots


def config(kind, root, pipeline, stored='uint8', **kwargs):
    if kind in WRAPPERS:
        part = config('BaseSegDataset', root, pipeline, stored, **kwargs)
        return dict(type=kind, **WRAPPERS[kind](part))
    if kind == 'ShapesDataset':
        kwargs.pop('cache', None)
        return dict(type=kind, num_images=2, pipeline=pipeline, **kwargs)
    return dict(
        type=kind, data_root=str(root), data_prefix=PREFIX, img_suffix='.png',
        seg_map_suffix=STORED[stored][0], pipeline=pipeline, **kwargs,
    )  # fmt: skip


def build(*args, **kwargs):
    """Without mmengine's packing of the list, which collects garbage for half a second."""
    made = config(*args, **{'serialize_data': False, **kwargs})
    if made['type'] in ('BaseSegDataset', *WRAPPERS):
        for part in made.get('datasets', [made.get('dataset', made)]):
            part.setdefault('metainfo', dict(classes=tuple('abcde')))
    return DATASETS.build(made)


def assert_equal(got, wanted):
    assert torch.equal(got['inputs'], wanted['inputs'])
    one, other = got['data_samples'], wanted['data_samples']
    assert one.gt_sem_seg.data.dtype == other.gt_sem_seg.data.dtype
    assert torch.equal(one.gt_sem_seg.data, other.gt_sem_seg.data)
    for key in ('img_shape', 'ori_shape', 'scale_factor', 'flip'):
        assert one.metainfo.get(key) == other.metainfo.get(key)


def test_every_registered_data_set_and_sampler_is_swept():
    assert set(WRAPPERS) <= set(found.datasets())
    assert len(LEAVES) >= 7
    assert all(inspect.isclass(cls) for cls in found.samplers().values())


@pytest.mark.parametrize('kind', [*LEAVES, *WRAPPERS])
@pytest.mark.parametrize('moves', [MOVE, TURN], ids=['joined', 'one by one'])
def test_samples_are_equal_however_labels_are_stored(roots, kind, moves):
    data = build(kind, roots['uint8'], LOAD + moves)
    wanted = [data[index] for index in INDICES]
    for name in STORED:
        data = build(kind, roots[name], LOAD + moves, name)
        for index, want in zip(INDICES, wanted):
            assert_equal(data[index], want)


@pytest.mark.parametrize('kind', [*LEAVES, *WRAPPERS])
def test_samples_are_equal_whoever_loads_them(roots, kind):
    data = build(kind, roots['uint8'], LOAD + TURN, serialize_data=True)
    wanted = [data[index] for index in INDICES]
    for workers in (0, 1, 2):
        random.seed(workers)
        np.random.seed(workers)
        loader = DataLoader(data, batch_size=None, sampler=INDICES, num_workers=workers)
        for got, want in zip(loader, wanted, strict=True):
            assert_equal(got, want)


@pytest.mark.parametrize('kind', LEAVES)
def test_samples_are_equal_with_and_without_each_optional_library(
    roots, kind, tmp_path, monkeypatch
):
    data = build(kind, roots['uint8'], LOAD + MOVE)
    wanted = [data[index] for index in INDICES]
    libraries = [(decode, 'pyspng'), (row_codec, 'zstandard')]
    assert all(getattr(module, name) is not None for module, name in libraries)
    for fast_png in (True, False):
        monkeypatch.setattr(decode, 'FAST_PNG', fast_png)
        data = build(kind, roots['uint8'], LOAD + MOVE)
        for index, want in zip(INDICES, wanted):
            assert_equal(data[index], want)
    for number, (form, codec) in enumerate((('raw', None), ('rows', 'zlib'), ('rows', 'zstd'))):
        cache = tmp_path / str(number)
        plain = build(kind, roots['uint8'], [])
        if kind != 'ShapesDataset':
            write_cache(plain, cache, form, codec=codec)
        cached = build(kind, roots['uint8'], LOAD + MOVE, cache=str(cache))
        for index, want in zip(INDICES, wanted):
            assert_equal(cached[index], want)


@pytest.mark.parametrize('kind', [*LEAVES, *WRAPPERS])
def test_a_data_set_changes_nothing_that_it_was_given(roots, kind):
    given = config(kind, roots['uint8'], LOAD + MOVE)
    part = given.get('dataset', given.get('datasets', [given])[0]) if kind in WRAPPERS else given
    if part['type'] == 'BaseSegDataset':
        part['metainfo'] = dict(classes=list('abcde'), palette=[[i, i, i] for i in range(5)])
    before = copy.deepcopy(given)
    own = copy.deepcopy(getattr(found.datasets()[kind], 'METAINFO', None))
    data = DATASETS.build(given)
    first = data.get_data_info(0)
    listed = copy.deepcopy({k: v for k, v in first.items() if k != 'cache_entry'})
    for index in INDICES:
        data[index]
    data.metainfo['classes'] = 'changed by a caller'
    first['seg_fields'].append('changed by a caller')
    assert given == before
    assert getattr(found.datasets()[kind], 'METAINFO', None) == own
    again = data.get_data_info(0)
    assert {k: v for k, v in again.items() if k != 'cache_entry'} == listed
    assert data.metainfo['classes'] != 'changed by a caller'


@pytest.mark.parametrize('kind', [*LEAVES, *WRAPPERS])
def test_every_data_set_tells_the_classes_of_its_samples(roots, kind):
    data = build(kind, roots['uint8'], LOAD if kind not in WRAPPERS else LOAD + MOVE)
    part = data
    while part.__class__.__name__ in WRAPPERS:
        part = getattr(part, 'dataset', None) or part.datasets[0]
    assert part.get_cat_ids(0)
    assert {tuple(data.get_cat_ids(i)) for i in range(len(data))} == {
        tuple(part.get_cat_ids(i)) for i in range(len(part))
    }


def test_loading_adds_to_no_list_that_someone_holds(roots):
    info = build('BaseSegDataset', roots['uint8'], []).get_data_info(0)
    fields = info['seg_fields'] = ['gt_depth_map']
    loading = BaseSegDataset(pipeline=LOAD, lazy_init=True).pipeline
    for _ in range(2):
        assert loading(dict(info))['seg_fields'] == ['gt_depth_map', 'gt_seg_map']
    assert fields == ['gt_depth_map']


@pytest.mark.parametrize('kind', found.samplers())
def test_a_sampler_draws_from_its_seed_alone_and_touches_no_other(kind):
    data = list(range(10))
    sampler = DATA_SAMPLERS.build(dict(type=kind, dataset=data, shuffle=True, seed=3))
    orders = []
    for seed in (0, 1):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
        orders.append([int(index) for index, _ in zip(iter(sampler), range(10))])
        assert random.getstate() == states[0]
        assert np.random.get_state()[1].tolist() == states[1]
        assert torch.equal(torch.get_rng_state(), states[2])
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == data == list(range(10))


@pytest.mark.parametrize('kind', found.collations())
def test_collating_and_sending_change_no_sample(roots, kind):
    data = build('BaseSegDataset', roots['uint8'], LOAD + MOVE)
    samples = [data[index] for index in INDICES]
    before = copy.deepcopy(samples)
    batch = FUNCTIONS.get(kind)(samples)
    received = pickle.loads(pickle.dumps(batch))
    for number, (sample, wanted) in enumerate(zip(samples, before)):
        assert_equal(sample, wanted)
        for one in (batch, received):
            assert_equal({key: values[number] for key, values in one.items()}, wanted)
