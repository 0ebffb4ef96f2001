"""G4: a tool writes over files that it wrote itself; over anything else never, and says so first.

Every tool is run where each file that it would write is somebody's already (refused, nothing
written), then where nothing is (it works), then once more (it writes over its own).
"""

import csv
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from helpers import found
from helpers.run_tool import run_tool
from helpers.tiny_config import write_tiny_config
from PIL import Image

from segkit.apis import init_model
from segkit.datasets.metainfo import dataset_metainfo

CHILD = """
_base_ = 'tiny.py'
data = dict(
    type='BaseSegDataset', data_root={root!r}, img_suffix='.jpg',
    data_prefix=dict(img_path='images', seg_map_path='labels'),
    metainfo=dict(classes=tuple('abcdefghijklm')))
train_dataloader = dict(dataset=dict(_delete_=True, pipeline=_base_.train_pipeline, **data))
test_dataloader = dict(dataset=dict(_delete_=True, pipeline=_base_.test_pipeline, **data))
val_dataloader = test_dataloader
"""
MODEL = ['{d}/cfg.py', '{d}/w.pth']


class Case(NamedTuple):
    """A call of a tool and files it writes, with ``{d}`` for the folder of the test."""

    tool: str
    arguments: list[str]
    targets: list[str]
    again: bool = True  # whether a second call writes the same files


TEST = ['--work-dir', '{d}/wd']
CASES = [
    Case('app', [*MODEL, '--space', '{d}/o'], ['o/app.py', 'o/model.safetensors']),
    Case('analyze_logs', ['{d}/run', '--keys', 'loss', '--out', '{d}/o/c.svg'], ['o/c.svg']),
    Case(
        'benchmark',
        ['{d}/cfg.py', '--shape', '32', '32', '--repeats', '1', '--out', '{d}/o/b.json'],
        ['o/b.json'],
    ),
    Case('browse_dataset', ['{d}/cfg.py', '--num', '2', '--out', '{d}/o/s.png'], ['o/s.png']),
    Case(
        'browse_dataset',
        ['{d}/cfg.py', '--num', '2', '--raw', '--out', '{d}/o'],
        ['o/0000_0.png', 'o/0001_1.png'],
    ),
    Case('cache_dataset', ['{d}/cfg.py', '{d}/o', '--workers', '0'], ['o/index.npy']),
    Case(
        'check_dataset',
        ['{d}/cfg.py', '--workers', '0', '--json', '{d}/o/c.json', '--html', '{d}/o/c.html'],
        ['o/c.json', 'o/c.html'],
    ),
    Case(
        'confusion_matrix',
        ['{d}/cfg.py', '{d}/ids', '--out-dir', '{d}/o'],
        ['o/confusion.png', 'o/confusion.csv'],
    ),
    Case('convert_config', ['{d}/old.py', '{d}/o/new.py'], ['o/new.py']),
    Case(
        'export',
        [*MODEL, '--format', 'safetensors', '--shape', '32', '32', '--out', '{d}/o/m.safetensors'],
        ['o/m.safetensors'],
    ),
    Case(
        'make_demo_dataset',
        ['{d}/o', '--train', '1', '--val', '1', '--size', '64', '64'],
        ['o/images/train/00000.png', 'o/annotations/val/00000.png', 'o/classes.txt'],
    ),
    Case('model_zoo', ['table', '--out', '{d}/o/zoo.md'], ['o/zoo.md']),
    Case(
        'new_dataset',
        ['{d}/data', '--workers', '0', '--out', '{d}/o/new.py'],
        ['o/new.py', 'o/new_train.txt', 'o/new_val.txt'],
        again=False,  # asks for --force
    ),
    Case(
        'predict',
        ['{d}/data/images', '--config', MODEL[0], '--checkpoint', MODEL[1], '--out-dir', '{d}/o'],
        ['o/masks/0.png', 'o/overlays/1.png', 'o/predictions.json'],
    ),
    Case(
        'predict',
        [
            '{d}/data/images',
            '--config',
            MODEL[0],
            '--checkpoint',
            MODEL[1],
            '--film',
            '{d}/o/f.mp4',
        ],
        ['o/f.mp4'],
    ),
    Case(
        'test',
        [*MODEL, *TEST, '--certainty-dir', '{d}/o', '--per-picture', '{d}/o/p.csv'],
        ['o/confidence/0.png', 'o/p.csv'],
    ),
    Case('print_config', ['{d}/cfg.py', '--out', '{d}/o/p.py'], ['o/p.py']),
    Case('publish_model', ['{d}/w.pth', '{d}/o/p.pth'], []),  # its names hold the content's hash
    Case('test', [*MODEL, *TEST, '--out', '{d}/o'], ['o/0.png', 'o/1.png']),
    Case('test', [*MODEL, *TEST, '--out', '{d}/o/p.pkl'], ['o/p.pkl']),
    Case('test', [*MODEL, *TEST, '--show-dir', '{d}/o'], ['o/0.png', 'o/1.png']),
    Case('test', [*MODEL, *TEST, '--report', '{d}/o/r.html'], ['o/r.html']),
    Case('test', [*MODEL, '--work-dir', '{d}/o'], ['o/results.json', 'o/results.csv']),
    Case(
        'train',
        ['{d}/cfg.py', '--work-dir', '{d}/o', '--cfg-options', 'train_cfg.max_iters=2'],
        ['o/cfg.py', 'o/run.json'],
    ),
    Case(
        'visualize_attention',
        ['{d}/attention.py', '', '{d}/data/images/0.jpg', '--out', '{d}/o/a.png'],
        ['o/a.png'],
    ),
    Case(
        'dataset_converters/to_shards',
        ['{d}/cfg.py', '--out-dir', '{d}/o', '--splits', 'test', '--workers', '0'],
        ['o/test-00000.tar', 'o/index.json', 'o/index.npy'],
    ),
    Case(
        'dataset_converters/pascal_context',
        ['{d}/voc', '{d}/voc/raw', '--names', '{d}/voc/names.txt', '--workers', '0', '--overwrite'],
        [
            'voc/VOC2010/SegmentationClassContext/2008_000000.png',
            'voc/VOC2010/ImageSets/SegmentationContext/val.txt',
        ],
    ),
]
NO_FILES = {
    'compare_runs': 'prints',
    'get_flops': 'prints',
    'dataset_converters/cityscapes': 'writes through the function of pascal_context',
    'dataset_converters/voc_aug': 'writes through the function of pascal_context',
    **{
        f'dataset_converters/{name}': 'writes through the function of pascal_context'
        for name in ('camvid', 'coco_stuff', 'isaid', 'isprs', 'loveda')
    },
    'dataset_converters/polygons': 'writes through the function of pascal_context',
}


