"""Predictions as files, in each data set's own coding."""

import numpy as np
import pytest
import torch
from helpers.make_data import gray_png
from PIL import Image

from segkit.datasets import CityscapesDataset
from segkit.datasets.metainfo import dataset_metainfo
from segkit.evaluation import EvaluationError, IoUMetric
from segkit.evaluation.id_images import IdImageWriter, coding_table
from segkit.evaluation.predictions import Predictions

PRED = np.array([[0, 1], [2, 20]])


def write(tmp_path, name, pred=PRED, **kwargs):
    meta = dataset_metainfo(name)
    writer = IdImageWriter(str(tmp_path / 'ids'), meta['classes'], meta['palette'])
    return Image.open(writer.write(pred, 'images/b.jpg', **kwargs))


def test_ade20k_counts_from_one(tmp_path):
    image = write(tmp_path, 'ade20k', reduce_zero_label=True)
    assert image.filename.endswith('ids/b.png')
    assert np.array(image).tolist() == [[1, 2], [3, 21]]


def test_pascal_voc_is_a_palette_image_of_indices(tmp_path):
    image = write(tmp_path, 'pascal_voc12')
    assert image.mode == 'P'
    assert np.array(image).tolist() == PRED.tolist()
    assert image.convert('RGB').getpixel((1, 0)) == (128, 0, 0)


def test_other_data_sets_keep_the_index(tmp_path):
    image = write(tmp_path, 'pascal_context')
    assert (image.mode, np.array(image).tolist()) == ('L', PRED.tolist())


def test_cityscapes_is_written_with_its_label_ids(tmp_path):
    meta = CityscapesDataset.METAINFO
    assert written_ids(tmp_path, meta, [0, 2, 18]) == [7, 11, 33]
    subset = {**meta, 'classes': ['car', 'road']}
    assert written_ids(tmp_path, subset, [0, 1]) == [26, 7]


def test_another_data_set_with_the_classes_of_cityscapes_keeps_the_index(tmp_path):
    assert written_ids(tmp_path, dataset_metainfo('cityscapes'), [0, 2, 18]) == [0, 2, 18]


def written_ids(tmp_path, meta, pred):
    metric = IoUMetric(output_dir=str(tmp_path), format_only=True)
    metric.dataset_meta = meta
    sample = {'pred_sem_seg': {'data': torch.tensor([pred])}, 'img_path': 'a/b.png'}
    metric.process({}, [sample])
    label_ids = meta.get('label_ids')
    again = Predictions(tmp_path, meta['classes'], 1, label_ids).of(0, 'a/b.png')
    assert again[0].tolist() == pred
    return np.array(Image.open(tmp_path / 'b.png'))[0].tolist()


def test_a_class_without_an_id_is_named():
    with pytest.raises(EvaluationError, match=r'label_ids: has no id for the class\(es\) bus'):
        coding_table(['car', 'bus'], label_ids={'car': 3})


def test_many_classes_take_sixteen_bits(tmp_path):
    writer = IdImageWriter(str(tmp_path), [str(i) for i in range(300)])
    path = writer.write(np.array([[299, 0]]), 'c.jpg', reduce_zero_label=True)
    assert np.array(Image.open(path)).tolist() == [[300, 1]]


@pytest.mark.parametrize(('classes', 'dtype'), [(255, np.uint8), (256, np.uint16)])
def test_ids_from_one_take_the_bits_that_the_last_needs(classes, dtype):
    table = coding_table([str(i) for i in range(classes)], True)
    assert (table.dtype, table[-1]) == (dtype, classes)


def test_two_images_of_one_name_are_refused(tmp_path):
    writer = IdImageWriter(str(tmp_path), ['x'])
    writer.write(np.zeros((1, 1), int), 'a/c.jpg')
    writer.write(np.zeros((1, 1), int), 'a/c.jpg')
    with pytest.raises(ValueError, match='b/c.jpg: its prediction overwrites that of a/c.jpg'):
        writer.write(np.zeros((1, 1), int), 'b/c.jpg')


@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_predictions_of_others_are_read_whatever_bits_their_ids_take(tmp_path, bits):
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4) % (1 << min(bits, 3))
    (tmp_path / 'x.png').write_bytes(gray_png(ids, bits))
    read = Predictions(tmp_path, [str(i) for i in range(8)], 1).of(0, 'x.jpg')
    assert np.array_equal(read, ids)
