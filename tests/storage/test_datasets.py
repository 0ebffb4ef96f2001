"""Every data set from a store and from shards gives the samples that its local folder gives."""

import json
import os
import random
import shutil
import tarfile
import zlib

import cv2
import numpy as np
import pytest
from helpers.object_store import BUCKET, Store
from helpers.run_tool import run_tool

from segkit import storage
from segkit.datasets import BaseSegDataset
from segkit.datasets.samplers import SeededIndex
from segkit.errors import DataError
from segkit.registry import DATASETS
from segkit.storage import StoreError, shards

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=(16, 16)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
# name -> (arguments, image folder, label folder, suffixes, split file)
KINDS = {
    'ADE20KDataset': ({}, 'images/training', 'annotations/training', '.jpg', '.png', ''),
    'CityscapesDataset': (
        {}, 'leftImg8bit/train', 'gtFine/train', '_leftImg8bit.png', '_gtFine_labelTrainIds.png',
        '',
    ),
    'PascalVOCDataset': (
        dict(ann_file='ImageSets/train.txt'), 'JPEGImages', 'SegmentationClass', '.jpg', '.png',
        'ImageSets/train.txt',
    ),
    'BaseSegDataset': (
        dict(img_suffix='.png', metainfo=dict(classes=('a', 'b', 'c'))), 'img', 'lab', '.png',
        '.png', '',
    ),
}  # fmt: skip
STEMS = ['aachen/x_1', 'aachen/x.2', 'b-1', 'b', 'c d']


def write(root, kind: str) -> dict:
    """A small data set of a kind; its config."""
    given, images, labels, img_suffix, seg_suffix, split = KINDS[kind]
    rng = np.random.default_rng(0)
    for stem in STEMS:
        for folder, suffix, values in (
            (images, img_suffix, rng.integers(0, 256, (20, 24, 3), np.uint8)),
            (labels, seg_suffix, rng.integers(0, 3, (20, 24), np.uint8)),
        ):
            path = root / folder / (stem + suffix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode(suffix[-4:], values)[1].tobytes())
    if split:
        (root / split).parent.mkdir(parents=True)
        (root / split).write_text(''.join(f'{stem}\n' for stem in STEMS[:-1]))
    prefix = dict(img_path=images, seg_map_path=labels)
    return dict(type=kind, data_prefix=prefix, pipeline=PIPELINE, **given)


def samples(config: dict, root: str) -> list:
    dataset = DATASETS.build(dict(config, data_root=root))
    state = random.getstate(), np.random.get_state()
    found = [dataset[SeededIndex(i, seed=i + 1)] for i in range(len(dataset))]
    random.setstate(state[0])
    np.random.set_state(state[1])
    return found


def same(a: list, b: list) -> bool:
    assert len(a) == len(b)
    assert len(a) >= len(STEMS) - 1
    pairs = list(zip(a, b))
    names = [[s['data_samples'].img_path.rpartition('/')[2] for s in part] for part in (a, b)]
    assert names[0] == names[1]
    return all(
        (x['inputs'] == y['inputs']).all()
        and (x['data_samples'].gt_sem_seg.data == y['data_samples'].gt_sem_seg.data).all()
        for x, y in pairs
    )


def pack(root, kind: str, out, *options: object) -> str:
    """The data set as shards; their folder."""
    config = dict(write(root, kind), data_root=str(root))
    file = root.parent / f'{kind}.py'
    file.write_text(f'default_scope = "segkit"\ntrain_dataloader = dict(dataset={config!r})\n')
    status, said = run_tool(
        'dataset_converters/to_shards', file, '--out-dir', out, '--workers', 1,
        '--splits', 'train', *options,
    )  # fmt: skip
    assert status == 0, said
    return str(out)


