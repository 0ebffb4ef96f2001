"""The converters that cut, copy or renumber, on small files in the formats of the data sets."""

from pathlib import Path

import numpy as np
import pytest
from helpers.run_tool import run_tool
from PIL import Image

from segkit.datasets.metainfo import LICENCES, dataset_metainfo

RNG = np.random.default_rng(2)


def run(tool: str, *args: object, ok: bool = True) -> str:
    status, text = run_tool(f'dataset_converters/{tool}', *args, '--workers', 0)
    assert (status == 0) is ok, text
    return text


def read(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def write(path: Path, array: np.ndarray) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return array


def painted(label: np.ndarray, colours: list) -> np.ndarray:
    return np.array(colours, np.uint8)[label]


@pytest.mark.parametrize(
    ('city', 'names', 'stems'),
    [
        ('potsdam', ('top_potsdam_{}_RGB.tif', 'top_potsdam_{}_label.tif'), ('2_10', '2_13')),
        (
            'vaihingen',
            ('top_mosaic_09cm_{}.tif', 'top_mosaic_09cm_{}_noBoundary.tif'),
            ('area1', 'area38'),
        ),
    ],
)
def test_tiles_of_both_cities_lie_side_by_side_and_the_last_one_at_the_end(
    tmp_path, city, names, stems
):
    colours = [[0, 0, 0], *dataset_metainfo('isprs')['palette'], [1, 2, 3]]
    kept = {}
    for stem in stems:
        label = RNG.integers(0, 8, (70, 50), dtype=np.uint8)
        picture = RNG.integers(0, 256, (70, 50, 3), dtype=np.uint8)
        write(tmp_path / 'in/a' / names[0].format(stem), picture)
        write(tmp_path / 'in/b' / names[1].format(stem), painted(label, colours))
        kept[stem] = picture, np.where(label == 7, 0, label)  # a colour of no class is ignored
    write(tmp_path / 'in' / names[0].format('7_13' if city == 'potsdam' else 'area9'), picture)

    out = run('isprs', city, tmp_path / 'in', '--out', tmp_path / 'out', '--tile', 32)

    assert '24 written, 0 were there, 0 failed' in out
    assert 'left out, the picture or its label is not there: ' in out
    assert LICENCES['ISPRS'] in out
    for split, stem in zip(('train', 'val'), stems):
        picture, label = kept[stem]
        corners = [(x, y) for y in (0, 32, 38) for x in (0, 18)]
        wanted = {f'{stem}_{x}_{y}_{x + 32}_{y + 32}.png' for x, y in corners}
        assert {path.name for path in (tmp_path / 'out/img_dir' / split).iterdir()} == wanted
        for x, y in corners:
            file = f'{split}/{stem}_{x}_{y}_{x + 32}_{y + 32}.png'
            part = slice(y, y + 32), slice(x, x + 32)
            assert np.array_equal(read(tmp_path / 'out/img_dir' / file), picture[part])
            assert np.array_equal(read(tmp_path / 'out/ann_dir' / file), label[part])
    again = run('isprs', city, tmp_path / 'in', '--out', tmp_path / 'out', '--tile', 32)
    assert '0 written, 24 were there' in again


@pytest.mark.parametrize('pillows_limit', [Image.MAX_IMAGE_PIXELS, 99])
def test_tiles_of_isaid_overlap_and_small_pictures_are_padded(tmp_path, monkeypatch, pillows_limit):
    colours = dataset_metainfo('isaid')['palette']
    label = RNG.integers(0, 16, (20, 45), dtype=np.uint8)
    picture = RNG.integers(1, 256, (20, 45, 3), dtype=np.uint8)
    write(tmp_path / 'in/train/images/P0007.png', picture)
    write(tmp_path / 'in/train/masks/P0007_instance_color_RGB.png', painted(label, colours))
    write(tmp_path / 'in/train/masks/P0007_instance_id_RGB.png', picture)

    with monkeypatch.context() as patch:
        patch.setattr(Image, 'MAX_IMAGE_PIXELS', pillows_limit)
        settings = '--out', tmp_path / 'out', '--tile', 32, '--overlap', 12
        out = run('isaid', tmp_path / 'in', *settings)
        assert pillows_limit == Image.MAX_IMAGE_PIXELS

    assert '4 written' in out
    stems = sorted(path.stem for path in (tmp_path / 'out/img_dir/train').iterdir())
    assert stems == ['P0007_0_32_0_32', 'P0007_0_32_13_45']
    for stem, x in zip(stems, (0, 13)):
        tile = read(tmp_path / f'out/img_dir/train/{stem}.png')
        assert np.array_equal(tile[:20], picture[:, x : x + 32])
        assert not tile[20:].any()
        marked = read(tmp_path / f'out/ann_dir/train/{stem}_instance_color_RGB.png')
        assert np.array_equal(marked[:20], label[:, x : x + 32])
        assert (marked[20:] == 255).all()
    assert 'must be below --tile' in run('isaid', tmp_path, '--overlap', 896, ok=False)


def test_coco_stuff_164k_closes_the_gaps_of_the_ids(tmp_path):
    stored = np.array([[0, 10, 12, 90], [91, 181, 255, 11]], np.uint8)
    write(tmp_path / 'annotations/train2017/000000000009.png', stored)
    out = run('coco_stuff', tmp_path)
    label = read(tmp_path / 'annotations/train2017/000000000009_labelTrainIds.png')
    # The ids 12, 26, 29, 30, 45, 66, 68, 69, 71, 83 and 91, each one less here, have no class.
    assert label.tolist() == [[0, 10, 11, 255], [80, 170, 255, 255]]
    classes = dataset_metainfo('coco_stuff')['classes']
    named = dict(zip(stored.ravel().tolist(), label.ravel().tolist()))
    assert [classes[named[i]] for i in (0, 10, 12, 91, 181)] == [
        'person', 'fire hydrant', 'stop sign', 'banner', 'wood'
    ]  # fmt: skip
    assert LICENCES['COCO-Stuff'] in out
    assert '0 written, 1 were there' in run('coco_stuff', tmp_path)


def test_coco_stuff_10k_is_sorted_by_split(tmp_path):
    scipy_io = pytest.importorskip('scipy.io')
    stored = np.array([[0, 1, 13], [92, 182, 12]], np.uint16)
    lists = {'train': 'COCO_train2014_000000000077', 'test': 'COCO_train2014_000000000113'}
    (tmp_path / 'imageLists').mkdir()
    (tmp_path / 'annotations').mkdir()
    for split, name in lists.items():
        (tmp_path / f'imageLists/{split}.txt').write_text(f'{name}\n')
        scipy_io.savemat(tmp_path / f'annotations/{name}.mat', {'S': stored})
        write(tmp_path / f'images/{name}.jpg', np.zeros((2, 3, 3), np.uint8))
    assert '4 written' in run('coco_stuff', tmp_path)
    for split, name in lists.items():
        label = read(tmp_path / f'annotations/{split}2014/{name}_labelTrainIds.png')
        assert label.tolist() == [[0, 1, 12], [81, 171, 0]]
        copy = tmp_path / f'images/{split}2014/{name}.jpg'
        assert copy.read_bytes() == (tmp_path / f'images/{name}.jpg').read_bytes()
    (tmp_path / 'imageLists/test.txt').unlink()
    assert 'test.txt: this list of images is needed' in run('coco_stuff', tmp_path, ok=False)


def test_loveda_is_copied_into_one_folder_a_split(tmp_path):
    sources = {}
    for split, place, number in (
        ('Train', 'Rural', 0),
        ('Train', 'Urban', 1366),
        ('Val', 'Rural', 2),
    ):
        for kind, folder in (('images_png', 'img_dir'), ('masks_png', 'ann_dir')):
            path = tmp_path / f'in/{split}/{place}/{kind}/{number}.png'
            write(path, RNG.integers(0, 8, (4, 4), dtype=np.uint8))
            sources[path] = tmp_path / f'out/{folder}/{split.lower()}/{number}.png'
    assert '6 written' in run('loveda', tmp_path / 'in', '--out', tmp_path / 'out')
    assert all(a.read_bytes() == b.read_bytes() for a, b in sources.items())


def test_camvid_gets_its_eleven_classes_and_splits(tmp_path):
    colours = [[0, 0, 0], [64, 192, 0], [128, 64, 128], [0, 64, 64], [192, 0, 192], [7, 7, 7]]
    label = painted(np.arange(6).reshape(2, 3), colours)
    splits = {
        '0001TP_006690': 'train', '0001TP_008550': 'test', '0006R0_f00930': 'train',
        '0016E5_07959': 'val', '0016E5_08190': 'train', 'Seq05VD_f00000': 'test',
    }  # fmt: skip
    for stem in splits:
        write(tmp_path / f'in/701_StillsRaw_full/{stem}.png', label)
        write(tmp_path / f'in/LabeledApproved_full/{stem}_L.png', label)
    assert '12 written' in run('camvid', tmp_path / 'in', '--out', tmp_path / 'out')
    for stem, split in splits.items():
        made = read(tmp_path / f'out/{split}annot/{stem}.png')
        assert made.tolist() == [[11, 1, 3], [6, 10, 11]]  # void, wall, road; light, moped, none
        assert np.array_equal(read(tmp_path / f'out/{split}/{stem}.png'), label)


@pytest.mark.parametrize('tool', ['camvid', 'coco_stuff', 'isaid', 'isprs', 'loveda'])
def test_an_empty_folder_says_what_to_unpack(tmp_path, tool):
    city = ['potsdam'] if tool == 'isprs' else []
    said = run(tool, *city, tmp_path, ok=False)
    assert str(tmp_path) in said
    assert 'Traceback' not in said


def test_the_terms_of_every_data_set_are_in_the_docs():
    page = (Path(__file__).parents[3] / 'docs/datasets.md').read_text()
    for title, terms in LICENCES.items():
        row = next(line for line in page.splitlines() if line.startswith(f'| {title} | '))
        assert row.endswith(f'| {terms} |')
