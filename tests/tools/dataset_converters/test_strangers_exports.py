"""Files of labelling tools that a stranger made: nothing is read or written outside of the folder,
nothing grows, and what is wrong is a sentence that names the file."""

import json
import sys
from collections import Counter

import numpy as np
import pytest
from helpers.run_tool import TOOLS, run_tool
from PIL import Image

PICTURE = 'a.png'
RING = [[0, 0, 4, 0, 4, 4]]
BOX = '<polygon label="b" points="0,0;4,0;4,4"/>'


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder with a picture, and another beside it that nobody named."""
    monkeypatch.syspath_prepend(str(TOOLS / 'dataset_converters'))
    for folder in ('data', 'others'):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / folder / PICTURE)
    (tmp_path / 'others' / 'secret.txt').write_text('secret')
    yield tmp_path / 'data'
    for name in ('conversion', 'polygon_files', 'cvat_and_yolo'):
        sys.modules.pop(name, None)


def coco(name: object = PICTURE, segmentation: object = RING, **more: object) -> str:
    content = dict(
        images=[dict(id=1, file_name=name)], categories=[dict(id=1, name='b')],
        annotations=[dict(image_id=1, category_id=1, segmentation=segmentation)],
    )  # fmt: skip
    return json.dumps({**content, **more})


def labelme(name: object = PICTURE, shapes: object = ()) -> str:
    return json.dumps(dict(imagePath=name, shapes=list(shapes) or [dict(label='b', points=[[0, 0],
                                                                  [4, 0], [4, 4]])]))  # fmt: skip


def cvat(name: str = PICTURE, inside: str = BOX, head: str = '') -> str:
    return f'{head}<annotations><image name="{name}">{inside}</image></annotations>'


def test_a_name_leads_out_of_the_folder_nowhere(root, tmp_path):
    names = ['../others/a.png', str(tmp_path / 'others' / PICTURE), 'x/../../others/a.png',
             '..\\others\\a.png', '../others/secret.txt']  # fmt: skip
    before = sorted((tmp_path / 'others').iterdir())
    for number, name in enumerate(names):
        for kind, text in (('json', coco(name)), ('json', labelme(name)), ('xml', cvat(name))):
            (root / 'sub').mkdir(exist_ok=True)  # where no picture of that name lies beside it
            (root / 'sub' / f'{number}.{kind}').write_text(text)
            status, said = run_tool('dataset_converters/polygons', root)
            assert 'Traceback' not in said, said
            assert sorted((tmp_path / 'others').iterdir()) == before, name
            assert status == 0 or 'no COCO JSON' in said or 'pictures' in said


ODD = {
    'a.json': [coco(5), coco(None), coco(segmentation='abc'), coco(segmentation=[[None] * 6]),
               coco(categories=[]), coco(categories=5), coco(images={}), coco(annotations=[[]]),
               coco(segmentation=[['x'] * 6]), labelme(5), labelme([]), labelme(shapes=[5]),
               labelme(shapes=[dict(label='b', points='x')]), labelme(shapes=[dict(points=[])])],
    'a.xml': [cvat(inside='<polygon label="b"/>'), cvat(inside='<box label="b" xtl="x"/>'),
              cvat(inside=f'{BOX[:-2]} z_order="x"/>'), cvat()[:-5],
              cvat(inside='<mask label="b" rle="99999999999999,1" left="0" top="0" width="99999999"'
                   ' height="9999999"/>'),
              cvat(inside='<mask label="b" rle="-4,8" left="0" top="0" width="2" height="2"/>')],
    'labels/a.txt': ['0 nan 0 0 0 0 0', '0 0.1 0.1 0.1 0.1 0.1', 'inf 0 0 1 0 1 1'],
}  # fmt: skip


@pytest.mark.parametrize('name', ODD)
def test_what_is_no_export_is_a_sentence(name, root):
    path = root / name
    path.parent.mkdir(exist_ok=True)
    for text in ODD[name]:
        path.write_text(text)
        status, said = run_tool('dataset_converters/polygons', root)
        assert 'Traceback' not in said, (text, said)
        assert status in (0, 1)
        if status:
            assert 'a.' in said or str(root) in said
        for made in (*root.glob('*_mask.png'), *root.glob('_classes.csv')):
            made.unlink()


@pytest.mark.parametrize('code', ['utf-8', 'utf-16'])
@pytest.mark.parametrize('far', [0, 9000])
def test_xml_that_defines_entities_is_not_read(root, tmp_path, code, far):
    secret = (tmp_path / 'others' / 'secret.txt').as_uri()
    kinds = ['<!DOCTYPE annotations [<!ENTITY a "b">]>',
             f'<!DOCTYPE annotations SYSTEM "{secret}">',
             f'<!DOCTYPE annotations [<!ENTITY a SYSTEM "{secret}">]>']  # fmt: skip
    for doctype in kinds:
        head = f'<?xml version="1.0" encoding="{code}"?><!--{"x" * far}-->{doctype}'
        (root / 'a.xml').write_bytes(cvat(inside=BOX, head=head).encode(code))
        status, said = run_tool('dataset_converters/polygons', root)
        assert status == 1
        assert 'a.xml: defines entities' in said
        assert not list(root.glob('*_mask.png'))


def test_run_lengths_of_another_size_are_not_decoded(root):
    pytest.importorskip('pycocotools')
    from polygon_files import collect, draw

    for size, counts in (([10**6, 10**6], [10**12]), ([8, 8], [10**9]), ([8, 8], [-4, 68]),
                         ([8], [64]), ([8, 8], [60]), ([64, 1], 'abc')):  # fmt: skip
        (root / 'a.json').write_text(coco(segmentation=dict(size=size, counts=counts)))
        (drawing,) = collect(root)[1]
        with pytest.raises(ValueError, match=r'a\.png: (a mask is of|the runs of a mask)'):
            draw(drawing)
    (root / 'a.json').write_text(coco(segmentation=dict(size=[8, 8], counts=[8, 56])))
    names, (drawing,), left = collect(root)
    assert (names, left) == (['b'], Counter())
    assert draw(drawing).sum() == 56
