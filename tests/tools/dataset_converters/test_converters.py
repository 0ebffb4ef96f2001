"""The converters on files in the formats of the datasets, as a user types them."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.run_tool import run_tool
from PIL import Image

from segkit.datasets.metainfo import dataset_metainfo

CONTEXT = dataset_metainfo('pascal_context')['classes']


def run(tool: str, *args: object, ok: bool = True, own_process: bool = False) -> str:
    status, text = run_tool(f'dataset_converters/{tool}', *args, own_process=own_process)
    assert (status == 0) is ok, text
    return text


def read(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


# Cityscapes


def rectangle(label: str, left: int, top: int, right: int, bottom: int, **more) -> dict:
    corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return {'label': label, 'polygon': corners, **more}


def polygon_file(root: Path, stem: str, objects: list[dict]) -> Path:
    """As the annotation tool of Cityscapes writes it."""
    path = root / 'gtFine' / f'{stem}_gtFine_polygons.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({'imgHeight': 40, 'imgWidth': 60, 'objects': objects}))
    return path


def test_cityscapes_polygons_become_train_ids(tmp_path):
    pytest.importorskip('cityscapesscripts')
    objects = [
        rectangle('road', 0, 20, 59, 39),
        rectangle('car', 10, 25, 19, 34),
        rectangle('cargroup', 30, 25, 34, 29),  # a group counts as its class
        rectangle('ego vehicle', 0, 38, 59, 39),  # void: ignored
        rectangle('license plate', 12, 30, 13, 31),  # id -1: not drawn
        rectangle('sky', 0, 0, 4, 4, deleted=1),
    ]
    polygon_file(tmp_path, 'train/aachen/aachen_000000_000019', objects)
    polygon_file(tmp_path, 'val/munster/munster_000001_000019', objects[:1])

    out = run('cityscapes', tmp_path, own_process=True)

    label = read(tmp_path / 'gtFine/train/aachen/aachen_000000_000019_gtFine_labelTrainIds.png')
    expected = np.full((40, 60), 255, np.uint8)
    expected[20:] = 0
    expected[25:35, 10:20] = 13
    expected[25:30, 30:35] = 13
    expected[38:] = 255
    assert np.array_equal(label, expected)
    assert '2 written, 0 were there, 0 failed' in out
    assert 'train.txt 1, val.txt 1' in out
    assert (tmp_path / 'train.txt').read_text() == 'aachen/aachen_000000_000019\n'


def test_cityscapes_runs_again_and_reports_what_failed(tmp_path):
    pytest.importorskip('cityscapesscripts')
    polygon_file(tmp_path, 'train/a/a_0', [rectangle('road', 0, 0, 9, 9)])
    bad = polygon_file(tmp_path, 'train/a/a_1', [rectangle('spaceship', 0, 0, 9, 9)])
    cut = polygon_file(tmp_path, 'train/a/a_2', [])
    cut.write_text(cut.read_text()[:20])

    out = run('cityscapes', tmp_path, ok=False)
    assert '1 written, 0 were there, 2 failed' in out
    assert str(bad) in out
    assert str(cut) in out
    assert not list(tmp_path.rglob('*.tmp'))

    kept = tmp_path / 'gtFine/train/a/a_0_gtFine_labelTrainIds.png'
    before = kept.stat().st_mtime_ns
    polygon_file(tmp_path, 'train/a/a_1', [rectangle('sky', 0, 0, 9, 9)])
    polygon_file(tmp_path, 'train/a/a_2', [])
    assert '2 written, 1 were there, 0 failed' in run('cityscapes', tmp_path)
    assert kept.stat().st_mtime_ns == before
    assert '3 written, 0 were there' in run('cityscapes', tmp_path, '--overwrite', '--workers', 2)


def test_cityscapes_of_an_empty_folder_says_what_to_unpack(tmp_path):
    assert 'Unpack gtFine_trainvaltest.zip' in run('cityscapes', tmp_path, ok=False)


# VOC + SBD


def sbd_file(folder: Path, stem: str, label: np.ndarray) -> None:
    """A .mat of SBD: GTcls with Segmentation, Boundaries, CategoriesPresent."""
    scipy_io, scipy_sparse = (pytest.importorskip(f'scipy.{name}') for name in ('io', 'sparse'))
    folder.mkdir(parents=True, exist_ok=True)
    boundaries = np.empty((20, 1), object)
    for i in range(20):
        boundaries[i, 0] = scipy_sparse.csc_matrix((label == i + 1).astype(float))
    present = np.unique(label[label > 0]).astype(np.uint8)
    content = {'Boundaries': boundaries, 'Segmentation': label, 'CategoriesPresent': present}
    scipy_io.savemat(folder / f'{stem}.mat', {'GTcls': content}, do_compression=True)


@pytest.fixture
def voc(tmp_path):
    lists = tmp_path / 'VOCdevkit/VOC2012/ImageSets/Segmentation'
    lists.mkdir(parents=True)
    (lists / 'train.txt').write_text('2007_a\n2007_b\n')
    (lists / 'val.txt').write_text('2007_c\n2008_v\n')
    label = np.zeros((12, 17), np.uint8)
    label[3:9, 4:11] = 15
    sbd = tmp_path / 'benchmark_RELEASE'
    for stem in ('2007_b', '2008_d', '2008_e', '2008_v'):
        sbd_file(sbd / 'dataset/cls', stem, label)
    (sbd / 'dataset/train.txt').write_text('2008_d\n2008_v\n')
    (sbd / 'dataset/val.txt').write_text('2007_b\n2008_e\n')
    return tmp_path / 'VOCdevkit', sbd, label


def test_sbd_labels_and_the_lists_of_the_usual_training_set(voc):
    devkit, sbd, label = voc

    out = run('voc_aug', devkit, sbd, own_process=True)

    path = devkit / 'VOC2012/SegmentationClassAug/2008_d.png'
    assert np.array_equal(read(path), label)
    assert Image.open(path).mode == 'P'
    assert Image.open(path).getpalette()[45:48] == [192, 128, 128]  # a person's colour
    lists = devkit / 'VOC2012/ImageSets/Segmentation'
    assert (lists / 'aug.txt').read_text() == '2008_d\n2008_e\n'  # neither train nor val
    assert (lists / 'trainaug.txt').read_text() == '2007_a\n2007_b\n2008_d\n2008_e\n'
    assert 'trainaug.txt 4 (of the complete data: 10582' in out
    assert '0 written, 4 were there, 0 failed' in run('voc_aug', devkit, sbd)


def test_a_damaged_mat_file_is_named_and_left_out_of_the_list(voc):
    devkit, sbd, label = voc
    (sbd / 'dataset/cls/2008_e.mat').write_bytes(b'not a mat file')
    sbd_file(sbd / 'dataset/cls', '2008_d', label * 2)

    out = run('voc_aug', devkit, sbd, ok=False)

    assert '2008_e.mat: ' in out
    assert '2008_d.mat: ValueError: holds class 30, but VOC has 0..20' in out
    assert (devkit / 'VOC2012/ImageSets/Segmentation/aug.txt').read_text() == ''


def test_missing_lists_and_files_are_named(voc, tmp_path):
    devkit, sbd, _ = voc
    (devkit / 'VOC2012/ImageSets/Segmentation/val.txt').unlink()

    assert 'val.txt: this list of images is needed' in run('voc_aug', devkit, sbd, ok=False)
    assert 'no .mat file. Give the folder' in run('voc_aug', devkit, tmp_path, ok=False)


# Pascal Context

IDS = {name: 3 * index + 5 for index, name in enumerate(CONTEXT[1:])}  # any numbering will do
IDS['accordion'] = 2  # one of the 400 classes that count as background


def runs(mask: np.ndarray) -> list[int]:
    """Uncompressed RLE by columns, as COCO defines it."""
    flat = mask.T.flatten().astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [0]])))
    ends = [0, *edges.tolist()]
    counts = np.diff(ends).tolist()
    return counts if sum(counts) == flat.size else [*counts, int(flat.size - sum(counts))]


def compress(counts: list[int]) -> str:
    """pycocotools' rleToString, written from its description."""
    text = ''
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        while True:
            group, value = value & 31, value >> 5
            more = value != (-1 if group & 16 else 0)
            text += chr(48 + (group | (32 if more else 0)))
            if not more:
                break
    return text


