"""Labels and images in other formats: palettes, colours, 16 bits, TIFF, more channels."""

import io

import cv2
import numpy as np
import pytest
from helpers.make_data import PREFIX, gray_png
from PIL import Image

from segkit.datasets import BaseSegDataset, DataError, decode
from segkit.datasets.decode import decode_image, decode_label
from segkit.datasets.label_maps import colours_to_indices, label_table
from segkit.datasets.transforms.compose import Compose

RNG = np.random.default_rng(0)


def pillow_png(image):
    buffer = io.BytesIO()
    image.save(buffer, 'PNG')
    return buffer.getvalue()


def cv2_png(array, extension='.png'):
    return cv2.imencode(extension, array)[1].tobytes()


@pytest.mark.parametrize('colours', [2, 3, 11, 200])
def test_a_palette_image_gives_its_indices_at_any_bit_depth(colours):
    indices = RNG.integers(0, colours, (9, 13), dtype=np.uint8)
    image = Image.fromarray(indices, 'P')
    image.putpalette(RNG.integers(0, 256, 3 * colours, dtype=np.uint8).tobytes())
    assert np.array_equal(decode_label(pillow_png(image)), indices)


def test_gray_labels_of_8_and_16_bits_and_masks_of_one_bit():
    byte = RNG.integers(0, 256, (9, 13), dtype=np.uint8)
    assert np.array_equal(decode_label(cv2_png(byte)), byte)
    wide = RNG.integers(0, 65536, (9, 13), dtype=np.uint16)
    for extension in ('.png', '.tiff'):
        assert np.array_equal(decode_label(cv2_png(wide, extension)), wide)
    mask = RNG.integers(0, 2, (9, 13), dtype=np.uint8)
    assert np.array_equal(decode_label(pillow_png(Image.fromarray(mask * 255).convert('1'))), mask)


@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_gray_labels_of_few_bits_give_their_stored_values(bits):
    stored = RNG.integers(0, 2**bits, (9, 13), dtype=np.uint8)
    assert np.array_equal(decode_label(gray_png(stored, bits)), stored)


@pytest.mark.skipif(decode.pyspng is None, reason='pyspng is not installed')
@pytest.mark.parametrize('level', [1, 6, 9])
def test_the_fast_png_decoder_gives_opencvs_bytes(level):
    img = cv2.GaussianBlur(RNG.integers(0, 256, (67, 91, 3), dtype=np.uint8), (5, 5), 0)
    data = cv2.imencode('.png', img, [cv2.IMWRITE_PNG_COMPRESSION, level])[1].tobytes()
    assert np.array_equal(decode_image(data), img)
    assert np.array_equal(decode_image(data), cv2.imdecode(np.frombuffer(data, np.uint8), 1))


@pytest.mark.skipif(decode.pyspng is None, reason='pyspng is not installed')
@pytest.mark.parametrize('rows', [1, 40, 66, 67, 90])
def test_the_top_of_a_png_equals_the_rows_of_the_whole(rows):
    img = RNG.integers(0, 256, (67, 91, 3), dtype=np.uint8)
    data = cv2_png(img)
    top = decode.decode_top(data, rows)
    if rows >= 67:
        assert top is None
    else:
        assert np.array_equal(top[0], img[:rows])
        assert top[1] == (67, 91)
    assert decode.decode_top(cv2_png(img, '.jpg'), 5) is None
    assert decode.decode_top(cv2_png(img[..., 0]), 5) is None
    assert decode.decode_top(data[:60], 5) is None


@pytest.mark.parametrize('mode', ['L', 'P', 'RGBA', 'LA', 'I;16'])
def test_colour_decoding_equals_opencv_for_other_png_kinds(mode):
    if mode == 'I;16':
        data = cv2_png(RNG.integers(0, 65536, (9, 13), dtype=np.uint16))
    else:
        rgba = Image.fromarray(RNG.integers(0, 256, (9, 13, 4), dtype=np.uint8), 'RGBA')
        data = pillow_png(rgba.convert('RGB').convert('P') if mode == 'P' else rgba.convert(mode))
    assert np.array_equal(decode_image(data), cv2.imdecode(np.frombuffer(data, np.uint8), 1))


def test_colours_become_indices_and_unknown_colours_are_named():
    palette = [[128, 64, 128], [0, 0, 142], [255, 255, 255]]
    indices = RNG.integers(0, 3, (9, 13))
    bgr = np.array(palette, np.uint8)[indices][..., ::-1]
    assert np.array_equal(colours_to_indices(bgr, palette), indices)
    bgr = bgr.copy()
    bgr[2, 3] = (3, 2, 1)
    with pytest.raises(ValueError, match=r'1 pixels .*outside the palette.*\[\(1, 2, 3\)\]'):
        colours_to_indices(bgr, palette)
    indices[2, 3] = 255
    assert np.array_equal(colours_to_indices(bgr, palette, ignored=[[1, 2, 3]]), indices)


