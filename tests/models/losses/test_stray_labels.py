"""A stray label is named with its file, its values and the likely cure."""

import copy
import pickle

import pytest
import torch
from helpers.heads import samples_of

from segkit.models.losses import LabelCheck, check_labels


def labels_with(*values, dtype=torch.uint8):
    labels = torch.zeros(2, 1, 4, 4, dtype=dtype)
    labels[1].view(-1)[: len(values)] = torch.tensor(values, dtype=dtype)
    return labels


def message_of(labels, num_classes, ignore_index=255, **metainfo):
    samples = samples_of(labels[:, 0], **metainfo)
    with pytest.raises(ValueError, match='neither') as caught:
        check_labels(labels, num_classes, ignore_index, samples)
    return str(caught.value)


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int64, torch.int32])
@pytest.mark.parametrize('num_classes', [5, 150, 255, 256])
def test_classes_and_ignored_pixels_pass(dtype, num_classes):
    check_labels(labels_with(0, 1, 4, 255, dtype=dtype), num_classes)
    check_labels(labels_with(0, num_classes - 1), num_classes)


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int64])
def test_the_message_names_file_values_classes_and_cures(dtype):
    labels = labels_with(1, 7, 9, 255, dtype=dtype)
    text = message_of(labels, 5, img_path='/data/a.jpg', seg_map_path='/data/a.png')
    assert 'Label map /data/a.png (image /data/a.jpg): label value(s) 7, 9 on 2 pixel(s)' in text
    assert 'neither one of the 5 classes (0 to 4) nor ignored (255)' in text
    for cure in ('reduce_zero_label=True', 'label_map', 'num_classes'):
        assert cure in text


@pytest.mark.parametrize('dtype', [torch.uint16, torch.uint32, torch.int16, torch.float32])
def test_labels_of_seldom_types_are_read_all_the_same(dtype):
    labels = labels_with(1, 4, 255).to(dtype)
    assert torch.equal(LabelCheck(5)(labels).long(), labels.long())
    assert 'label value(s) 7' in message_of(labels_with(1, 7, 255).to(dtype), 5)


def test_a_fraction_is_no_class():
    assert 'label value(s) 1.5 on 1' in message_of(labels_with(1, 1.5, 2, dtype=torch.float32), 5)


def test_negative_labels_are_strays():
    assert 'ignore_index=-1 in the dataset' in message_of(labels_with(-1, dtype=torch.int64), 5)


def test_labels_counted_from_one_are_recognised():
    labels = labels_with(*[1, 2, 3, 150] * 4)
    assert 'If they count from 1, set reduce_zero_label=True' in message_of(labels, 150)
    assert 'They count from 1: set reduce_zero_label=True' in message_of(
        labels.clamp(max=3), 3, 255
    )


def test_binary_masks_are_recognised():
    assert 'They look like a mask: set label_map={128: 1} in the dataset' in message_of(
        labels_with(0, 128), 2
    )
    assert 'set label_map={255: 1}' in message_of(labels_with(0, 255), 2, ignore_index=100)


def test_a_single_class_is_answered_with_the_binary_recipe():
    for labels in (labels_with(0, 1), labels_with(0, 255)):
        text = message_of(labels, 1, ignore_index=100)
        assert 'set num_classes=2, out_channels=1 and loss_decode.use_sigmoid=True' in text
        assert 'reduce_zero_label' not in text
    assert 'and set label_map={255: 1} in the dataset' in text


def test_an_ignored_label_outside_the_dtype_is_held_by_a_wider_one():
    assert 'value(s) 156 on 1' in message_of(labels_with(1, 156), 5, ignore_index=-100)
    safe = LabelCheck(5, -100)(labels_with(1, 4))
    assert safe.dtype == torch.int64
    assert torch.equal(safe, labels_with(1, 4).long())
    assert LabelCheck(5, 255)(labels_with(1, 255)).dtype == torch.uint8


def test_what_the_dataset_pads_with_is_told_from_other_strays():
    text = message_of(labels_with(1, 2, 255), 5, ignore_index=0, img_path='a.jpg')
    assert 'label_map={255: 0}' in text
    samples = samples_of(labels_with(1, 2, 255)[:, 0], ignore_index=255)
    with pytest.raises(ValueError, match='or ignore_index=0 in the dataset') as caught:
        check_labels(labels_with(1, 2, 255), 5, 0, samples)
    assert 'set ignore_index=255 in all heads and the metric' in str(caught.value)
    assert 'label_map' not in str(caught.value)


def test_without_metainfo_the_values_still_show():
    with pytest.raises(ValueError, match=r'A label map: label value\(s\) 9'):
        check_labels(labels_with(9), 5)


def test_many_strays_are_shortened():
    text = message_of(labels_with(*range(6, 20), dtype=torch.int64), 5)
    assert '6, 7, 8, 9, 10, 11, 12, 13, 14, 15, ...' in text


def test_the_check_of_a_head_copies_and_pickles():
    check = LabelCheck(5)
    labels = labels_with(1, 4, 255)
    for twin in (check, copy.deepcopy(check), pickle.loads(pickle.dumps(check))):
        assert twin(labels) is labels
        twin.flush()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_on_a_gpu_strays_are_ignored_now_and_reported_later():
    check = LabelCheck(5)
    safe = check(labels_with(1, 7, 255).cuda())
    assert safe.unique().tolist() == [0, 1, 255]
    with pytest.raises(ValueError, match=r'label value\(s\) 7'):
        check.flush()
