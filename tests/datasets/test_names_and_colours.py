"""Classes, colours and label maps that are given, and what stored labels become by them."""

import struct

import cv2
import numpy as np
import pytest
from helpers import found
from PIL import Image

from segkit.datasets import BaseSegDataset
from segkit.datasets.decode import decode_image, decode_label
from segkit.datasets.shapes import ShapesDataset
from segkit.errors import DataError
from segkit.registry import DATASETS

SHAPE = (20, 32)
RNG = np.random.default_rng(5)
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]


def own_classes():
    """Data sets with colours of their own."""
    kinds = {k for k in found.datasets().values() if getattr(k, 'METAINFO', {}).get('palette')}
    return sorted(kinds - {ShapesDataset}, key=lambda cls: cls.__name__)


def folder(root, label, ending='.png'):
    """A picture and its label, an array of indices or colours (RGB), or bytes."""
    (root / 'img').mkdir(exist_ok=True)
    (root / 'ann').mkdir(exist_ok=True)
    cv2.imwrite(f'{root}/img/x.png', RNG.integers(0, 255, (*SHAPE, 3), dtype=np.uint8))
    if isinstance(label, bytes):
        (root / f'ann/x{ending}').write_bytes(label)
    elif ending == '.npy':
        np.save(root / 'ann/x.npy', label)
    else:
        Image.fromarray(label).save(root / f'ann/x{ending}')
    where = dict(data_root=str(root), data_prefix=dict(img_path='img', seg_map_path='ann'))
    names = dict(img_suffix='.png', seg_map_suffix=ending)
    return dict(where, **names, pipeline=LOAD, serialize_data=False)


ORDERS = [lambda names: names, lambda names: names[::-1], lambda names: names[4:1:-1]]


@pytest.mark.parametrize('chosen', ORDERS, ids=['all', 'turned', 'some'])
def test_colours_are_those_of_the_names_in_use_in_any_order(tmp_path, chosen):
    """As a table says it; two of one colour are refused."""
    swept = 0
    for cls in own_classes():
        names, colours = list(cls.METAINFO['classes']), np.array(cls.METAINFO['palette'], np.uint8)
        index = RNG.integers(0, len(names), SHAPE)
        used = chosen(names)
        settings = dict(label_format='rgb', reduce_zero_label=False, metainfo=dict(classes=used))
        files = folder(tmp_path, colours[index])
        if len(np.unique(colours, axis=0)) < len(names):
            with pytest.raises(ValueError, match='for both'):
                cls(**files, **settings)
            continue
        wanted = np.array([used.index(name) if name in used else 255 for name in names])[index]
        assert np.array_equal(cls(**files, **settings)[0]['gt_seg_map'], wanted), cls.__name__
        swept += 1
    assert swept >= 6, swept


def test_colours_given_for_the_names_in_use_are_those(tmp_path):
    cls = DATASETS.get('PascalVOCDataset')
    own = dict(zip(cls.METAINFO['classes'], cls.METAINFO['palette']))
    files = folder(
        tmp_path, np.array([own['cat'], own['dog']], np.uint8)[RNG.integers(0, 2, SHAPE)]
    )
    meta = dict(classes=['dog', 'cat'], palette=[own['dog'], own['cat']])
    label = cls(**files, label_format='rgb', metainfo=meta)[0]['gt_seg_map']
    painted = np.array(Image.open(tmp_path / 'ann/x.png'))
    assert np.array_equal(label, (painted != own['dog']).any(2))


def test_colours_and_an_own_zero_are_refused_together(tmp_path):
    """ISPRS and LoveDA take the stored 0 out, which colours do not have."""
    for cls in own_classes():
        colours = np.array(cls.METAINFO['palette'], np.uint8)
        files = folder(tmp_path, colours[RNG.integers(0, len(colours), SHAPE)])
        with pytest.raises(ValueError, match='Set reduce_zero_label=False'):
            cls(**files, label_format='rgb', reduce_zero_label=True)


REFUSED = [
    (dict(classes=['a', 'b', 'b']), r"names 'b' for the indices \[1, 2\]"),
    (dict(classes=[]), 'classes is empty'),
    (dict(classes={0: 'a', 1: 'b'}), 'classes is a dict: give a list'),
    (dict(classes={'a', 'b'}), 'classes is a set: give a list'),
    (dict(classes=3), 'classes is a int: give a list'),
    (dict(classes=['a'], palette=['#ff0000']), r"palette\[0\] is '#ff0000': a colour is \[r"),
    (dict(classes=['a', 'b'], palette=[[1, 2, 3], [0.1, 0.2, 1.0]]), r'palette\[1\] is \[0.1'),
    (dict(classes=['a'], palette=[[300, 0, 0]]), r'palette\[0\] is \[300'),
    (dict(classes=['a'], palette=[[1, 2, 3, 255]]), r'palette\[0\] is \[1, 2, 3, 255\]'),
]


@pytest.mark.parametrize(('meta', 'said'), REFUSED)
def test_names_and_colours_that_are_none_are_refused(tmp_path, meta, said):
    with pytest.raises(ValueError, match=said):
        BaseSegDataset(metainfo=meta, lazy_init=True)


def test_colours_that_tell_nothing_are_refused():
    same = dict(classes=['a', 'b'], palette=[[1, 2, 3]] * 2)
    for meta, said in ((same, "both 'a' and 'b'"), (dict(classes=['a']), 'metainfo.palette, one')):
        BaseSegDataset(metainfo=meta, lazy_init=True)
        with pytest.raises(ValueError, match=said):
            BaseSegDataset(metainfo=meta, label_format='rgb', lazy_init=True)


