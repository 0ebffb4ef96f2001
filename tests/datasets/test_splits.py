"""Which files a data set takes: split files as people write them, hidden files, other endings."""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.make_data import PREFIX, write_pair

from segkit.apis.sources import pictures
from segkit.datasets import BaseSegDataset, DataError, scan
from segkit.datasets.scan import list_files

NAMES = ['photo', 'photo 1', 'photo 2', 'a/é 日本 x', 'b.v2', '-1']


@pytest.fixture
def root(tmp_path):
    for name in NAMES:
        write_pair(tmp_path, name, *np.zeros((2, 8, 8), np.uint8), img_suffix='.jpg')
    return tmp_path


def build(root, **kwargs):
    return BaseSegDataset(data_root=str(root), data_prefix=PREFIX, serialize_data=False, **kwargs)


def stems(dataset):
    paths = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    home = Path(dataset.data_prefix['img_path'])
    return [Path(path).relative_to(home).as_posix().removesuffix('.jpg') for path in paths]


def text_of(names, spelling, root):
    """The lines of a split in one of the ways people write them, as bytes."""
    lines = {
        'whole names': names,
        'with endings': [f'{n}.jpg' for n in names],
        'with endings of labels': [f'{n}.png' for n in names],
        'absolute paths': [str(root / 'img' / f'{n}.jpg') for n in names],
        'absolute paths without endings': [str(root / 'img' / n) for n in names],
        'folders before them': [f'img/{n}.jpg' for n in names],
        'a dot before them': [f'./{n}' for n in names],
        'backslashes': [n.replace('/', '\\') + '.jpg' for n in names],
        'spaces around': [f'  {n}\t' for n in names],
    }.get(spelling, names)
    ends = {'CRLF': '\r\n', 'old Mac': '\r'}.get(spelling, '\n')
    text = ends.join(lines)
    if spelling == 'empty lines':
        text = '\n\n' + text.replace('\n', '\n \n') + '\n\n'
    codes = {'BOM': 'utf-8-sig', 'UTF-16': 'utf-16', 'no mark': 'utf-16-le', 'big': 'utf-16-be'}
    return text.encode(codes.get(spelling, 'utf-8'))


SPELLINGS = [
    'whole names', 'with endings', 'with endings of labels', 'absolute paths',
    'absolute paths without endings', 'folders before them', 'a dot before them', 'backslashes',
    'spaces around', 'CRLF', 'old Mac', 'empty lines', 'BOM', 'UTF-16', 'no mark', 'big',
]  # fmt: skip


@pytest.mark.parametrize('spelling', SPELLINGS)
def test_a_split_gives_its_names_in_its_order(root, spelling):
    order = [NAMES[i] for i in (0, 3, 1, 4, 2, 5)]
    (root / 'train.txt').write_bytes(text_of(order, spelling, root))
    assert stems(build(root, ann_file='train.txt')) == order


def test_columns_after_the_name_are_no_part_of_it(root):
    """VOC's lists of one class say 1, 0 or -1 after each name."""
    (root / 'cat.txt').write_text('photo -1\nb.v2  1\n')
    assert stems(build(root, ann_file='cat.txt')) == ['photo', 'b.v2']
    (root / 'pairs.txt').write_text('img/photo.jpg ann/photo.png\nimg/b.v2.jpg ann/b.v2.png\n')
    assert stems(build(root, ann_file='pairs.txt')) == ['photo', 'b.v2']


def test_what_a_split_names_and_is_not_there_is_an_error(root):
    (root / 'train.txt').write_text('photo\nphoto 3\n/elsewhere/photo 1.jpg\n')
    with pytest.raises(FileNotFoundError, match=r'2 of 3 samples have no image: \S+/photo 3\.jpg'):
        build(root, ann_file='train.txt')
    for stray in ('photo 3\nphoto 4\n', 'photo\nphoto 3\n'):  # not two times 'photo'
        (root / 'train.txt').write_text(stray)
        with pytest.raises(FileNotFoundError, match=r'have no image: \S+/photo 3\.jpg'):
            build(root, ann_file='train.txt')
    (root / 'train.txt').write_bytes(b'\xff\xfeabc')
    with pytest.raises(DataError, match=r'train\.txt: the split file is no text.*UTF-8'):
        build(root, ann_file='train.txt')


def test_hidden_files_are_no_pictures_anywhere(root):
    for name in ('img/._photo.jpg', 'img/.ipynb_checkpoints/photo.jpg', 'img/a/.thumb/x.jpg'):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b'\0\5\26\7')
    assert sorted(stems(build(root))) == sorted(NAMES)
    predicted = [picture.path for picture in pictures(str(root / 'img'))]
    assert sorted(os.path.relpath(p, root / 'img') for p in predicted) == sorted(
        f'{name}.jpg' for name in NAMES
    )


def test_a_hidden_folder_may_hold_the_data(tmp_path):
    write_pair(tmp_path / '.hidden', 'x', *np.zeros((2, 8, 8), np.uint8), img_suffix='.jpg')
    assert stems(build(tmp_path / '.hidden')) == ['x']


def test_a_folder_that_links_to_its_parent_is_read_once(root):
    (root / 'img/a/up').symlink_to(root / 'img')
    assert len(list_files(str(root / 'img'), '.jpg')) == len(NAMES)


def test_pictures_with_other_endings_are_counted_aloud(root, warned):
    for name in ('x.JPG', 'y.jpeg', 'z.png', 'u.png', 'notes.txt'):
        (root / 'img' / name).write_bytes(b'')
    assert len(build(root)) == len(NAMES)
    assert '4 pictures are left out' in warned.text
    assert "img_suffix is '.jpg': 1 .JPG, 1 .jpeg, 2 .png" in warned.text
    for ending in ('.JPG', '.jpeg'):  # the cure works as it is printed
        for name in ('x', 'y'):
            write_pair(root, name, None, np.zeros((8, 8), np.uint8))
        part = build(root, img_suffix=ending)
        assert len(part) == 1


def test_labels_beside_their_images_are_not_counted(tmp_path, warned):
    write_pair(tmp_path, 'x', *np.zeros((2, 8, 8), np.uint8), img_suffix='.jpg')
    os.rename(tmp_path / 'ann/x.png', tmp_path / 'img/x.png')
    prefix = dict(img_path='img', seg_map_path='img')
    assert len(BaseSegDataset(data_root=str(tmp_path), data_prefix=prefix)) == 1
    assert len(BaseSegDataset(data_root=str(tmp_path), img_suffix='.jpg')) == 1
    assert 'left out' not in warned.text


def test_rank_zero_lists_for_all_ranks_and_fails_for_all(root, monkeypatch):
    told, rank = [], [0]

    def broadcast(answer):
        if rank[0]:
            answer[:] = told
        told[:] = answer

    monkeypatch.setattr(scan.dist, 'get_world_size', lambda: 2)
    monkeypatch.setattr(scan.dist, 'get_rank', lambda: rank[0])
    monkeypatch.setattr(scan.dist, 'broadcast_object_list', broadcast)
    for folder, fails in ((root, False), (root / 'elsewhere', True)):
        for rank[0] in (0, 1):
            with scan.listed_once(), monkeypatch.context() as patch:
                if rank[0]:
                    patch.setattr(scan.os, 'listdir', None)  # nothing is listed here
                if fails:
                    with pytest.raises(FileNotFoundError, match='elsewhere/img'):
                        build(folder)
                else:
                    assert sorted(stems(build(folder))) == sorted(NAMES)
    assert len(build(root)) == len(NAMES)  # outside, each lists its own
    assert len(told) == 2
