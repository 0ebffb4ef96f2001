"""Shards, caches, pictures, labels and progress that a stranger made or a disk tore: an error of
ours that names the file, nothing written elsewhere, and no memory by the gigabyte."""

import contextlib
import io
import json
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.make_data import png_chunk
from PIL import Image

from segkit import storage
from segkit.apis.app.predicting import USUAL, refuse_large
from segkit.apis.named_pictures import plain_name
from segkit.apis.predict_resume import FOLDER, Done, Entry, Journal, earlier, stamps, start
from segkit.apis.sources import pictures
from segkit.datasets import cache
from segkit.datasets.decode import (
    DecodeError,
    decode_colours,
    decode_image,
    decode_label,
    orientation,
    picture_header,
)
from segkit.errors import DataError, EvaluationError, UserError
from segkit.evaluation.predictions import Predictions
from segkit.storage import shards
from segkit.table_file import TableError, read_table

INF = float('inf')
DEEP = b'\x93NUMPY\x01\0' + struct.pack('<H', 9000)


def npy(shape: object, dtype: np.dtype = shards.INDEX_DTYPE) -> bytes:
    """The head of a table of that shape, and no record."""
    descr = np.lib.format.dtype_to_descr(dtype)
    head = repr(dict(descr=descr, fortran_order=False, shape=shape)).encode() + b'\n'
    return b'\x93NUMPY\x01\0' + struct.pack('<H', len(head)) + head


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


TABLES = {
    'empty': b'', 'text': b'junk', 'of 300 TB': npy((10**13,)), 'beyond counting': npy((10**30,)),
    'negative': npy((-1,)), 'brackets': DEEP + b'(' * 9000, 'signs': DEEP + b'{' + b'-' * 8999,
    'of numbers': saved(np.zeros(3)), 'one record': saved(np.zeros((), shards.INDEX_DTYPE)),
    'a grid': saved(np.zeros((1, 1), shards.INDEX_DTYPE)), 'cut': saved(np.zeros(9))[:100],
    'no shape': npy('abc'), 'an archive': b'PK\x05\x06' + bytes(18),
}  # fmt: skip


@pytest.mark.parametrize('name', TABLES)
def test_what_is_no_table_is_one_kind_of_error(name, tmp_path):
    path = tmp_path / 'a.npy'
    path.write_bytes(TABLES[name])
    for source in (path, io.BytesIO(TABLES[name])):
        with pytest.raises(TableError):
            read_table(source, shards.INDEX_DTYPE)


def write_shards(folder: Path, names: list[str], index: bytes | None = None, **meta: object):
    """Shards of one tar whose every file is 'abc'."""
    folder.mkdir(exist_ok=True)
    shards.forget()
    rows = sorted((shards.path_key(name), name) for name in names)
    table = np.zeros(len(rows), shards.INDEX_DTYPE)
    for record, (key, _) in zip(table, rows):
        record['key'], record['crc'], record['size'] = key, zlib.crc32(b'abc'), 3
    index = saved(table) if index is None else index
    listed = ''.join(f'{name}\n' for _, name in rows).encode()
    (folder / 'a.tar').write_bytes(b'abc')
    (folder / 'index.npy').write_bytes(index)
    (folder / 'names.txt').write_bytes(listed)
    known = dict(version=1, index_crc=zlib.crc32(index), names_crc=zlib.crc32(listed),
                 shards=[['a.tar', 3]])  # fmt: skip
    (folder / 'index.json').write_text(json.dumps({**known, **meta}))


@pytest.mark.parametrize(
    'meta',
    [dict(shards=[['a.tar', INF]]), dict(names_crc=INF), dict(shards={'a.tar': 3}), dict(shards=5),
     dict(shards=[['..', 3]]), dict(shards=[['a\0', 3]]), dict(version='1'), dict(index_crc=None),
     *(dict(index=table) for table in TABLES.values())],
)  # fmt: skip
def test_a_strangers_index_is_named(meta, tmp_path):
    write_shards(tmp_path / 's', ['x.png'], **meta)
    with pytest.raises(DataError, match=r'/s[:/]'):
        storage.list_folder(f'shards://{tmp_path}/s')
    shards.forget()


def test_names_in_shards_lead_out_of_no_folder(tmp_path):
    place = f'shards://{tmp_path}/s'
    for name in ('../x.png', '/x.png', 'a/../../x.png', 'a\\..\\x.png', 'C:\\x.png', './x.png', ''):
        write_shards(tmp_path / 's', ['y.png', name])
        with pytest.raises(DataError, match=r'leads out of the folder'):
            list(pictures(place))
    write_shards(tmp_path / 's', ['a..b/c../x.y.png'])
    assert [plain_name(picture) for picture in pictures(place)] == ['a..b/c../x.y']
    (tmp_path / 's/names.txt').unlink()
    shards.forget()
    with pytest.raises(DataError, match='names.txt is not there'):
        list(pictures(place))
    shards.forget()


