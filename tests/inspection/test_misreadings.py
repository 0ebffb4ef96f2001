"""Folders and lists that look like something else: what was meant is trained on, or asked for."""

import json
import subprocess
import sys

import numpy as np
import pytest
from helpers.layouts import put, scene, write
from PIL import Image

from segkit.errors import UserError
from segkit.inspection.classes import Wish, name_classes
from segkit.inspection.exports import unread_kind
from segkit.inspection.files import match
from segkit.inspection.labels import gather, look
from segkit.inspection.layout import Choice, find_layout
from segkit.inspection.splits import splits_table

EVERY = range(6)


def pairs(root, image='images/{}.jpg', label='masks/{}.png', numbers=EVERY):
    for i in numbers:
        put(root / image.format(i), root / label.format(i), i)


def layout(root, **choice):
    return find_layout(root, Choice(**choice))


# -- lists -----------------------------------------------------------------------------------------

STEMS = ['photo', 'photo 1', 'photo 2', 'monday/a', 'tuesday/b', 'c']
LISTS = {
    'a name with a space that is missing is no shorter name': (
        ['photo 1', 'photo 99'], ['photo 1'], ['photo 99'],
    ),
    'columns': (['photo 0 1', 'c 1 1'], ['photo', 'c'], []),
    'columns of one name are none': (['photo 98', 'photo 99'], [], ['photo 98', 'photo 99']),
    'columns after an ending': (['c.jpg,c.png', 'photo 1'], ['c', 'photo 1'], []),
    'semicolons': (['c.png;c_mask.png'], ['c'], []),
    'another folder is another picture': (['tuesday/a', 'monday/a'], ['monday/a'], ['tuesday/a']),
    'a bare name': (['a', './b.png'], ['monday/a', 'tuesday/b'], []),
    'written again in another format': (['c.tiff', 'photo.JPEG'], ['c', 'photo'], []),
    'a remark': (['# to train on', 'c'], ['c'], ['# to train on']),
}  # fmt: skip


@pytest.mark.parametrize('case', LISTS)
def test_a_line_names_its_picture_or_none(case):
    lines, found, unknown = LISTS[case]
    assert match(lines, STEMS, ['.png']) == (found, unknown)


def test_lists_that_name_nothing_are_not_passed_over(tmp_path):
    pairs(tmp_path)
    (tmp_path / 'train.txt').write_text('0001\n0002\n')
    with pytest.raises(UserError, match=r"train\.txt: no line names .* such as '0'.*--train-list"):
        layout(tmp_path)
    (tmp_path / 'train.txt').write_text('1\n2\n')
    (tmp_path / 'val.txt').write_text('0003\n')
    found = layout(tmp_path)
    assert list(found.parts) == ['train']
    assert any('val: val.txt: no line names a picture' in note for note in found.notes)


def test_pictures_in_two_splits_and_labels_of_two_pictures_are_said(tmp_path):
    pairs(tmp_path)
    put(tmp_path / 'images/5.png', None, 50)
    (tmp_path / 'train.txt').write_text('0\n1\n2\n5\n')
    (tmp_path / 'val.txt').write_text('2\n3\n')
    notes = ' '.join(layout(tmp_path).notes)
    assert 'train and val share 1 pictures, which makes scores too good: 2.' in notes
    assert 'train: 1 labels belong to two pictures each, whose names differ' in notes


def test_pictures_in_use_are_not_called_unused(tmp_path):
    pairs(tmp_path, 'Bilder/{}.jpg', 'Masken/{}.png')
    write(tmp_path / 'logo.png', scene(0)[0])
    found = layout(tmp_path)
    assert found.unused == {'.': 1}
    assert 'not used: . (1 pictures)' in splits_table(found)


# -- names -----------------------------------------------------------------------------------------

ALIKE = {
    'beginnings': ('images/img_{}.jpg', 'masks/mask_{}.png', "'img_' and .*'mask_'"),
    'glued beginnings': ('images/image{}.jpg', 'masks/label{}.png', "'image' and .*'label'"),
    'one beginning': ('images/{}.jpg', 'masks/m-{}.png', "'' and .*'m-'"),
    'unicode': ('images/h\u00f6he{}.jpg', 'masks/ho\u0308he{}.png', 'two forms of Unicode'),
}


@pytest.mark.parametrize('case', ALIKE)
def test_names_that_a_person_pairs_up_are_asked_to_be_alike_by_a_command(tmp_path, case):
    image, label, said = ALIKE[case]
    pairs(tmp_path, image, label, range(1, 13))
    with pytest.raises(UserError, match=said) as error:
        layout(tmp_path)
    cure = 'python ' + str(error.value).partition(': python ')[2]
    ran = subprocess.run(['bash', '-c', cure.replace('python', sys.executable, 1)], check=False)
    assert ran.returncode == 0
    assert len(layout(tmp_path).parts['train']) == 12


