"""Polygons become label images that new_dataset.py reads, each object in its place and class."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.run_tool import TOOLS, run_tool
from PIL import Image
from pycocotools import mask

from segkit.engine.config import load_config

SIZE = (40, 60)
BOXES = {'boat': (4, 6, 30, 20), 'buoy': (10, 8, 16, 14)}  # x0, y0, x1, y1; the small one inside


def ring(x0, y0, x1, y1) -> list[float]:
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def expected(boxes=BOXES) -> np.ndarray:
    label = np.zeros(SIZE, np.uint8)
    for value, (x0, y0, x1, y1) in enumerate(boxes.values(), 1):
        label[y0:y1, x0:x1] = value
    return label


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', SIZE[::-1], (9, 90, 9)).save(path)


def coco(root: Path) -> None:
    """As Roboflow exports: a dummy category 0, small objects before large ones."""
    for split, count in (('train', 5), ('valid', 2)):
        images = [dict(id=i, file_name=f'{i}.jpg', height=40, width=60) for i in range(count)]
        annotations = [
            dict(
                id=1,
                image_id=i,
                category_id=k,
                area=a,
                segmentation=[ring(*BOXES[name])],
                iscrowd=0,
            )
            for i in range(count)
            for k, name, a in ((2, 'buoy', 36), (1, 'boat', 364))
        ]
        annotations.append(dict(id=9, image_id=0, category_id=1, area=1, bbox=[0, 0, 1, 1]))
        groups = [dict(id=0, name='things'), dict(id=1, name='boat'), dict(id=2, name='buoy')]
        for image in images:
            picture(root / split / image['file_name'])
        content = dict(images=images, annotations=annotations, categories=groups)
        (root / split / '_annotations.coco.json').write_text(json.dumps(content))


def labelme(root: Path) -> None:
    for i in range(6):
        picture(root / f'{i}.jpg')
        shapes = [
            dict(
                label='boat',
                shape_type='polygon',
                points=np.reshape(ring(*BOXES['boat']), (4, 2)).tolist(),
            ),
            dict(label='buoy', shape_type='rectangle', points=[[10, 8], [16, 14]]),
            dict(label='rope', shape_type='line', points=[[0, 0], [9, 9]]),
        ]
        content = dict(shapes=shapes, imagePath=f'{i}.jpg', imageData=None)
        (root / f'{i}.json').write_text(json.dumps(content))


def cvat(root: Path) -> None:
    """The buoy first, with a higher z_order; as polygon, box, and mask in turn."""
    images = []
    for i in range(6):
        picture(root / 'images' / f'{i}.jpg')
        x0, y0, x1, y1 = BOXES['boat']
        points = f'{x0},{y0};{x1},{y0};{x1},{y1};{x0},{y1}'
        boat = f'<polygon label="boat" points="{points}" z_order="0"/>'
        x0, y0, x1, y1 = BOXES['buoy']
        buoy = f'<box label="buoy" xtl="{x0}" ytl="{y0}" xbr="{x1}" ybr="{y1}" z_order="1"/>'
        if i % 2:
            frame = f'left="{x0 - 1}" top="{y0}" width="{x1 - x0 + 1}" height="{y1 - y0}"'
            runs = ','.join(['1', str(x1 - x0)] * (y1 - y0))
            buoy = f'<mask label="buoy" rle="{runs}" {frame} z_order="1"/>'
        line = '<polyline label="rope" points="0,0;9,9" z_order="0"/>'
        images.append(
            f'<image id="{i}" name="{i}.jpg" width="60" height="40">{buoy}{boat}{line}</image>'
        )
    text = f'<annotations><version>1.1</version>{"".join(images)}</annotations>'
    (root / 'annotations.xml').write_text(text)


def yolo(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / 'data.yaml').write_text('names: [boat, buoy]\nnc: 2\n')
    for split, count in (('train', 5), ('valid', 2)):
        (root / split / 'labels').mkdir(parents=True)
        for i in range(count):
            picture(root / split / 'images' / f'{i}.jpg')
            lines = []
            for index, box in enumerate(BOXES.values()):
                points = np.reshape(ring(*box), (4, 2)) / SIZE[::-1]
                lines.append(f'{index} ' + ' '.join(f'{x:.6f}' for x in points.ravel()))
            lines.append('0 0.5 0.5 0.1 0.1')
            (root / split / 'labels' / f'{i}.txt').write_text('\n'.join(lines))


@pytest.mark.parametrize('fill', [coco, labelme, cvat, yolo], ids=lambda fill: fill.__name__)
def test_an_export_leads_to_its_classes(tmp_path, fill, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / 'my export'
    fill(root)
    status, text = run_tool('new_dataset', root, '--workers', 0)
    assert status == 1
    assert f"Draw them first: python {TOOLS / 'dataset_converters/polygons.py'} '{root}'" in text

    monkeypatch.syspath_prepend(str(TOOLS / 'dataset_converters'))
    status, text = run_tool('dataset_converters/polygons', root, '--workers', 0)

    assert status == 0, text
    assert 'left out: ' in text
    masks = sorted(root.rglob('*_mask.png'))
    assert len(masks) >= 6
    for path in masks:
        label = np.array(Image.open(path))
        assert (label != expected()).sum() <= 2 * (26 + 14 + 12)  # the outline, at most
        assert label[25, 40] == 0
        assert label[7, 5] == 1
        assert label[11, 12] == 2
    assert run_tool('new_dataset', root, '--workers', 0, '--zero', 'class')[0] == 0
    assert load_config(root / 'config.py').metainfo.classes == ('background', 'boat', 'buoy')


def test_run_lengths_and_holes_of_one_object_are_those_of_pycocotools(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS / 'dataset_converters'))
    from polygon_files import Drawing, draw

    picture(tmp_path / 'a.png')
    rng = np.random.default_rng(0)
    blob = np.asfortranarray((rng.random(SIZE) < 0.4).astype(np.uint8))
    packed = mask.encode(blob)
    flat = blob.flatten('F')
    runs = np.diff(np.flatnonzero(np.concatenate([[1], flat[1:] != flat[:-1], [1]]))).tolist()
    plain = dict(size=list(SIZE), counts=runs if flat[0] == 0 else [0, *runs])
    for rle in (packed, plain):
        assert (draw(Drawing(tmp_path / 'a.png', [(7, rle)])) == 7 * blob).all()
    triangle = [[10.0, 5.0, 50.0, 5.0, 30.0, 35.0]]
    want = mask.decode(mask.frPyObjects(triangle, *SIZE))[..., 0]
    rings = [np.reshape(triangle[0], (3, 2))]
    got = draw(Drawing(tmp_path / 'a.png', [(1, rings)]))
    assert (got != want).sum() <= 80  # pixels of the outline
    assert (got & want).sum() >= 0.98 * want.sum()


def test_turned_shapes_of_cvat_cover_what_geometry_says(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS / 'dataset_converters'))
    from polygon_files import collect, draw

    picture(tmp_path / 'a.jpg')
    shapes = (
        '<box label="box" xtl="10" ytl="15" xbr="30" ybr="25" rotation="30.0"/>'
        '<ellipse label="ellipse" cx="45" cy="20" rx="4" ry="12" rotation="90"/>'
    )
    (tmp_path / 'x.xml').write_text(
        f'<annotations><image name="a.jpg">{shapes}</image></annotations>'
    )
    names, (drawing,), _ = collect(tmp_path)
    label = draw(drawing)
    assert names == ['box', 'ellipse']
    y, x = np.mgrid[:40, :60] + 0.5
    sin, cos = 0.5, 3**0.5 / 2  # 30 degrees clockwise, as the picture is seen
    along, across = (x - 20) * cos + (y - 20) * sin, (y - 20) * cos - (x - 20) * sin
    box = (abs(along) < 10) & (abs(across) < 5)
    ellipse = ((x - 45) / 12) ** 2 + ((y - 20) / 4) ** 2 < 1
    assert ((label == 1) != box).sum() <= 40  # the outline
    assert ((label == 2) != ellipse).sum() <= 40
    assert (label[box & (abs(along) < 9) & (abs(across) < 4)] == 1).all()
    assert (label[19:21, 36:54] == 2).all()


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        (
            '<!DOCTYPE x [<!ENTITY a "b">]><annotations><image name="a.jpg"/></annotations>',
            'entities',
        ),
        ('<annotations><image name="a.jpg">', 'no whole XML'),
        (
            '<annotations><image name="a.jpg"><box label="b" xtl="x"/></image></annotations>',
            'a box of the class b cannot be read',
        ),
        (
            '<annotations><image name="a.jpg"><mask label="b" rle="1,2" left="0" top="0" width="9" '
            'height="9"/></image></annotations>',
            '3 pixels in a frame of 9 x 9',
        ),
    ],
)
def test_xml_that_is_not_as_cvat_writes_it_is_named(text, said, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS / 'dataset_converters'))
    picture(tmp_path / 'a.jpg')
    (tmp_path / 'x.xml').write_text(text)
    status, output = run_tool('dataset_converters/polygons', tmp_path, '--workers', 0)
    assert status == 1
    assert said in output
    assert 'x.xml' in output


def test_nothing_to_draw_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS / 'dataset_converters'))
    status, text = run_tool('dataset_converters/polygons', tmp_path)
    assert status == 1
    assert 'no COCO JSON, labelme JSON, CVAT XML or YOLO' in text
    status, text = run_tool('dataset_converters/polygons', tmp_path / 'none')
    assert status == 1
    assert 'there is no such folder' in text
