"""Folders as people have them: new, check and a batch lead to the right splits and classes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.layouts import LAYOUTS, SIZE, put, scene
from helpers.run_tool import run_tool

from segkit.engine import Runner, check_config
from segkit.engine.config import load_config
from segkit.inspection.check import check
from segkit.inspection.check_report import as_text
from segkit.registry import DATASETS


@pytest.fixture(autouse=True)
def from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def new(root: Path, *options: object) -> tuple[int, str]:
    return run_tool('new_dataset', root, '--workers', 0, *options)


def dataset_of(cfg, role: str):
    return DATASETS.build(cfg[f'{role}_dataloader'].dataset)


def test_there_are_enough_layouts():
    assert len(LAYOUTS) >= 20


@pytest.mark.parametrize('name', LAYOUTS)
def test_a_folder_leads_to_its_splits_and_classes(tmp_path, name):
    layout, root = LAYOUTS[name], tmp_path / 'my set'
    layout.fill(root)

    status, text = new(root, *layout.options)

    assert status == 0, text
    cfg = load_config(root / 'config.py')
    check_config(cfg)
    assert cfg.work_dir == 'work_dirs/my_set'
    assert cfg.metainfo.classes == layout.classes, text
    assert cfg.model.decode_head.num_classes == len(layout.classes)
    files = {role: _files(cfg, role) for role in layout.counts}
    assert {role: len(names) for role, names in files.items()} == layout.counts, text
    trained = set(files.pop('train'))
    assert not any(trained & set(names) for names in files.values())
    if 'test' not in layout.counts:
        assert _files(cfg, 'test') == files['val']
    assert not [words for words in layout.said if words not in text], text
    _labels_are_classes(cfg, layout)
    found = check(cfg, 'x', ('train', 'val', 'test'), workers=0)
    assert found.ok, as_text(found)


def _files(cfg, role: str) -> list[str]:
    dataset = dataset_of(cfg, role)
    return [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]


def _labels_are_classes(cfg, layout) -> None:
    """Every class in its place: the blocks of the scene have the index of their class."""
    for role in layout.counts:
        dataset = dataset_of(cfg, role)
        if role in layout.unlabelled:
            assert 'seg_map_path' not in dataset.get_data_info(0)
            continue
        seen = dataset[0]['data_samples'].gt_sem_seg.data.unique().tolist()
        assert set(seen) <= {*range(len(layout.classes)), 255}
        assert len(seen) >= 2


TRAINED = ['CamVid', 'VOC', 'mixed endings', 'CVAT masks']


@pytest.mark.parametrize('name', TRAINED)
def test_some_train_and_say_no_warning(tmp_path, name, capfd):
    layout, root = LAYOUTS[name], tmp_path / 'data'
    layout.fill(root)
    assert new(root, *layout.options, '--iters', 2, '--batch-size', 2)[0] == 0
    cfg = load_config(root / 'config.py')
    for part in ('train', 'val', 'test'):
        cfg[f'{part}_dataloader'].update(num_workers=0, persistent_workers=False)
    capfd.readouterr()

    runner = Runner.from_cfg(cfg)
    runner.train()

    assert runner.iter == 2
    assert (tmp_path / 'work_dirs/data/iter_2.pth').is_file()
    said = ''.join(capfd.readouterr())
    assert 'WARNING' not in said, said


def test_stored_values_become_the_index_of_their_name(tmp_path):
    """Colours by labelmap.txt, whose order is not that of the colours."""
    root = tmp_path / 'cvat'
    LAYOUTS['CVAT masks'].fill(root)
    assert new(root)[0] == 0
    cfg = load_config(root / 'config.py')
    info = dict(zip(cfg.metainfo.classes, map(tuple, cfg.metainfo.palette)))
    assert info == {'background': (0, 0, 0), 'dog': (51, 221, 255), 'cat': (250, 50, 83)}
    cfg.val_dataloader.dataset.pipeline = cfg.test_pipeline[:1] + cfg.test_pipeline[2:]
    sample = dataset_of(cfg, 'val')[0]
    number = int(Path(sample['data_samples'].img_path).stem)
    cat_first = scene(number)[1]  # there 1 is painted as cat, 2 as dog
    want = np.array([0, 2, 1], np.uint8)[cat_first]
    assert (sample['data_samples'].gt_sem_seg.data[0].numpy() == want).all()


def test_frames_of_one_video_stay_together(tmp_path):
    root = tmp_path / 'videos'
    LAYOUTS['videos in groups'].fill(root)
    status, text = new(root)
    assert status == 0
    assert "--group-by '^(.*?)[_-]?\\d+$'" in text
    assert new(root, '--force', '--group-by', r'^(.*?)[_-]?\d+$')[0] == 0
    cfg = load_config(root / 'config.py')
    groups = [{Path(f).stem.split('_')[0] for f in _files(cfg, r)} for r in ('train', 'val')]
    assert not groups[0] & groups[1]

    for pattern, words in (('(', 'no regular expression'), ('^', 'all 24 pictures are in one'),
                           (r'^(.*)$', 'no two of the 24 pictures')):  # fmt: skip
        status, text = new(root, '--force', '--group-by', pattern)
        assert status == 1
        assert words in text


def test_pictures_of_other_channels_and_depth_keep_their_values(tmp_path):
    import cv2

    for i in range(3):
        put(tmp_path / f'd/images/{i}.png', tmp_path / f'd/labels/{i}.png', i)
        grey = scene(i)[0][..., 0].astype(np.uint16) * 16
        cv2.imwrite(str(tmp_path / f'd/images/{i}.png'), grey)
    assert new(tmp_path / 'd')[0] == 0
    cfg = load_config(tmp_path / 'd/config.py')
    assert cfg.model.backbone.in_channels == 1
    stored = [cv2.imread(f, -1) for f in _files(cfg, 'train')]
    np.testing.assert_allclose(cfg.model.data_preprocessor.mean, np.mean(stored), rtol=1e-3)
    np.testing.assert_allclose(cfg.model.data_preprocessor.std, np.std(stored), rtol=1e-3)
    sample = dataset_of(cfg, 'train')[0]
    assert sample['inputs'].dtype != torch.uint8
    assert sample['inputs'].max() > 1000
    assert check(cfg, 'x', workers=0).ok
    assert stored[0].shape == SIZE