def build(root, array, label, suffix, **kwargs):
    for folder, ending, content in (('img', suffix, array), ('ann', '.png', label)):
        (root / folder).mkdir(exist_ok=True)
        if ending == '.npy':
            np.save(root / folder / 'x.npy', content)
        else:
            assert cv2.imwrite(str(root / folder / f'x{ending}'), content)
    load = dict(type='LoadImageFromFile', color_type='unchanged')
    pipeline = [load, dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    return BaseSegDataset(
        data_root=str(root), data_prefix=PREFIX, img_suffix=suffix, pipeline=pipeline, **kwargs
    )


@pytest.mark.parametrize(
    ('suffix', 'dtype', 'channels'),
    [
        ('.png', np.uint16, 3),
        ('.tif', np.uint16, 4),
        ('.npy', np.float32, 7),
        ('.png', np.uint8, 1),
    ],
)
def test_images_of_any_type_and_number_of_channels(tmp_path, suffix, dtype, channels):
    array = RNG.integers(0, 250, (8, 10, channels)).astype(dtype)
    if dtype == np.uint16:
        array *= 200
    dataset = build(tmp_path, array, np.zeros((8, 10), np.uint8), suffix)
    inputs = dataset[0]['inputs']
    assert inputs.shape == (channels, 8, 10)
    assert np.array_equal(inputs.numpy().transpose(1, 2, 0), array)


def test_labels_painted_in_palette_colours(tmp_path):
    palette = [[10, 20, 30], [40, 50, 60]]
    indices = RNG.integers(0, 2, (8, 10))
    label = np.array(palette, np.uint8)[indices][..., ::-1]
    image = np.zeros((8, 10, 3), np.uint8)
    metainfo = dict(classes=('a', 'b'), palette=palette)
    dataset = build(tmp_path, image, label, '.png', metainfo=metainfo, label_format='rgb')
    assert np.array_equal(dataset[0]['data_samples'].gt_sem_seg.data[0].numpy(), indices)
    cv2.imwrite(str(tmp_path / 'ann/x.png'), np.full((8, 10, 3), 7, np.uint8))
    with pytest.raises(DataError, match=r'ann/x\.png: 80 pixels .*\(7, 7, 7\).*ignored_colours'):
        dataset[0]


def test_wide_labels_are_mapped_and_narrowed_to_bytes(tmp_path):
    label = RNG.choice([7, 1000, 33000], (8, 10)).astype(np.uint16)
    label_map = {7: 0, 1000: 1, 33000: 255}
    image = np.zeros((8, 10, 3), np.uint8)
    dataset = build(tmp_path, image, label, '.png', label_map=label_map)
    got = dataset[0]['data_samples'].gt_sem_seg.data[0].numpy()
    assert got.dtype == np.uint8
    assert np.array_equal(got, np.vectorize(label_map.get)(label))


CROPPED = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=(40, 40), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(12, 12), cat_max_ratio=0.75, ignore_index=-1),
    dict(type='PackSegInputs'),
]


@pytest.mark.parametrize('fast', [True, False])
@pytest.mark.parametrize('ignored', [-1, -100])
def test_a_negative_ignored_label_passes_the_pipeline_as_it_is(tmp_path, ignored, fast):
    label = RNG.integers(0, 4, (32, 40), dtype=np.uint8)
    label_map = {0: ignored, 1: 0, 2: 1, 3: 2}
    options = dict(label_map=label_map, ignore_index=ignored, fast_pipeline=fast)
    dataset = build(tmp_path, np.zeros((32, 40, 3), np.uint8), label, '.png', **options)
    got = dataset[0]['data_samples'].gt_sem_seg.data[0].numpy()
    assert np.array_equal(got, np.vectorize(label_map.get)(label))
    dataset.pipeline = Compose(CROPPED, fast=fast)
    got = dataset[0]['data_samples'].gt_sem_seg.data
    assert set(got.unique().tolist()) == {ignored, 0, 1, 2}


def test_shifting_down_wide_labels_keeps_every_class_and_the_ignored_label(tmp_path):
    label = RNG.choice([0, 1, 255, 256, 300, 65535], (8, 10)).astype(np.uint16)
    image, options = np.zeros((8, 10, 3), np.uint8), dict(reduce_zero_label=True)
    dataset = build(tmp_path, image, label, '.png', ignore_index=65535, **options)
    got = dataset[0]['data_samples'].gt_sem_seg.data[0].numpy()
    want = {0: 65535, 1: 0, 255: 254, 256: 255, 300: 299, 65535: 65535}
    assert np.array_equal(got, np.vectorize(want.get)(label))


def test_shifting_down_bytes_keeps_255():
    table = label_table(True, None)
    assert table.tolist() == [255, *range(254), 255]
    assert label_table(True, None, ignore=250).tolist()[:3] == [250, 0, 1]
