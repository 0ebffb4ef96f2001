"""What cannot be trained on, or is not told, is answered with a sentence and nothing is written."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.layouts import LAYOUTS, put, scene, write
from helpers.run_tool import run_tool
from PIL import Image

from segkit.inspection.files import find_lists, match
from segkit.inspection.layout import Choice, find_layout


def pictures(root: Path, *names: str) -> None:
    for i, name in enumerate(names):
        write(root / name, scene(i)[0])


def coco(root: Path) -> None:
    pictures(root, 'train/a.jpg', 'valid/b.jpg')
    content = dict(images=[], annotations=[], categories=[])
    (root / 'train/_annotations.coco.json').write_text(json.dumps(content))


def labelme(root: Path) -> None:
    pictures(root, 'a.jpg', 'b.jpg')
    for name in 'ab':
        content = dict(shapes=[], imagePath=f'{name}.jpg', imageData=None)
        (root / f'{name}.json').write_text(json.dumps(content))


def yolo(root: Path) -> None:
    pictures(root, 'images/train/a.jpg')
    (root / 'labels/train').mkdir(parents=True)
    (root / 'labels/train/a.txt').write_text('0 0.1 0.2 0.3 0.4 0.5 0.6\n')
    (root / 'labels/a.txt').write_text('0 0.1 0.2 0.3 0.4 0.5 0.6\n')


def cvat_xml(root: Path) -> None:
    pictures(root, 'images/a.jpg')
    (root / 'annotations.xml').write_text('<?xml version="1.0"?><annotations><x/></annotations>')


def jpeg_masks(root: Path) -> None:
    for i in range(3):
        put(root / f'images/{i}.jpg', root / f'labels/{i}.jpg', i, (0, 120, 255))


def only_test(root: Path) -> None:
    put(root / 'test/images/0.jpg', root / 'test/masks/0.png', 0)


def no_masks(root: Path) -> None:
    pictures(root, 'SegmentationClass/a.png', 'SegmentationClass/b.png')


def other_size(root: Path) -> None:
    put(root / 'images/0.jpg', root / 'masks/0.png', 0)
    write(root / 'masks/0.png', np.zeros((9, 9), np.uint8))


SENTENCES = {
    coco: '_annotations.coco.json: this is COCO JSON, not a label image',
    labelme: 'a.json: this is labelme JSON, not a label image',
    yolo: 'a.txt: this is a YOLO file of polygons or boxes',
    cvat_xml: 'annotations.xml: this is CVAT XML',
    jpeg_masks: '.jpg: the label is a JPEG or WebP, a lossy format',
    only_test: 'There is no split to train on beside test/images (test): name one with --train-im',
    no_masks: 'no two folders whose file names pair up; seen: SegmentationClass (2 images)',
    other_size: 'masks/0.png: the label is (9, 9) (height, width) and its image',
}


@pytest.mark.parametrize('fill', SENTENCES, ids=lambda fill: fill.__name__)
def test_a_sentence_and_nothing_written(tmp_path, fill):
    fill(tmp_path)
    before = sorted(tmp_path.rglob('*'))
    status, text = run_tool('new_dataset', tmp_path, '--workers', 0)
    assert status == 1, text
    assert SENTENCES[fill] in text
    assert 'Traceback' not in text
    assert sorted(tmp_path.rglob('*')) == before


def test_folders_that_are_not_there_and_lists_that_name_nothing(tmp_path):
    LAYOUTS['beside'].fill(tmp_path)
    (tmp_path / 'l.txt').write_text('x\ny\n')
    for options, words in (
        (('--images', 'none'), 'none: there is no such folder'),
        (('--train-labels', '.'), '--train-labels .: name its pictures with --train-images'),
        (('--train-list', 'none.txt'), 'none.txt: there is no such list (--train-list)'),
        (('--train-list', 'l.txt'), 'l.txt: none of its 2 lines names a picture with a label'),
    ):
        status, text = run_tool('new_dataset', tmp_path, '--workers', 0, *options)
        assert status == 1
        assert words in text
    with pytest.raises(FileNotFoundError, match='there is no such folder'):
        find_layout(tmp_path / 'none', Choice())


def test_named_folders_and_lists_are_taken(tmp_path):
    LAYOUTS['kinds in splits'].fill(tmp_path)
    choice = Choice(of_split={'train': ('val/images', 'val/masks'), 'test': ('train/images', None)})
    found = find_layout(tmp_path, choice)
    assert {role: (p.images, p.labels) for role, p in found.parts.items()} == {
        'train': ('val/images', 'val/masks'), 'test': ('train/images', 'train/masks'),
    }  # fmt: skip
    only = find_layout(tmp_path, Choice('train/images', 'train/masks'))
    assert list(only.parts) == ['train']
    assert only.unused == {'val/images': 3, 'val/masks': 3}
    (tmp_path / 'mine.lst').write_text('0\n2.jpg\n')
    choice = Choice('train/images', 'train/masks', lists={'train': 'mine.lst', 'val': 'mine.lst'})
    assert find_layout(tmp_path, choice).parts['train'].stems == ['0', '2']


def test_lines_of_lists_are_read_as_people_write_them(tmp_path):
    stems = ['a b', 'c', 'x/d', 'y/d', 'x/e']
    lines = ['a b.jpg', '/data/c.jpg /data/c.png', 'x/d', 'e', 'd', 'none', 'C:\\set\\y\\d.jpg']
    assert match(lines, stems, ['.jpg', '.png']) == (
        ['a b', 'c', 'x/d', 'x/e', 'y/d'], ['d', 'none'],
    )  # fmt: skip
    (tmp_path / 'train.txt').write_text('a')
    (tmp_path / 'ImageSets/Segmentation').mkdir(parents=True)
    (tmp_path / 'ImageSets/Segmentation/val.txt').write_text('a')
    (tmp_path / 'notes.txt').write_text('a')
    assert find_lists(tmp_path) == {
        'val': ['ImageSets/Segmentation/val.txt'], 'train': ['train.txt'],
    }  # fmt: skip


def test_links_to_folders_are_followed_once(tmp_path):
    LAYOUTS['beside'].fill(tmp_path / 'real')
    (tmp_path / 'set').mkdir()
    (tmp_path / 'set/photos').symlink_to(tmp_path / 'real')
    (tmp_path / 'set/photos/again').symlink_to(tmp_path / 'set')
    assert len(find_layout(tmp_path / 'set', Choice()).parts['train']) == 8


@pytest.mark.parametrize('turned', [3, 6])
@pytest.mark.parametrize('way', [0, 1], ids=['upright', 'as stored'])
def test_a_picture_turned_by_exif_is_answered_with_cures_that_work(tmp_path, turned, way):
    root = tmp_path / 'my set'
    for i in range(3):
        put(root / f'images/{i}.jpg', root / f'masks/{i}.png', i)
        exif = Image.Exif()
        exif[0x0112] = turned
        picture = Image.open(root / f'images/{i}.jpg')
        picture.load()
        if way == 0:  # the label was drawn on the picture as it is shown
            picture = picture.transpose({3: Image.ROTATE_180, 6: Image.ROTATE_90}[turned])
        picture.save(root / f'images/{i}.jpg', exif=exif)

    status, text = run_tool('new_dataset', root, '--workers', 0)

    assert status == 1
    assert f'its EXIF orientation is {turned}' in text
    cures = re.findall(r': (python -c .*?\.jpg) \.', text)
    assert len(cures) == 2
    ran = subprocess.run(
        ['bash', '-c', cures[way].replace('python', sys.executable, 1)],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert run_tool('new_dataset', root, '--workers', 0)[0] == 0
    assert run_tool('check_dataset', root / 'config.py', '--workers', 0)[0] == 0
    shown = np.asarray(Image.open(root / 'images/1.jpg'), int)
    want = scene(1)[0][..., ::-1].astype(int)
    assert abs(shown - want).mean() < 0.8 * abs(shown - want[::-1, ::-1]).mean()
