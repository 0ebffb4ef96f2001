"""Formats, depths and orientations: a value is kept, or its loss is said, or the file refused."""

import io

import cv2
import numpy as np
import pytest
from helpers.make_data import PREFIX
from PIL import Image, ImageOps, PngImagePlugin

from segkit.datasets import BaseSegDataset, DataError, decode
from segkit.datasets.cache_writer import write_cache
from segkit.registry import TRANSFORMS
from segkit.visualization.images import read_rgb

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
RNG = np.random.default_rng(0)
H, W = 10, 14
PICTURE = RNG.integers(0, 256, (H, W, 3), dtype=np.uint8)
LABEL = RNG.integers(0, 5, (H, W), dtype=np.uint8)


def place(root, image, label, img_suffix='.png', seg_map_suffix='.png'):
    """One pair of files, from bytes or arrays, as a data set."""
    for folder, suffix, data in (('img', img_suffix, image), ('ann', seg_map_suffix, label)):
        (root / folder).mkdir(exist_ok=True)
        if isinstance(data, np.ndarray):
            data = cv2.imencode(suffix, data)[1].tobytes()
        (root / folder / f'x{suffix}').write_bytes(data)
    return dict(
        data_root=str(root), data_prefix=PREFIX, img_suffix=img_suffix, serialize_data=False,
        seg_map_suffix=seg_map_suffix, pipeline=LOAD,
    )  # fmt: skip


def saved(array, kind, orientation=None, **kwargs):
    file, exif = io.BytesIO(), Image.Exif()
    if orientation is not None:
        exif[0x112] = orientation
        kwargs['exif'] = exif
    Image.fromarray(array).save(file, kind, **kwargs)
    return file.getvalue()


# ---- labels


@pytest.mark.parametrize('kind', ['JPEG', 'WEBP'])
@pytest.mark.parametrize('shape', ['gray', 'colour'])
def test_labels_in_lossy_formats_are_refused(tmp_path, kind, shape):
    label = LABEL if shape == 'gray' else np.dstack([LABEL] * 3)
    suffix = '.jpg' if kind == 'JPEG' else '.webp'
    dataset = BaseSegDataset(**place(tmp_path, PICTURE, saved(label, kind), seg_map_suffix=suffix))
    with pytest.raises(DataError, match=rf'x\{suffix}.*lossy.*Write the labels again.*PNG'):
        dataset[0]


@pytest.mark.parametrize('dtype', [np.float32, np.float64, np.uint16, np.int16, np.int32])
def test_whole_numbers_are_labels_in_any_type(tmp_path, dtype):
    dataset = BaseSegDataset(
        **place(tmp_path, PICTURE, LABEL.astype(dtype), seg_map_suffix='.tiff')
    )
    got = dataset[0]['gt_seg_map']
    assert got.dtype == np.uint8
    assert np.array_equal(got, LABEL)
    shifted = BaseSegDataset(
        **place(tmp_path, PICTURE, LABEL.astype(dtype), seg_map_suffix='.tiff'),
        reduce_zero_label=True,
        label_map={3: 7},
    )[0]['gt_seg_map']
    want = np.array([255, 0, 1, 2, 7])
    assert np.array_equal(shifted, want[LABEL])


def test_fractions_and_values_without_a_class_are_refused_by_name(tmp_path):
    half = np.full((H, W), 0.5, np.float32)
    dataset = BaseSegDataset(**place(tmp_path, PICTURE, half, seg_map_suffix='.tiff'))
    with pytest.raises(DataError, match=r'x\.tiff.*float32 values that are no whole numbers'):
        dataset[0]
    negative = LABEL.astype(np.int16) - 1
    files = place(tmp_path, PICTURE, negative, seg_map_suffix='.tiff')
    with pytest.raises(DataError, match=r'x\.tiff.*values from -1 to 3'):
        BaseSegDataset(**files, label_map={3: 2})[0]


def test_even_grays_are_stored_values(tmp_path):
    grays = np.array([0, 85, 170, 255], np.uint8)[LABEL % 4]
    files = place(tmp_path, PICTURE, grays)
    got = BaseSegDataset(**files, ignore_index=-1, label_map={85: 1, 170: 2, 255: 3})[0]
    assert np.array_equal(got['gt_seg_map'], LABEL % 4)


@pytest.mark.parametrize('ignored', [255, 9, -100])
def test_ignored_colours_become_the_label_that_is_ignored(tmp_path, ignored):
    colours = np.array([[0, 0, 0], [10, 20, 30], [1, 2, 3]], np.uint8)
    files = place(tmp_path, PICTURE, colours[LABEL % 3][..., ::-1])
    meta = dict(classes=('a', 'b'), palette=colours[:2].tolist(), ignored_colours=[[1, 2, 3]])
    data = BaseSegDataset(**files, label_format='rgb', metainfo=meta, ignore_index=ignored)
    assert np.array_equal(data[0]['gt_seg_map'], np.array([0, 1, ignored])[LABEL % 3])