@pytest.fixture
def detail(tmp_path):
    """trainval_merged.json with one image a split, and the labels it should give."""
    sky, dog, toy = (np.zeros((20, 30), bool) for _ in range(3))
    sky[:8], dog[10:17, 3:21], toy[18:, 25:] = True, True, True
    masks = [
        (1, 'sky', {'size': [20, 30], 'counts': runs(sky)}),
        (1, 'dog', {'size': [20, 30], 'counts': compress(runs(dog))}),
        (1, 'accordion', [[25, 18, 29, 18, 29, 19, 25, 19]]),
        (1, 'table', [[22, 9, 28, 9, 28, 12, 22, 12], [22, 14, 24, 14, 24, 16, 22, 16]]),
        (2, 'table', {'size': [20, 30], 'counts': compress(runs(~dog))}),
    ]
    data = {
        'images': [
            dict(image_id=1, file_name='2008_000002.jpg', phase='train', height=20, width=30),
            dict(image_id=2, file_name='2008_000003.jpg', phase='val', height=20, width=30),
            dict(image_id=3, file_name='2008_000009.jpg', phase='test', height=20, width=30),
        ],
        'categories': [dict(category_id=i, name=name) for name, i in IDS.items()],
        'annos_segmentation': [
            dict(id=n, image_id=image, category_id=IDS[name], segmentation=mask)
            for n, (image, name, mask) in enumerate(masks)
        ],
    }
    path = tmp_path / 'trainval_merged.json'
    path.write_text(json.dumps(data))
    first = np.where(sky, CONTEXT.index('sky'), np.where(dog, CONTEXT.index('dog'), 0))
    first[9:12, 22:28] = first[14:16, 22:24] = CONTEXT.index('table')
    second = np.where(dog, 0, CONTEXT.index('table'))
    return path, [first, second]