def make_voc(root: Path) -> None:
    """Two labels of Pascal Context as a folder, and their names."""
    (root / 'raw').mkdir(parents=True)
    names = ['others', *dataset_metainfo('pascal_context')['classes'][1:]]
    (root / 'names.txt').write_text(''.join(f'{i}: {name}\n' for i, name in enumerate(names)))
    lists = root / 'VOC2010' / 'ImageSets' / 'Main'
    lists.mkdir(parents=True)
    (root / 'VOC2010' / 'JPEGImages').mkdir()
    for i, split in enumerate(('train', 'val')):
        stem = f'2008_{i:06d}'
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(root / 'raw' / f'{stem}.png')
        (lists / f'{split}.txt').write_text(f'{stem}\n')


@pytest.fixture(scope='module')
def place(tmp_path_factory) -> Path:
    """Data, configs, weights, predictions and a log, as a user has them."""
    root, rng = tmp_path_factory.mktemp('place'), np.random.default_rng(0)
    for kind in ('images', 'labels', 'ids'):
        (root / ('ids' if kind == 'ids' else f'data/{kind}')).mkdir(parents=True)
    for i in range(2):
        image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        label = rng.integers(0, 13, (64, 64), dtype=np.uint8)
        cv2.imwrite(str(root / f'data/images/{i}.jpg'), image)
        cv2.imwrite(str(root / f'data/labels/{i}.png'), label)
        cv2.imwrite(str(root / f'ids/{i}.png'), label)
    write_tiny_config(root)
    (root / 'cfg.py').write_text(CHILD.format(root=str(root / 'data')))
    psa = "decode_head=dict(_delete_=True, type='DAHead', pam_channels=4, in_channels=64, "
    psa += 'in_index=3, channels=8, num_classes=13)'
    (root / 'attention.py').write_text(f"_base_ = 'cfg.py'\nmodel = dict({psa})\n")
    shutil.copy(root / 'cfg.py', root / 'old.py')
    torch.save({'state_dict': init_model(root / 'cfg.py').state_dict()}, root / 'w.pth')
    (root / 'run/20260101_000000/vis_data').mkdir(parents=True)
    lines = [json.dumps(dict(loss=1.0 / i, step=i)) for i in (1, 2)]
    (root / 'run/20260101_000000/vis_data/scalars.json').write_text('\n'.join(lines))
    make_voc(root / 'voc')
    return root


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below, but for logs, which are new ones each time."""
    files = (path for path in folder.rglob('*') if path.is_file())
    kept = (path for path in files if path.suffix != '.log' and 'vis_data' not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def call(case: Case, root: Path) -> tuple[int, str]:
    return run_tool(case.tool, *(argument.format(d=root) for argument in case.arguments))


def test_every_tool_is_in_the_table():
    tools = set(found.tools())
    assert {case.tool for case in CASES} | set(NO_FILES) == tools
    assert len(CASES) >= 23
    assert len({case.tool for case in CASES}) >= 18


def name_of(case: Case) -> str:
    return f'{case.tool}-{"+".join(Path(target).name for target in case.targets)}'


@pytest.mark.parametrize('case', CASES, ids=name_of)
def test_a_foreign_file_stays_and_own_ones_are_written_anew(case, place, tmp_path):
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    config = tmp_path / 'cfg.py'
    config.write_text(config.read_text().replace(str(place), str(tmp_path)))
    for target in case.targets:
        path = tmp_path / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'mine')
        before = tree(tmp_path)
        status, said = call(case, tmp_path)
        assert status, said
        assert path.name in said or path.parent.name in said
        assert 'Traceback' not in said
        assert tree(tmp_path) == before, f'{target}: something was written before the refusal'
        path.unlink()
    for _ in range(1 + case.again):
        status, said = call(case, tmp_path)
        assert status == 0, said
        assert all((tmp_path / target).is_file() for target in case.targets)
    assert all(tree(tmp_path)[name] == content for name, content in tree(place).items()
               if name != 'cfg.py')  # fmt: skip


ONTO_INPUTS = [
    Case('test', [*MODEL, *TEST, '--out', '{d}/data/labels'], []),
    Case('test', [*MODEL, *TEST, '--out', '{d}/data/labels/new'], []),
    Case('test', [*MODEL, *TEST, '--out', '{d}/link'], []),
    Case('test', [*MODEL, *TEST, '--show-dir', '{d}/data/images'], []),
    Case('test', [*MODEL, *TEST, '--show-dir', '{d}/o', '--out', '{d}/o'], []),
    Case('test', [*MODEL, *TEST, '--report', '{d}/w.pth'], []),
    Case('browse_dataset', ['{d}/cfg.py', '--out', '{d}/data/labels/0.png'], []),
    Case('browse_dataset', ['{d}/cfg.py', '--out', '{d}/data/labels'], []),
    Case(
        'predict',
        ['{d}/in/masks', '--config', MODEL[0], '--checkpoint', MODEL[1], '--out-dir', '{d}/in'],
        [],
    ),
    Case('print_config', ['{d}/own.py', '--out', '{d}/own.py'], []),
    Case('convert_config', ['{d}/old.py', '{d}/old.py'], []),
    Case('export', [*MODEL, '--format', 'safetensors', '--out', '{d}/w.pth'], []),
    Case('cache_dataset', ['{d}/cfg.py', '{d}/data', '--workers', '0'], []),
    Case('train', ['{d}/cfg.py', '--load-from', '{d}/iter_2.pth', '--work-dir', '{d}'], []),
    Case('new_dataset', ['{d}/data', '--out', '{d}/data/labels/0.png', '--force'], []),
    Case('visualize_attention', ['{d}/attention.py', '', '{d}/a.jpg', '--out', '{d}/a.jpg'], []),
]


@pytest.mark.parametrize('case', ONTO_INPUTS, ids=lambda c: f'{c.tool}-{c.arguments[-1]}')
def test_what_a_tool_reads_stays_even_if_it_wrote_it(case, place, tmp_path):
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    config = tmp_path / 'cfg.py'
    config.write_text(config.read_text().replace(str(place), str(tmp_path)))
    (tmp_path / 'link').symlink_to('data/labels')
    (tmp_path / 'in/masks').mkdir(parents=True)
    shutil.copy(tmp_path / 'data/labels/1.png', tmp_path / 'in/masks')
    shutil.copy(tmp_path / 'data/images/1.jpg', tmp_path / 'a.jpg')
    shutil.copy(tmp_path / 'w.pth', tmp_path / 'iter_2.pth')
    (tmp_path / '20260101_000000').mkdir()
    if 'own.py' in str(case.arguments):
        assert run_tool('print_config', config, '--out', tmp_path / 'own.py')[0] == 0
    before = tree(tmp_path)
    status, said = call(case, tmp_path)
    assert status, said
    assert 'Traceback' not in said
    after = tree(tmp_path)
    assert {name: after.get(name) for name in before} == before
    assert {name for name in after if name.startswith('data/')} <= set(before)


def test_the_config_in_its_own_work_directory_is_left(place, tmp_path):
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    before = (tmp_path / 'cfg.py').read_bytes()
    options = ['--cfg-options', 'train_cfg.max_iters=2']
    status, said = run_tool('train', tmp_path / 'cfg.py', '--work-dir', tmp_path, *options)
    assert status == 0, said
    assert (tmp_path / 'cfg.py').read_bytes() == before
    assert (tmp_path / 'iter_2.pth').is_file()


@pytest.mark.parametrize(('tool', 'masks'), [('test', '{d}/o'), ('predict', '{d}/o/masks')])
def test_pictures_of_one_name_in_two_folders_are_kept_apart(tool, masks, place, tmp_path):
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    for kind, ending in (('images', 'jpg'), ('labels', 'png')):
        folder = tmp_path / 'data' / kind
        for i, city in enumerate(('a', 'b')):
            (folder / city).mkdir()
            (folder / f'{i}.{ending}').rename(folder / city / f'x.{ending}')
    config = tmp_path / 'cfg.py'
    config.write_text(config.read_text().replace(str(place), str(tmp_path)))
    arguments = {
        'test': [*MODEL, *TEST, '--out', '{d}/o'],
        'predict': ['{d}/data/images', '--config', *MODEL, '--out-dir', '{d}/o'],
    }[tool]
    if tool == 'predict':
        arguments.insert(3, '--checkpoint')
    status, said = call(Case(tool, arguments, []), tmp_path)
    assert status == 0, said
    folder = Path(masks.format(d=tmp_path))
    assert {str(p.relative_to(folder)) for p in folder.rglob('*.png')} == {'a/x.png', 'b/x.png'}
    if tool == 'test':  # and read back from there
        status, said = run_tool(
            'confusion_matrix', config, folder, '--out-dir', tmp_path / 'confusion'
        )
        assert status == 0, said
        with open(tmp_path / 'confusion/confusion.csv') as file:
            counted = sum(sum(map(int, row[1:])) for row in list(csv.reader(file))[1:])
        assert counted == 2 * 64 * 64


def test_a_picture_and_its_label_in_one_folder(place, tmp_path):
    """x.jpg is predicted as x.png, which is its label."""
    both = tmp_path / 'both'
    both.mkdir()
    for kind in ('images', 'labels'):
        for path in (place / 'data' / kind).iterdir():
            shutil.copy(path, both)
    (tmp_path / 'list.txt').write_text('0\n1\n')  # with a list, the folder is not scanned
    text = (place / 'cfg.py').read_text().replace(str(place / 'data'), str(both))
    text = text.replace("img_path='images', seg_map_path='labels'", "img_path='', seg_map_path=''")
    text = text.replace("img_suffix='.jpg'", f"img_suffix='.jpg', ann_file='{tmp_path}/list.txt'")
    write_tiny_config(tmp_path)
    (tmp_path / 'cfg.py').write_text(text)
    before = tree(both)
    for option in ('--out', '--show-dir'):
        arguments = ['{d}/cfg.py', str(place / 'w.pth'), *TEST, option, '{d}/both']
        status, said = call(Case('test', arguments, []), tmp_path)
        assert status, said
        assert '0.png is read' in said
        assert tree(both) == before
