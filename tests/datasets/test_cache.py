"""Decoded caches: the same samples, changed files noticed, only the needed rows decompressed."""

import json
import os

import cv2
import numpy as np
import pytest
import torch
from helpers.make_data import PREFIX, smooth_image, write_dataset
from plain_pipeline import pipeline_config
from torch.utils.data import DataLoader

from segkit.datasets import BaseSegDataset, DataError, SeededIndex, row_codec
from segkit.datasets.cache import DecodedCache, label_reading
from segkit.datasets.cache_writer import write_cache
from segkit.datasets.row_codec import decode_rows, encode_rows

SIZES = [(96, 128), (77, 131), (200, 120)]
KINDS = [('raw', None), ('rows', 'zlib'), ('rows', 'zstd')]
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
CODECS = [k for k in KINDS if k[1] != 'zstd' or row_codec.zstandard is not None]


def build(root, **kwargs):
    kwargs.setdefault('pipeline', pipeline_config((160, 100), (64, 80)))
    kwargs.setdefault('serialize_data', False)
    settings = dict(img_suffix='.png', reduce_zero_label=True) | kwargs
    return BaseSegDataset(data_root=str(root), data_prefix=PREFIX, **settings)


@pytest.fixture
def root(tmp_path):
    return write_dataset(tmp_path / 'data', SIZES)


@pytest.mark.parametrize(('kind', 'codec'), CODECS)
@pytest.mark.parametrize('fast', [True, False])
def test_samples_from_a_cache_equal_those_from_files(root, tmp_path, kind, codec, fast):
    write_cache(build(root), tmp_path / 'cache', kind, codec=codec)
    cached = build(root, cache=str(tmp_path / 'cache'), fast_pipeline=fast)
    decoded = build(root)
    for seed in range(12):
        index = SeededIndex(seed % len(SIZES), seed)
        got, wanted = cached[index], decoded[index]
        assert torch.equal(got['inputs'], wanted['inputs'])
        label = wanted['data_samples'].gt_sem_seg.data
        assert torch.equal(got['data_samples'].gt_sem_seg.data, label)
        assert got['data_samples'].metainfo == wanted['data_samples'].metainfo


@pytest.mark.parametrize(('kind', 'codec'), CODECS)
def test_two_workers_write_the_same_cache_as_none_and_read_it(root, tmp_path, kind, codec):
    for workers, name in ((0, 'a'), (2, 'b')):
        write_cache(build(root), tmp_path / name, kind, workers, codec)
    for file in ('data.bin', 'index.npy'):
        assert (tmp_path / 'a' / file).read_bytes() == (tmp_path / 'b' / file).read_bytes()
    cached = build(root, cache=str(tmp_path / 'a'))
    loader = DataLoader(cached, batch_size=None, num_workers=2)
    assert [sample['inputs'].shape[0] for sample in loader] == [3] * len(SIZES)


