"""Folder pairs as people have them: found, paired, or told apart from nonsense."""

from pathlib import Path

import pytest

from segkit.inspection.folders import find_pairing


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')


CASES = {
    'same names': (['img/{}.png'], ['ann/{}.png'], '.png', '.png'),
    'other types': (['JPEGImages/{}.jpg'], ['SegmentationClass/{}.png'], '.jpg', '.png'),
    'endings': (['images/{}.jpg'], ['masks/{}_mask.png'], '.jpg', '_mask.png'),
    'cityscapes': (
        ['leftImg8bit/train/aachen/{}_leftImg8bit.png'],
        [f'gtFine/train/aachen/{{}}_gtFine_{kind}.png'
         for kind in ('color', 'instanceIds', 'labelIds', 'labelTrainIds')],
        '_leftImg8bit.png', '_gtFine_labelTrainIds.png',
    ),
    'labels that sort first': (['zimages/{}.jpeg'], ['a_labels/{}.tif'], '.jpeg', '.tif'),
    'capitals': (['images/{}.JPG'], ['labels/{}.png'], '.JPG', '.png'),
}  # fmt: skip


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('count', [1, 2, 25, 130])
def test_pairs_are_found(tmp_path, case, count):
    images, labels, img_suffix, seg_map_suffix = CASES[case]
    for i in range(count):
        touch(tmp_path, *(pattern.format(f'frame_{i}') for pattern in images + labels))

    found = find_pairing(tmp_path)

    assert len(found.stems) == count
    assert (found.img_suffix, found.seg_map_suffix) == (img_suffix, seg_map_suffix)
    folders = [pattern[0].split('/')[0] for pattern in (images, labels)]
    assert [found.images.split('/')[0], found.labels.split('/')[0]] == folders


def test_subfolders_named_like_splits_become_splits(tmp_path):
    for split, names in (('training', 'abc'), ('validation', 'de')):
        for name in names:
            touch(tmp_path, f'images/{split}/{name}.jpg', f'annotations/{split}/{name}.png')

    found = find_pairing(tmp_path)

    assert (found.images, found.labels, len(found.stems)) == ('images', 'annotations', 5)
    assert found.splits() == {'train': 'training', 'val': 'validation'}


def test_images_without_labels_are_left_out(tmp_path):
    touch(tmp_path, 'img/a.jpg', 'img/b.jpg', 'img/c.jpg', 'gt/a.png', 'gt/c.png', 'gt/z.png')

    assert find_pairing(tmp_path).stems == ('a', 'c')


def test_folders_can_be_named(tmp_path):
    for name in 'ab':
        touch(tmp_path, f'one/{name}.png', f'two/{name}.png', f'three/{name}.png')

    found = find_pairing(tmp_path, images='three', labels='one')

    assert (found.images, found.labels) == ('three', 'one')
    with pytest.raises(FileNotFoundError, match=r'four: there is no such folder'):
        find_pairing(tmp_path, images='four')


def test_images_and_labels_in_one_folder(tmp_path):
    for name in 'abc':
        touch(tmp_path, f'all/{name}.jpg', f'all/{name}_seg.png')

    found = find_pairing(tmp_path, images='all', labels='all')

    assert (found.img_suffix, found.seg_map_suffix, len(found.stems)) == ('.jpg', '_seg.png', 3)


def test_folders_that_do_not_pair_up_are_an_error_that_says_what_was_seen(tmp_path):
    touch(tmp_path, 'img/cat.jpg', 'gt/house.png')
    with pytest.raises(ValueError, match=r'file names pair up; seen: gt \(1 images\), img \(1 im'):
        find_pairing(tmp_path)

    with pytest.raises(FileNotFoundError, match='there is no such folder'):
        find_pairing(tmp_path / 'none')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='no images at all'):
        find_pairing(tmp_path / 'empty')