def check_context(devkit: Path, expected: list[np.ndarray]) -> None:
    folder = devkit / 'VOC2010/SegmentationClassContext'
    for stem, label in zip(('2008_000002', '2008_000003'), expected):
        assert np.array_equal(read(folder / f'{stem}.png'), label)
    lists = devkit / 'VOC2010/ImageSets/SegmentationContext'
    assert (lists / 'train.txt').read_text() == '2008_000002\n'
    assert (lists / 'val.txt').read_text() == '2008_000003\n'


def test_context_from_the_detail_annotations(detail, tmp_path):
    path, expected = detail

    out = run('pascal_context', tmp_path / 'dev', path, own_process=True)

    check_context(tmp_path / 'dev', expected)
    assert '2 written, 0 were there, 0 failed' in out
    assert '0 written, 2 were there, 0 failed' in run('pascal_context', tmp_path / 'dev', path)


@pytest.mark.parametrize('suffix', ['png', 'mat'])
def test_context_from_label_files_and_their_names(detail, tmp_path, suffix):
    _, expected = detail
    names, labels, dev = tmp_path / 'labels.txt', tmp_path / 'labels', tmp_path / 'dev'
    names.write_text('\n'.join(f'{key}: {name}' for name, key in IDS.items()))
    labels.mkdir()
    for stem, label in zip(('2008_000002', '2008_000003'), expected):
        stored = np.array([IDS['accordion'], *(IDS[name] for name in CONTEXT[1:])])[label]
        if suffix == 'png':
            Image.fromarray(stored.astype(np.uint8)).save(labels / f'{stem}.png')
        else:
            scipy_io = pytest.importorskip('scipy.io')
            scipy_io.savemat(labels / f'{stem}.mat', {'LabelMap': stored.astype(np.uint16)})
    main = dev / 'VOC2010/ImageSets/Main'
    main.mkdir(parents=True)
    (main / 'train.txt').write_text('2008_000002\n2008_000777\n')
    (main / 'val.txt').write_text('2008_000003\n')

    run('pascal_context', dev, labels, '--names', names)

    check_context(dev, expected)


def test_context_labels_without_names_or_with_other_names(tmp_path):
    labels = tmp_path / 'labels'
    labels.mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(labels / 'a.png')
    names = tmp_path / 'names.txt'
    names.write_text('1: apple\n2: pear\n')

    assert 'give it with --names' in run('pascal_context', tmp_path, labels, ok=False)
    out = run('pascal_context', tmp_path, labels, '--names', names, ok=False)
    assert 'names.txt: only 0 of the 59 class names are in it' in out


def test_masks_that_do_not_fit_their_picture_fail_alone(detail, tmp_path):
    path, expected = detail
    data = json.loads(path.read_text())
    data['annos_segmentation'][0]['segmentation']['counts'] = [2, 3]
    path.write_text(json.dumps(data))
    out = run('pascal_context', tmp_path / 'dev', path, ok=False)
    assert '1 written, 0 were there, 1 failed' in out
    assert 'the runs of a mask cover 5 pixels, not 20 x 30' in out


def test_context_from_something_else_is_refused(tmp_path):
    path = tmp_path / 'other.json'
    path.write_text('{"images": []}')

    assert 'not an annotation file of the Detail' in run('pascal_context', tmp_path, path, ok=False)
    assert 'no such annotation file' in run('pascal_context', tmp_path, tmp_path / 'no', ok=False)