def test_a_changed_file_is_noticed_when_the_dataset_is_made(root, tmp_path):
    cache = str(tmp_path / 'cache')
    write_cache(build(root), cache)
    path = f'{root}/ann/001.png'
    stat = os.stat(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    with pytest.raises(DataError, match=r'img/001\.png: .*changed after the cache.*again'):
        build(root, cache=cache)


PALETTE = [[10, 20, 30], [40, 50, 60]]


def painted(tmp_path, palette=PALETTE, ignored=(), **kwargs):
    metainfo = dict(classes=('a', 'b'), palette=palette, ignored_colours=ignored)
    reading = dict(label_format='rgb', reduce_zero_label=False, metainfo=metainfo, pipeline=LOAD)
    return build(tmp_path / 'painted', **reading, **kwargs)


@pytest.fixture
def painted_cache(tmp_path):
    root = write_dataset(tmp_path / 'painted', [(8, 10)])
    indices = np.arange(80).reshape(8, 10) % 2
    cv2.imwrite(f'{root}/ann/000.png', np.array(PALETTE, np.uint8)[indices][..., ::-1])
    write_cache(painted(tmp_path), tmp_path / 'cache')
    return str(tmp_path / 'cache')


@pytest.mark.parametrize(
    ('changed', 'name'),
    [(dict(palette=PALETTE[::-1]), 'palette'), (dict(ignored=[[7, 7, 7]]), 'ignored_colours')],
)
def test_labels_painted_in_other_colours_than_those_cached_are_refused(
    tmp_path, painted_cache, changed, name
):
    cached, decoded = (painted(tmp_path, cache=cache)[0] for cache in (painted_cache, None))
    assert np.array_equal(cached['gt_seg_map'], decoded['gt_seg_map'])
    with pytest.raises(DataError, match=rf'cache: the labels .* with {name}=.*Write the cache'):
        painted(tmp_path, cache=painted_cache, **changed)


def test_a_cache_of_painted_labels_is_refused_where_they_are_indices_and_the_other_way(
    tmp_path, painted_cache
):
    with pytest.raises(DataError, match='read with label_format=rgb, .* label_format=index'):
        build(tmp_path / 'painted', cache=painted_cache)
    meta = json.loads((tmp_path / 'cache/cache.json').read_text())
    del meta['labels']  # as of a cache written before this was kept
    (tmp_path / 'cache/cache.json').write_text(json.dumps(meta))
    with pytest.raises(
        DataError, match='read with an unknown label_format, .*Write the cache again'
    ):
        painted(tmp_path, cache=painted_cache)


@pytest.mark.parametrize('fast', [True, False])
@pytest.mark.parametrize('color_type', ['grayscale', 'unchanged'])
def test_a_cache_of_colour_images_is_refused_where_others_are_asked_for(
    root, tmp_path, color_type, fast
):
    write_cache(build(root), tmp_path / 'cache')
    pipeline = pipeline_config((160, 100), (64, 80))
    pipeline[0] = dict(type='LoadImageFromFile', color_type=color_type)
    cached = build(
        root,
        cache=str(tmp_path / 'cache'),
        pipeline=pipeline,
        fast_pipeline=fast,
        on_error='skip',
    )
    with pytest.raises(
        ValueError, match=rf"img/000.png: .*color_type='{color_type}', .*cache=None"
    ):
        cached[0]


def test_an_image_that_is_not_in_the_cache_is_named(root, tmp_path):
    cache = str(tmp_path / 'cache')
    write_cache(build(root, indices=2), cache)
    with pytest.raises(DataError, match=r'img/002\.png: this image is not in the cache'):
        build(root, cache=cache)


def test_a_folder_that_is_no_cache_is_named(root, tmp_path):
    with pytest.raises(DataError, match=r'elsewhere: this is no complete cache'):
        build(root, cache=str(tmp_path / 'elsewhere'))


def test_an_interrupted_write_leaves_the_old_cache(root, tmp_path):
    cache = tmp_path / 'cache'
    write_cache(build(root), cache)
    before = (cache / 'data.bin').read_bytes()
    with open(f'{root}/img/001.png', 'wb') as file:
        file.write(b'damaged')
    with pytest.raises(DataError, match=r'img/001\.png'):
        write_cache(build(root), cache)
    assert (cache / 'data.bin').read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ['cache', 'data']


@pytest.mark.parametrize('codec', [codec for _, codec in CODECS])
@pytest.mark.parametrize('shape', [(1, 5, 3), (63, 4), (64, 7, 3), (130, 9, 3)])
def test_the_row_codec_is_lossless_for_any_number_of_leading_rows(codec, shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    block = np.frombuffer(encode_rows(array, codec), np.uint8)
    for stop in {1, shape[0] // 2 or 1, shape[0]}:
        assert np.array_equal(decode_rows(block, shape, stop, codec), array[:stop])
    assert np.array_equal(decode_rows(block, shape, None, codec), array)


def test_compressed_rows_take_no_more_space_than_png():
    # As in a photograph: the planes follow one brightness, with a little colour and noise.
    rng = np.random.default_rng(0)
    colour = smooth_image(rng, (512, 683)).astype(float) - 128
    image = smooth_image(rng, (512, 683), 1) + colour / 8 + rng.normal(0, 3, (512, 683, 1))
    image = image.clip(0, 255).astype(np.uint8)
    size = len(encode_rows(image, row_codec.best_codec()))
    assert size <= len(cv2.imencode('.png', image)[1])


def test_a_zstd_cache_without_zstandard_says_what_to_install(root, tmp_path, monkeypatch):
    write_cache(build(root), tmp_path / 'cache', 'rows', codec='zlib')
    meta = tmp_path / 'cache/cache.json'
    meta.write_text(json.dumps({**json.loads(meta.read_text()), 'codec': 'zstd'}))
    monkeypatch.setattr(row_codec, 'zstandard', None)
    with pytest.raises(DataError, match='pip install zstandard'):
        build(root, cache=str(tmp_path / 'cache'))[0]
    assert row_codec.best_codec() == 'zlib'


def every_sample(data, cache):
    """All rows of all samples of a cache opened anew, as the data set opens it."""
    opened = DecodedCache(str(cache), data.data_root)
    opened.check(data.data_list, label_reading(data._common))
    entries = [opened.entry(info['img_path']) for info in data.data_list]
    return [array for entry in entries for array in (entry.image(), entry.label())]


@pytest.fixture
def pairs(tmp_path):
    root = write_dataset(tmp_path / 'pairs', [(9, 11), (70, 6)])
    return build(root)


@pytest.mark.parametrize(('kind', 'codec'), CODECS)
def test_a_zeroed_block_is_found_and_its_picture_named(pairs, tmp_path, kind, codec):
    cache, path = tmp_path / 'cache', tmp_path / 'cache/data.bin'
    write_cache(pairs, cache, kind, codec=codec)
    whole = path.read_bytes()
    named = r'img/00\d\.png: its (image|label) in .*data\.bin is not what was written'
    for start in np.linspace(0, len(whole) - 64, 12).astype(int).tolist():
        path.write_bytes(whole[:start] + bytes(64) + whole[start + 64 :])
        with pytest.raises(DataError, match=named):
            every_sample(pairs, cache)
        with pytest.raises(DataError, match=named):
            list(map(build(pairs.data_root, cache=str(cache), pipeline=LOAD).__getitem__, (0, 1)))
    for rest in (9, len(whole) // 2, len(whole)):
        path.write_bytes(whole[:-rest])
        with pytest.raises(DataError, match='Write the cache again'):
            every_sample(pairs, cache)


@pytest.mark.parametrize(('kind', 'codec'), CODECS)
def test_no_flipped_bit_reads_as_another_picture(pairs, tmp_path, kind, codec):
    """At a thousand places; what is not found changes nothing, as in the padding of words."""
    cache = tmp_path / 'cache'
    write_cache(pairs, cache, kind, codec=codec)
    wanted = every_sample(pairs, cache)
    rng, found, same = np.random.default_rng(0), 0, 0
    for name, many in (('data.bin', 800), ('index.npy', 100), ('cache.json', 100)):
        whole = (cache / name).read_bytes()
        for place in rng.choice(8 * len(whole), many, replace=False).tolist():
            damaged = bytearray(whole)
            damaged[place // 8] ^= 1 << place % 8
            (cache / name).write_bytes(damaged)
            try:
                got = every_sample(pairs, cache)
            except DataError:
                found += 1
                continue
            assert all(np.array_equal(one, other) for one, other in zip(got, wanted))
            same += 1
        (cache / name).write_bytes(whole)
    assert found + same == 1000
    assert found > 900


def test_a_cache_without_checksums_is_to_be_written_again(root, tmp_path):
    write_cache(build(root), tmp_path / 'cache')
    meta = tmp_path / 'cache/cache.json'
    meta.write_text(json.dumps({**json.loads(meta.read_text()), 'version': 2}))
    with pytest.raises(DataError, match='of another version. Write the cache again with'):
        build(root, cache=str(tmp_path / 'cache'))


def test_damage_below_the_rows_that_are_read_costs_nothing():
    array = np.random.default_rng(0).integers(0, 256, (200, 9, 3), dtype=np.uint8)
    for _, codec in CODECS:
        block = np.frombuffer(encode_rows(array, codec), np.uint8).copy()
        block[-5] ^= 4
        assert np.array_equal(decode_rows(block, array.shape, 128, codec), array[:128])
        with pytest.raises(row_codec.DamagedBlockError, match='rows from 192'):
            decode_rows(block, array.shape, 193, codec)


def test_a_checksum_sees_every_bit_and_the_order_of_words():
    rng = np.random.default_rng(0)
    for size in (0, 1, 7, 8, 9, 64, 203):
        data = rng.integers(0, 256, size, dtype=np.uint8)
        seen = {row_codec.checksum(data)}
        for place in range(8 * size):
            other = data.copy()
            other[place // 8] ^= 1 << place % 8
            seen.add(row_codec.checksum(other))
        assert row_codec.checksum(data) in seen
        assert len(seen) > 4 * size
    assert row_codec.checksum(np.zeros(8, np.uint8)) != row_codec.checksum(np.zeros(16, np.uint8))
    words = np.arange(1, 5, dtype='<u8')
    swapped = words[[0, 2, 1, 3]]
    assert row_codec.checksum(words.view(np.uint8)) != row_codec.checksum(swapped.view(np.uint8))