@pytest.mark.parametrize('kind', KINDS)
def test_a_store_gives_the_samples_of_the_folder(store: Store, tmp_path, kind: str):
    config = write(tmp_path / 'data', kind)
    address = store.put_folder(tmp_path / 'data', f'data-{kind}')
    store.requests.clear()
    assert same(samples(config, address), samples(config, str(tmp_path / 'data')))
    reads = [r for r in store.requests if r[0] == 'GET' and 'list-type' not in r[1]]
    split = bool(KINDS[kind][5])
    assert len(reads) == 2 * (len(STEMS) - split) + split  # one request a file, none to ask first


@pytest.mark.parametrize('kind', KINDS)
def test_shards_give_the_samples_of_the_folder(tmp_path, kind: str):
    folder = pack(tmp_path / 'data', kind, tmp_path / 'shards', '--per-shard', 2)
    config = write(tmp_path / 'again', kind)
    assert same(samples(config, f'shards://{folder}'), samples(config, str(tmp_path / 'data')))


def test_shards_in_a_store(store: Store, tmp_path):
    folder = pack(tmp_path / 'data', 'ADE20KDataset', tmp_path / 'shards', '--per-shard', 2)
    address = store.put_folder(tmp_path / 'shards', 'ade-shards')
    config = write(tmp_path / 'again', 'ADE20KDataset')
    shards.forget()
    assert same(samples(config, f'shards://{address}'), samples(config, f'shards://{folder}'))
    ranges = [r[2] for r in store.requests if '.tar' in r[1] and r[0] == 'GET']
    assert len(ranges) == 2 * len(STEMS)
    assert all(ranges)


def test_shards_are_tar_files_that_others_read_and_the_same_each_time(tmp_path):
    one = pack(tmp_path / 'a/data', 'BaseSegDataset', tmp_path / 'one', '--per-shard', 2)
    two = pack(tmp_path / 'b/data', 'BaseSegDataset', tmp_path / 'two', '--per-shard', 2)
    files = sorted(path.name for path in (tmp_path / 'one').iterdir())
    assert files == ['index.json', 'index.npy', 'names.txt', 'train-00000.tar', 'train-00001.tar',
                     'train-00002.tar']  # fmt: skip
    for name in files:
        assert (tmp_path / 'one' / name).read_bytes() == (tmp_path / 'two' / name).read_bytes()
    members = []
    for name in files[3:]:
        with tarfile.open(f'{one}/{name}') as tar:
            members += [(info.name, tar.extractfile(info).read()) for info in tar]
    # As webdataset splits a name: all up to the first dot behind the last slash is the key.
    keys = [name.rpartition('/')[0] + '/' + name.rpartition('/')[2].split('.')[0]
            for name, _ in members]  # fmt: skip
    assert keys[::2] == keys[1::2]
    assert len(set(keys)) == len(STEMS)
    data = tmp_path / 'a/data'
    for name, content in members:
        folder, suffix = ('lab', '.label.png') if name.endswith('.label.png') else ('img', '.png')
        stem = name.removeprefix('img/').removesuffix(suffix).replace('%2E', '.')
        assert content == (data / folder / f'{stem}.png').read_bytes()
    assert two != one


def test_packing_goes_on_where_it_stopped_and_packs_again_what_has_changed(tmp_path):
    data, folder = tmp_path / 'data', tmp_path / 'shards'

    def written() -> list[int]:
        """Of each shard, when."""
        return [path.stat().st_mtime_ns for path in sorted(folder.glob('*.tar'))]

    pack(data, 'BaseSegDataset', folder, '--per-shard', 2)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    first = written()
    (folder / 'index.json').unlink()  # it was killed before the second shard was whole
    (folder / 'train-00001.tar').write_bytes(before['train-00001.tar'][:999])
    (folder / 'train-00001.tar').unlink()
    config = next(data.parent.rglob('*.py'))
    again = ('dataset_converters/to_shards', config, '--out-dir', folder, '--splits', 'train',
             '--workers', 0, '--per-shard', 2)  # fmt: skip
    status, said = run_tool(*again)
    assert status == 0, said
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [a == b for a, b in zip(first, written(), strict=True)] == [True, False, True]
    # Other pixels of equal length, with an older date: as a copy from elsewhere has.
    label = next((data / 'lab').rglob('*.png'))
    content = bytearray(label.read_bytes())
    content[-1] ^= 1
    label.write_bytes(content)
    os.utime(label, (1, 1))
    status, said = run_tool(*again)
    assert status == 0, said
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    changed = sorted(name for name in before if before[name] != after[name])
    assert changed[:2] == ['index.json', 'index.npy']
    assert len(changed) == 3  # and the shard that holds it


