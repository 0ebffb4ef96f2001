"""tools/check_dataset.py as a user types it: text, JSON, page, exit status."""

import json
import time

import cv2
import numpy as np
import pytest
from helpers.make_data import PREFIX, write_dataset
from helpers.run_tool import run_tool


@pytest.fixture
def config(tmp_path):
    root = write_dataset(tmp_path / 'data', [(40, 56)] * 12)
    path = tmp_path / 'mine.py'
    dataset = dict(
        type='BaseSegDataset', data_root=root, data_prefix=PREFIX, img_suffix='.png',
        metainfo=dict(classes=tuple('abcde')),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
    )  # fmt: skip
    path.write_text(
        f'train_dataloader = dict(batch_size=2, dataset={dataset!r})\n'
        'model = dict(decode_head=dict(num_classes=5))\n'
    )
    return path


def test_good_data(config, tmp_path):
    page, data = tmp_path / 'out.html', tmp_path / 'out.json'

    status, out = run_tool(
        'check_dataset', config, '--html', page, '--json', data, '--workers', 2, own_process=True
    )

    assert status == 0
    assert 'mine: training would work' in out
    assert page.read_text().count('<img') >= 12
    found = json.loads(data.read_text())
    assert found['ok'] is True
    assert found['datasets'][0]['images'] == 12
    assert [c['name'] for c in found['datasets'][0]['classes']] == list('abcde')


def test_bad_data(config, tmp_path):
    label = tmp_path / 'data/ann/003.png'
    cv2.imwrite(str(label), np.full((40, 56), 200, np.uint8))
    (tmp_path / 'data/ann/004.png').unlink()
    data = tmp_path / 'out.json'

    status, out = run_tool('check_dataset', config, '--json', data)

    assert status == 1
    assert f'{label}: holds 200' in out
    assert 'ann/004.png: there is no such file' in out
    assert 'mine: 2 errors: training would fail' in out
    assert json.loads(data.read_text())['ok'] is False


@pytest.mark.parametrize(
    'tool',
    ['check_dataset', 'new_dataset', 'browse_dataset', 'model_zoo', 'dataset_converters/voc_aug'],
)
def test_help_comes_at_once(tool):
    start = time.perf_counter()

    status, out = run_tool(tool, '--help', own_process=True)

    assert status == 0
    assert 'usage:' in out
    assert time.perf_counter() - start < 2