@pytest.mark.parametrize('kind', ['colours', 'palette', 'grays'])
def test_painted_labels_are_told_by_their_colours_wherever_these_lie(tmp_path, kind):
    """A palette's own order says nothing: the colours of the metainfo do."""
    colours = np.array([[9, 9, 9], [40, 40, 40], [7, 7, 7]], np.uint8)
    if kind != 'grays':
        colours += np.array([0, 20, 90], np.uint8)
    painted = Image.fromarray(colours[LABEL % 3])
    if kind == 'palette':
        painted = Image.fromarray(LABEL % 3 + np.uint8(4), 'P')
        painted.putpalette([0] * 12 + colours.ravel().tolist())
    file = io.BytesIO()
    (painted.convert('L') if kind == 'grays' else painted).save(file, 'PNG')
    meta = dict(classes=tuple('abc'), palette=colours[[1, 2, 0]].tolist())
    files = place(tmp_path, PICTURE, file.getvalue())
    got = BaseSegDataset(**files, label_format='rgb', metainfo=meta)[0]['gt_seg_map']
    assert np.array_equal(got, np.array([2, 0, 1])[LABEL % 3])


def test_colours_of_16_bits_are_refused(tmp_path):
    files = place(tmp_path, PICTURE, np.dstack([LABEL] * 3).astype(np.uint16))
    meta = dict(classes=('a', 'b'), palette=[[0, 0, 0], [1, 1, 1]])
    with pytest.raises(DataError, match=r'x\.png.*uint16 colours.*8 bits'):
        BaseSegDataset(**files, label_format='rgb', metainfo=meta)[0]


# ---- depth


@pytest.mark.parametrize('suffix', ['.png', '.tiff'])
@pytest.mark.parametrize('channels', [1, 3])
def test_the_loss_of_16_bits_is_said_with_a_cure_that_keeps_them(
    tmp_path, warned, suffix, channels
):
    deep = RNG.integers(0, 4096, (H, W, channels)).astype(np.uint16).squeeze()
    files = place(tmp_path, deep, LABEL, img_suffix=suffix)
    got = BaseSegDataset(**files)[0]['img']
    assert np.array_equal(got, cv2.imread(str(tmp_path / f'img/x{suffix}')))
    assert f'x{suffix}: uint16 (16-bit)' in warned.text
    assert "Set color_type='unchanged' in LoadImageFromFile" in warned.text
    files['pipeline'] = [dict(LOAD[0], color_type='unchanged'), LOAD[1]]
    assert np.array_equal(BaseSegDataset(**files)[0]['img'], deep)


def test_8_bits_lose_nothing_and_nothing_is_said(tmp_path, warned):
    for suffix in ('.png', '.tiff', '.bmp', '.jpg', '.webp'):
        files = place(tmp_path, PICTURE, LABEL, img_suffix=suffix)
        got = BaseSegDataset(**files)[0]['img']
        assert np.array_equal(got, cv2.imread(str(tmp_path / f'img/x{suffix}')))
    assert '16-bit' not in warned.text


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('channels', [1, 3])
def test_floating_pictures_are_read_or_refused_by_their_name(tmp_path, dtype, channels):
    values = RNG.random((H, W, channels)).astype(dtype).squeeze()
    files = place(tmp_path, values, LABEL, img_suffix='.tiff')
    with pytest.raises(DataError, match=rf"x\.tiff.*{np.dtype(dtype)} values.*'unchanged'") as e:
        BaseSegDataset(**files)[0]
    assert 'truncated' not in str(e.value)
    files['pipeline'] = [dict(LOAD[0], color_type='unchanged'), LOAD[1]]
    assert np.array_equal(BaseSegDataset(**files)[0]['img'], values)


# ---- orientation


def test_every_turn_is_that_of_pillow_and_opencv(monkeypatch):
    for number in range(1, 9):
        for kind in ('PNG', 'WEBP', 'TIFF'):
            lossless = {'lossless': True} if kind == 'WEBP' else {}
            data = saved(PICTURE, kind, number, **lossless)
            with Image.open(io.BytesIO(data)) as file:
                want = np.array(ImageOps.exif_transpose(file))[..., ::-1]
            for fast in (True, False):
                monkeypatch.setattr(decode, 'FAST_PNG', fast and decode.pyspng is not None)
                for flag in ('color', 'unchanged'):
                    got = decode.decode_image(data, flag)
                    assert np.array_equal(got, want), (kind, number, flag)
                assert decode.decode_top(data, 3) is None
        for kind in ('PNG', 'TIFF'):
            data = saved(LABEL, kind, number)
            assert decode.orientation(data) == number
            want = decode._TURNS[number](LABEL)
            assert np.array_equal(decode.decode_label(data), want), (kind, number)