@pytest.mark.parametrize('damage', ['byte', 'short', 'gone', 'index', 'names'])
def test_damaged_shards_are_found_by_name(tmp_path, damage: str):
    folder = tmp_path / 'shards'
    pack(tmp_path / 'data', 'BaseSegDataset', folder)
    config = write(tmp_path / 'again', 'BaseSegDataset')
    name = {'index': 'index.npy', 'names': 'names.txt'}.get(damage, 'train-00000.tar')
    data = bytearray((folder / name).read_bytes())
    data[-20 if name != 'train-00000.tar' else 700] ^= 1
    (folder / name).write_bytes(data[:-10240] if damage == 'short' else data)
    if damage == 'gone':
        (folder / name).unlink()
    shards.forget()
    with pytest.raises(DataError, match='segkit to_shards') as caught:
        samples(config, f'shards://{folder}')
    assert name.split('.')[0] in str(caught.value)


def rewrite(folder, table=None, names=None) -> None:
    """The index of somebody who means no good: its checksums fit."""
    meta = json.loads((folder / 'index.json').read_text())
    if names is not None:
        meta['shards'] = [[name, size] for name, (_, size) in zip(names, meta['shards'])]
    if table is not None:
        np.save(folder / 'index.npy', table)
        meta['index_crc'] = zlib.crc32((folder / 'index.npy').read_bytes())
    (folder / 'index.json').write_text(json.dumps(meta))
    shards.forget()


def test_an_index_leads_nowhere_but_into_its_shards(tmp_path):
    folder = tmp_path / 'shards'
    pack(tmp_path / 'data', 'BaseSegDataset', folder)
    (tmp_path / 'outside.tar').write_bytes((folder / 'train-00000.tar').read_bytes())
    kept, paths = np.load(folder / 'index.npy'), storage.list_folder(f'shards://{folder}')
    tables = [kept.reshape(2, -1), kept.view('u1'), kept['key']]
    for column, value in (('size', 1 << 63), ('size', 1 << 40), ('offset', (1 << 64) - 1),
                          ('offset', 1 << 40), ('shard', 7)):  # fmt: skip
        tables.append(kept.copy())
        tables[-1][column][0] = value
    for changed in [dict(table=t) for t in tables] + [
        dict(table=kept, names=[n]) for n in ('../outside.tar', '/outside.tar', '..', '')
    ]:
        names = changed.get('names')
        rewrite(folder, **changed)
        with pytest.raises(DataError, match=r'index\.npy|the index says'):
            [storage.read(f'shards://{folder}/{name}') for name in paths]
        rewrite(folder, kept, names and ['train-00000.tar'])
    assert len(storage.list_folder(f'shards://{folder}')) == 2 * len(STEMS)
    (folder / 'index.npy').write_bytes(b'')
    shards.forget()
    with pytest.raises(DataError, match='index.npy'):
        storage.list_folder(f'shards://{folder}')


def test_another_index_json_above_is_passed_by(tmp_path):
    folder = pack(tmp_path / 'data', 'BaseSegDataset', tmp_path / 'shards')
    (tmp_path / 'index.json').write_text('{"of": "another program"}')
    shards.forget()
    assert len(storage.list_folder(f'shards://{folder}')) == 2 * len(STEMS)