def test_results_of_a_strangers_store_lie_in_the_folder_that_was_named(monkeypatch):
    """A key of a store may hold '..', and masks get the names of pictures."""
    keys = ['a/../../x.png', '../../../y.png', 'b//z.png', '/c/z.png']
    monkeypatch.setattr(storage, 'list_folder', lambda root: dict.fromkeys(keys, '3-'))
    names = [plain_name(picture) for picture in pictures('memory://bucket')]
    assert names == ['c/z', 'b/z']  # a name that begins with a dot is hidden


@pytest.mark.parametrize(
    ('meta', 'index'),
    [(dict(labels=[]), None), (dict(labels=5), None), (dict(codec=[]), None),
     (dict(codec={}), None),
     *((dict(), table) for table in TABLES.values())],
)  # fmt: skip
def test_a_strangers_cache_is_named(meta, index, tmp_path):
    folder = tmp_path / 'cache'
    folder.mkdir()
    (folder / 'data.bin').write_bytes(b'x' * 99)
    table = saved(np.zeros(1, cache.INDEX_DTYPE)) if index is None else index
    (folder / 'index.npy').write_bytes(table)
    known = dict(version=cache.VERSION, codec=None, labels={})
    known['index'] = cache.file_checksum(folder / 'index.npy')
    (folder / 'cache.json').write_text(json.dumps({**known, **meta}))
    with pytest.raises(DataError, match=f'{folder}: this (is no complete cache|cache cannot)'):
        cache.DecodedCache(str(folder), '.').check([], dict(label_format='index'))


LINES = [
    '[0, "x", null, {"masks/x.png": [3, 1]}, {}]', '[0, "x", "p", 5, {}]', '[0, "x"]', '{}', '5',
    '[0, "x", "p", {"../../secret": [1, 1]}, {}]', '[0, "x", "p", {"a": null}, {}]',
    '["0", "x", "p", {}, {}]', '[0, "x", "p", {"a\\u0000": [1, 1]}, []]', '[0, [], {}, {}, {}]',
    '[0, "x", "p", {"/dev/zero": [0, 0]}, {}]', '[0, "x", "p", {"masks/x.png": [true]}, {}]',
]  # fmt: skip


def test_a_damaged_journal_costs_its_pictures_alone(tmp_path):
    folder = tmp_path / FOLDER
    folder.mkdir()
    (tmp_path / 'masks').mkdir()
    (tmp_path / 'masks/x.png').write_bytes(b'abc')
    whole = Entry(1, 'x', 'p', stamps(tmp_path, ['masks/x.png']), {})
    (folder / '1-00000-of-00001.jsonl').write_text(
        ''.join(f'{line}\n' for line in [*LINES, json.dumps(whole)])
    )
    done = Done(tmp_path, earlier(tmp_path, 2))
    assert done.find(0, 'x', 'p') is None
    assert done.find(1, 'x', 'p') == whole
    for text in ('[1]', 'null', '{', ''):
        (folder / 'settings.json').write_text(text)
        with pytest.raises(UserError, match='another weights'):
            start(tmp_path, {'weights': 'a'}, True)
    assert Journal(tmp_path, 1, 0, 1).file.is_file()


def png(width: int, height: int, bits: int, colour: int, data: bytes, *extra: bytes) -> bytes:
    head = struct.pack('>IIBBBBB', width, height, bits, colour, 0, 0, 0)
    more = b''.join(png_chunk(content[:4], content[4:]) for content in extra)
    return b'\x89PNG\r\n\x1a\n' + png_chunk(b'IHDR', head) + more + png_chunk(b'IDAT', data)