def test_a_number_is_no_beginning_of_another_number(tmp_path):
    pairs(tmp_path, 'images/{}.jpg', 'masks/{}1.png', (5, 6, 7))
    with pytest.raises(UserError, match='no two folders whose file names pair up'):
        layout(tmp_path)


def test_gif_masks_are_labels(tmp_path):
    """As Carvana's on Kaggle."""
    for i in EVERY:
        put(tmp_path / f'train/{i}.jpg', None, i)
        (tmp_path / 'train_masks').mkdir(exist_ok=True)
        mask = Image.fromarray(scene(i, 2)[1] * np.uint8(255)).convert('1')
        mask.save(tmp_path / f'train_masks/{i}_mask.gif')
    part = layout(tmp_path).parts['train']
    assert (part.labels, part.endings[1], len(part)) == ('train_masks', '*_mask.gif', 6)
    seen = look((str(tmp_path / 'train/0.jpg'), str(tmp_path / 'train_masks/0_mask.gif')))
    shown = np.asarray(Image.open(tmp_path / 'train_masks/0_mask.gif').convert('L'))
    assert sorted(seen.values.values()) == sorted(np.unique(shown, return_counts=True)[1])


# -- values ----------------------------------------------------------------------------------------


def stored(root, *labels):
    found = []
    for i, label in enumerate(labels):
        put(root / 'a.jpg', None, i)
        write(root / f'{i}.png', label)
        found.append(look((str(root / 'a.jpg'), str(root / f'{i}.png'))))
    return gather(found)


def test_masks_of_two_codings_are_asked_about(tmp_path):
    mask = scene(0, 2)[1]
    mixed = stored(tmp_path, mask, mask * np.uint8(255), mask * np.uint8(0))
    with pytest.raises(UserError, match='masks of two codings.*--ignore 255.*--ignore none'):
        name_classes(mixed, None, Wish())
    assert name_classes(mixed, None, Wish(['255'])).stored == [0, 1]
    assert name_classes(mixed, None, Wish(['none'])).stored == [0, 1, 255]
    void = mask.copy()
    void[:3] = 255
    usual = name_classes(stored(tmp_path, mask, void), None, Wish())
    assert (usual.stored, usual.ignored) == ([0, 1], [255])


def test_one_class_alone_is_said(tmp_path):
    mask = scene(0, 2)[1]
    white = np.dstack([np.full((*mask.shape, 3), 255, np.uint8), mask * np.uint8(255)])
    for label, said in ((mask * 0, True), (white, True), (mask, False)):
        notes = name_classes(stored(tmp_path, label), None, Wish()).notes
        assert any('one class alone' in note for note in notes) is said


EXPORTS = {
    'a.png.json': (dict(objects=[], size=dict(height=1), tags=[]), 'Supervisely JSON'),
    'via.json': ({'a.jpg9': dict(filename='a.jpg', regions=[])}, 'VIA JSON'),
    'project.json': (dict(_via_img_metadata={}), 'VIA JSON'),
    'box.json': ([{'Labeled Data': 'x', 'Label': {}}], 'a Labelbox export'),
    'box.ndjson': (dict(data_row={}, projects={}), 'a Labelbox export'),
    'studio.json': ([dict(data={}, annotations=[])], 'Label Studio JSON'),
    'other.json': (dict(names=['a']), ''),
    'empty.json': ([], ''),
}


@pytest.mark.parametrize('name', EXPORTS)
def test_exports_that_are_no_masks_are_called_by_their_name(tmp_path, name):
    content, kind = EXPORTS[name]
    (tmp_path / name).write_text(json.dumps(content))
    assert unread_kind(tmp_path / name) == kind
    put(tmp_path / 'images/a.jpg', None, 0)
    said = f'{name}: this is {kind}, not a label' if kind else 'no two folders'
    with pytest.raises(UserError, match=said):
        layout(tmp_path)


@pytest.mark.parametrize('heading', ['id,rle_mask', 'ImageId,EncodedPixels', 'img;rle'])
def test_run_lengths_are_called_by_their_name(tmp_path, heading):
    (tmp_path / 'train.csv').write_text(f'{heading}\n1,1 3\n')
    put(tmp_path / 'images/a.jpg', None, 0)
    with pytest.raises(UserError, match='this is a CSV file of run lengths'):
        layout(tmp_path)