def test_who_may_read_the_shards_need_not_see_what_lies_above(store: Store, tmp_path):
    pack(tmp_path / 'data', 'BaseSegDataset', tmp_path / 'shards')
    address = 'shards://' + store.put_folder(tmp_path / 'shards', 'ours/deep')
    for above in (f'/{BUCKET}/index', f'/{BUCKET}/ours/index'):
        store.fault('denied', times=1, match=above, method='HEAD')
    shards.forget()
    names = storage.list_folder(address)
    store.requests.clear()
    assert all(storage.read(f'{address}/{name}') for name in names)
    assert len(store.requests) == len(names) == 2 * len(STEMS)  # and is not asked again
    store.fault('denied', times=9, match='index', method='HEAD')
    shards.forget()
    with pytest.raises(StoreError, match='does not let us in'):
        storage.list_folder(address)


def test_a_store_that_does_not_answer_is_no_damage(store: Store, tmp_path, monkeypatch):
    pack(tmp_path / 'data', 'BaseSegDataset', tmp_path / 'shards')
    address = store.put_folder(tmp_path / 'shards', 'silent')
    monkeypatch.setenv('SEGKIT_STORE_TRIES', '1')
    store.fault('503', times=1, match='index.npy')
    shards.forget()
    with pytest.raises(StoreError, match='did not answer'):
        storage.list_folder(f'shards://{address}')


def test_a_picture_with_two_labels_is_packed_once(tmp_path):
    one = dict(write(tmp_path / 'data', 'BaseSegDataset'), data_root=str(tmp_path / 'data'))
    two = dict(one, data_prefix=dict(img_path='img', seg_map_path='other'))
    shutil.copytree(tmp_path / 'data/lab', tmp_path / 'data/other')
    file, out = tmp_path / 'two.py', tmp_path / 'shards'
    loaders = ''.join(
        f'{split}_dataloader = dict(dataset={config!r})\n'
        for split, config in (('train', one), ('val', two))
    )
    file.write_text(f'default_scope = "segkit"\n{loaders}')
    status, said = run_tool(
        'dataset_converters/to_shards', file, '--out-dir', out, '--workers', 1
    )  # fmt: skip
    assert status == 0, said
    assert len(storage.list_folder(f'shards://{out}')) == 3 * len(STEMS)
    assert same(samples(two, f'shards://{out}'), samples(two, str(tmp_path / 'data')))


def test_what_is_no_folder_of_shards_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match='segkit to_shards'):
        BaseSegDataset(data_root=f'shards://{tmp_path}', data_prefix=dict(img_path='img'))


def test_what_is_missing_in_a_store_is_found_when_the_data_set_is_made(store: Store, tmp_path):
    config = write(tmp_path / 'data', 'ADE20KDataset')
    address = store.put_folder(tmp_path / 'data', 'lacks')
    key = f'lacks/annotations/training/{STEMS[0]}.png'
    store.client().delete_object(Bucket=BUCKET, Key=key)
    with pytest.raises(FileNotFoundError, match='have no label') as caught:
        samples(config, address)
    assert key in str(caught.value)
    with pytest.raises(ValueError, match='no sample found'):
        samples(config, 's3://pictures/empty')


def test_a_replaced_object_is_noticed(store: Store, tmp_path):
    config = write(tmp_path / 'data', 'ADE20KDataset')
    address = store.put_folder(tmp_path / 'data', 'cut')
    dataset = DATASETS.build(dict(config, data_root=address))
    key = f'cut/images/training/{STEMS[0]}.jpg'
    store.put(key, store.get(key)[:200])  # a JPEG that OpenCV would fill with grey
    place = [i['img_path'] for i in map(dataset.get_data_info, range(5))].index(
        f's3://{BUCKET}/{key}'
    )
    with pytest.raises(DataError, match='200 bytes came') as caught:
        dataset[place]
    assert key in str(caught.value)