def test_numbers_are_names_and_texts_are_values(tmp_path):
    stored = RNG.integers(0, 5, SHAPE).astype(np.uint8)
    files = folder(tmp_path, stored)
    data = BaseSegDataset(**files, metainfo=dict(classes=range(5)), label_map={'0': 4, 4: '0'})
    assert data.metainfo['classes'] == tuple('01234')
    assert np.array_equal(data[0]['gt_seg_map'], np.array([4, 1, 2, 3, 0])[stored])
    for wrong in ([0, 1], {(0, 1): 2}, {'a': 1}, 'x'):
        with pytest.raises(ValueError, match='label_map is .*: a dict from each stored value'):
            BaseSegDataset(**files, label_map=wrong)


def page(height, width, **tags):
    """Tags of a page without their places: name -> list of values of 32 bits."""
    numbers = dict(
        subfile=254, width=256, height=257, bits=258, compression=259, colour=262, offsets=273,
        samples=277, rows=278, sizes=279, planar=284, extra=338, form=339,
    )  # fmt: skip
    usual = dict(width=[width], height=[height], rows=[height], compression=[1])
    return {numbers[name]: values for name, values in {**usual, **tags}.items()}


def tiff(content, *pages):
    """Written by hand from TIFF 6.0: pages that all show the same bytes, which begin at 8."""
    out = b'II*\0' + struct.pack('<I', 8 + len(content)) + content
    for number, tags in enumerate(pages, 1):
        start = len(out) + 2 + 12 * len(tags) + 4
        body, beyond = b'', b''
        for tag, values in sorted(tags.items()):
            packed = struct.pack(f'<{len(values)}I', *values)
            if len(values) > 1:
                place, beyond = start + len(beyond), beyond + packed
                packed = struct.pack('<I', place)
            body += struct.pack('<HHI', tag, 4, len(values)) + packed
        after = start + len(beyond) if number < len(pages) else 0
        out += struct.pack('<H', len(tags)) + body + struct.pack('<I', after) + beyond
    return out


def gray_tiff(label, bits, subfiles=(0,)):
    planes = (label[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    content = np.packbits(planes.reshape(len(label), -1).astype(np.uint8), axis=1).tobytes()
    rest = dict(bits=[bits], colour=[1], offsets=[8], samples=[1], sizes=[len(content)])
    return tiff(content, *(page(*label.shape, subfile=[kind], **rest) for kind in subfiles))


@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_gray_tiffs_of_few_bits_give_their_stored_values(bits):
    label = RNG.integers(0, 1 << bits, SHAPE, dtype=np.uint8)
    assert np.array_equal(decode_label(gray_tiff(label, bits)), label)


def test_a_tiff_of_several_pages_is_refused_and_one_with_a_preview_is_not():
    label = RNG.integers(0, 200, SHAPE, dtype=np.uint8)
    assert np.array_equal(decode_label(gray_tiff(label, 8, (0, 1))), label)
    for decode in (decode_label, decode_image):
        with pytest.raises(ValueError, match='several pages of one size'):
            decode(gray_tiff(label, 8, (0, 0)))
    ring = gray_tiff(label, 8)[:-4] + struct.pack('<I', 8 + label.size)  # its next page is itself
    assert np.array_equal(decode_label(ring), label)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize('apart', [False, True], ids=['interleaved', 'apart'])
@pytest.mark.parametrize('colour', [1, 2], ids=['grey', 'rgb'])
def test_bands_of_a_tiff_are_all_there_or_refused_by_number(dtype, apart, colour):
    """Satellites' pictures, of which OpenCV reads the first band, or others, without a word."""
    read = 0
    for bands in range(3 if colour == 2 else 1, 7):
        array = RNG.integers(0, 255, (*SHAPE, bands)).astype(dtype)
        content = (array.transpose(2, 0, 1) if apart else array).tobytes()
        parts, size = bands if apart else 1, len(content) // (bands if apart else 1)
        tags = dict(
            bits=[8 * array.itemsize] * bands, samples=[bands], colour=[colour],
            offsets=[8 + i * size for i in range(parts)], sizes=[size] * parts,
            planar=[1 + apart], form=[3 if dtype is np.float32 else 1] * bands,
        )  # fmt: skip
        tags |= {'extra': [0] * (bands - 2 * colour + 1)} if bands > 2 * colour - 1 else {}
        data = tiff(content, page(*SHAPE, **tags))
        try:
            got = decode_image(data, 'unchanged')
        except ValueError as error:
            said = str(error)
            assert f'a TIFF of {bands} ' in said
            continue
        want = array[..., [2, 1, 0, *range(3, bands)]] if bands >= 3 else array
        assert np.array_equal(got.reshape(array.shape), want)
        read += 1
    assert read == {1: 1, 2: 0 if apart and dtype is not np.uint8 else 2}[colour]


@pytest.mark.parametrize('dtype', [bool, np.uint8, np.int64, np.float32])
def test_arrays_of_whole_numbers_are_labels(tmp_path, dtype):
    label = RNG.integers(0, 2 if dtype is bool else 9, SHAPE).astype(dtype)
    got = BaseSegDataset(**folder(tmp_path, label, '.npy'))[0]['gt_seg_map']
    assert got.dtype == np.uint8
    assert np.array_equal(got, label)


@pytest.mark.parametrize('array', [np.zeros((3, *SHAPE)), np.full(SHAPE, 0.5), np.full(SHAPE, 'a')])
def test_arrays_that_are_no_labels_are_refused_by_name(tmp_path, array):
    with pytest.raises(DataError, match=r'x\.npy: the label cannot be read'):
        BaseSegDataset(**folder(tmp_path, array, '.npy'))[0]