def test_training_prediction_and_overlay_see_the_same_picture(tmp_path, monkeypatch):
    for number in (3, 6):
        path = tmp_path / 'x.png'
        path.write_bytes(saved(PICTURE, 'PNG', number))
        want = cv2.imread(str(path))
        assert np.array_equal(read_rgb(path), want[..., ::-1])
        for fast in (True, False):
            monkeypatch.setattr(decode, 'FAST_PNG', fast and decode.pyspng is not None)
            load = TRANSFORMS.build(dict(type='LoadImageFromFile'))
            assert np.array_equal(load(dict(img_path=str(path)))['img'], want)


@pytest.mark.parametrize('number', [2, 3, 5, 6, 8])
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'TIFF'])
@pytest.mark.parametrize('joined', [True, False])
def test_a_turned_picture_needs_a_label_that_says_whether_it_is(tmp_path, number, joined, kind):
    def data(image, label, **kwargs):
        files = place(tmp_path, image, label, img_suffix='.jpg')
        files['pipeline'] = [*LOAD, dict(type='RandomCrop', crop_size=(40, 40))]
        return BaseSegDataset(**files, fast_pipeline=joined, **kwargs)

    turned = saved(PICTURE, kind, number)
    upright = np.ascontiguousarray(decode._TURNS[number](LABEL))
    marked = data(turned, saved(LABEL, 'PNG', number))[0]
    assert np.array_equal(marked['gt_seg_map'], upright)
    assert marked['img'].shape[:2] == upright.shape
    told_by_its_size = number > 4
    unmarked = data(turned, upright)
    if told_by_its_size:
        assert np.array_equal(unmarked[0]['gt_seg_map'], upright)
    else:
        with pytest.raises(DataError, match=rf'x\.png.*x\.jpg.*orientation {number}.*upright'):
            unmarked[0]
    with pytest.raises(DataError, match=rf'orientation {number}.*exif_transpose'):
        data(turned, LABEL)[0]
    square = saved(PICTURE[:, :H], kind, number)
    with pytest.raises(DataError, match=f'orientation {number}'):
        data(square, LABEL[:, :H])[0]
    with pytest.raises(DataError, match=f'orientation {number}'):
        write_cache(data(square, LABEL[:, :H]), tmp_path / 'cache')
    path = tmp_path / 'img/x.jpg'  # the cure, as it is printed
    ImageOps.exif_transpose(Image.open(path)).save(path)
    assert BaseSegDataset(**{**place_again(tmp_path), 'pipeline': LOAD})[0]['img'].shape[0] == H


def place_again(root):
    return dict(data_root=str(root), data_prefix=PREFIX, img_suffix='.jpg')


def test_orientation_1_is_upright(tmp_path):
    files = place(tmp_path, saved(PICTURE, 'JPEG', 1), LABEL, img_suffix='.jpg')
    assert np.array_equal(BaseSegDataset(**files)[0]['gt_seg_map'], LABEL)


@pytest.mark.parametrize('order', [1, -1], ids=['picture first', 'label first'])
@pytest.mark.parametrize('joined', [True, False])
def test_sizes_are_compared_in_either_order_of_loading(tmp_path, order, joined):
    files = place(tmp_path, PICTURE, LABEL[:, :-1])
    files['pipeline'] = [*LOAD[::order], dict(type='RandomCrop', crop_size=(4, 4))]
    with pytest.raises(DataError, match=r'x\.png: the label is 10x13 .* is 10x14'):
        BaseSegDataset(**files, fast_pipeline=joined)[0]


def test_the_name_of_a_chunk_within_another_is_no_chunk():
    note = PngImagePlugin.PngInfo()
    note.add_text('Comment', 'eXIf')
    data = saved(PICTURE, 'PNG', pnginfo=note)
    assert b'eXIf' in data
    assert decode.exif_of_png(io.BytesIO(data)) is None
    turned = saved(PICTURE, 'PNG', 6, pnginfo=note)
    assert decode.exif_of_png(io.BytesIO(turned))
    assert [decode.orientation(d) for d in (data, turned)] == [None, 6]
    for cut in range(len(turned)):
        decode.exif_of_png(io.BytesIO(turned[:cut]))