def fuzzed() -> dict[str, bytes]:
    """Files of each format with bytes of their heads changed, or cut."""
    picture = np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8)
    found = {}
    for ending in ('.jpg', '.png', '.bmp', '.tif', '.webp', '.ppm'):
        whole = cv2.imencode(ending, picture)[1].tobytes()
        found |= {f'half{ending}': whole[: len(whole) // 2], f'head{ending}': whole[:20]}
        for seed in range(30):
            rng, changed = np.random.default_rng(seed), bytearray(whole)
            # Not the size of a PNG: some of a wrong one are decoded, which takes seconds.
            for place in rng.integers(24 if ending == '.png' else 0, 200, 3):
                changed[place] = rng.integers(256)
            found[f'{seed}{ending}'] = bytes(changed)
    return found


HUGE = {
    'png': png(2**31 - 1, 2**31 - 1, 8, 2, b''), 'png of one colour': png(40000, 40000, 8, 2, b''),
    'grey png': png(40000, 40000, 8, 0, bytes(999)), 'palette': png(60000, 60000, 8, 3, b''),
    'pgm': b'P5 1000000 1000000 255\n', 'negative': b'P5 -5 -5 255\n',
    'bmp': b'BM'
    + struct.pack('<IHHIIiiHHIIiiII', 100, 0, 0, 54, 40, 10**5, 10**5, 1, 24, *[0] * 6),
    'bmp upside down': b'BM'
    + struct.pack('<IHHIIiiHHIIiiII', 100, 0, 0, 54, 40, -5, -(2**31), 1, 24, *[0] * 6),
    'hdr': b'#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 100000 +X 100000\n',
    'webp': b'RIFF\x1e\0\0\0WEBPVP8L\x0a\0\0\0\x2f' + b'\xff' * 5 + bytes(10),
}  # fmt: skip
LONG = zlib.compress(bytes(10**8))
ODD = {
    'empty': b'', 'zeros': bytes(99), 'text': b'hello', 'svg': b'<svg><image href="/etc/passwd"/>',
    'profile': png(4, 4, 8, 2, zlib.compress(bytes(52)), b'iCCPa\0\0' + LONG),
    'text of 100 MB': png(4, 4, 8, 0, b'', b'zTXta\0\0' + LONG),
    'exif in a circle': png(4, 4, 8, 2, b'', b'eXIfII*\0\x08\0\0\0\1\0\x69\x87\4\0\1' + bytes(9)),
    'tiff in a circle': b'II*\0\x08\0\0\0\0\0\x08\0\0\0', 'tiff beyond': b'II*\0' + b'\xff' * 4,
    'no palette': png(4, 4, 8, 3, zlib.compress(bytes(20))), 'seven bits': png(4, 4, 7, 0, b''),
}  # fmt: skip


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('pillows_limit', [Image.MAX_IMAGE_PIXELS, None])
def test_no_picture_is_more_than_a_sentence(tmp_path, capfd, monkeypatch, pillows_limit):
    import resource

    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', pillows_limit)
    files = {**fuzzed(), **HUGE, **ODD}
    assert len(files) >= 190
    before, wrong, path = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, [], tmp_path / 'a.png'
    flags = [lambda data, flag=flag: decode_image(data, flag) for flag in ('color', 'unchanged')]
    for name, data in files.items():
        for decode in (*flags, decode_label, decode_colours):
            try:
                decode(data)
                if name in HUGE:
                    wrong.append((name, 'was taken'))
            except Exception as error:
                if not isinstance(error, DecodeError):
                    wrong.append((name, repr(error)[:100]))
        orientation(data)
        path.write_bytes(data)
        picture_header(str(path))
        with contextlib.suppress(UserError):
            refuse_large(path, USUAL)
    capfd.readouterr()
    assert wrong == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def test_large_pictures_that_are_no_trick_are_decoded(monkeypatch):
    monkeypatch.setattr('segkit.datasets.decode._LARGEST', 99)
    picture = np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8)
    assert decode_image(cv2.imencode('.png', picture)[1].tobytes()).shape == (50, 60, 3)
    flat = cv2.imencode('.png', np.zeros((500, 600, 3), np.uint8))[1].tobytes()
    with pytest.raises(DecodeError, match='600 x 500 pixels'):
        decode_image(flat)
    assert (
        decode_label(cv2.imencode('.png', np.zeros((500, 600), np.uint8))[1].tobytes()).max() == 0
    )


@pytest.mark.parametrize('kind', ['cut', 'colours', 'negative', 'text'])
def test_predictions_that_are_no_ids_are_named(kind, tmp_path):
    path, ids = tmp_path / 'x.png', np.zeros((4, 4), np.uint8)
    Image.fromarray(ids if kind != 'colours' else np.zeros((4, 4, 3), np.uint8)).save(path)
    if kind == 'cut':
        path.write_bytes(path.read_bytes()[:40])
    elif kind == 'negative':
        Image.fromarray(np.full((4, 4), -1, np.int32)).save(path, 'tiff')
    elif kind == 'text':
        path.write_text('hello')
    with pytest.raises(EvaluationError, match=r'x\.png'):
        Predictions(tmp_path, ['a', 'b'], 1).of(0, 'x.jpg')
