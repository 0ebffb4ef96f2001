"""tools/model_zoo.py as a user types it, the whole loop on the generated dataset included."""

import csv
import hashlib
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from helpers.flaky_server import serving
from helpers.run_tool import run_tool

from segkit.datasets.metainfo import LICENCES
from segkit.model_zoo import Row, read_measurements

ROOT = Path(__file__).resolve().parents[2]

CONFIG = f"""
_base_ = '{ROOT}/configs/demo/pspnet_r18-d8_shapes.py'
model = dict(
    decode_head=dict(in_channels=64, channels=16),
    auxiliary_head=dict(in_channels=32, channels=8),
    backbone=dict(base_channels=8, stem_channels=8))
"""


def run(*args: object, ok: bool = True) -> str:
    status, text = run_tool('model_zoo', *args)
    assert (status == 0) is ok, text
    return text


def test_list_filters():
    out = run('list', '--dataset', 'pascal context', '--method', 'pspnet')

    cells = '| pspnet_r101-d8_480x480_40k_pascal_context | 46.60 |   47.78 |    40000 | 480x480 |'
    assert cells in out
    assert '2 of 199 rows' in out


def test_table_writes_checks_and_notices_what_is_stale(tmp_path):
    page = tmp_path / 'zoo.md'
    assert 'stale' in run('table', '--out', page, '--check', ok=False)

    run('table', '--out', page)

    assert page.read_text() == (ROOT / 'model_zoo.md').read_text()
    assert 'up to date' in run('table', '--out', page, '--check')


def write_catalog(path: Path, **values: str) -> Path:
    row = {**dict.fromkeys((f.name for f in fields(Row)), '-'), **values}
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)
    return path


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> tuple[Path, Path]:
    """(config, checkpoint) of a tiny network, trained for two iterations by tools/train.py."""
    from mmengine.config import Config

    folder = tmp_path_factory.mktemp('trained')
    config = folder / 'tiny.py'
    config.write_text(CONFIG)
    cfg = Config.fromfile(config)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False, batch_size=2)
        loader.dataset.update(num_images=3)
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.dump(config)
    command = [sys.executable, ROOT / 'tools/train.py', config, '--work-dir', folder / 'work']
    subprocess.run([*map(str, command), '--no-validate'], check=True, capture_output=True)
    return config, folder / 'work' / 'iter_2.pth'


@pytest.fixture
def demo(trained, tmp_path, monkeypatch):
    """Values of a row for that network, its checkpoint on a server under a name with its hash."""
    monkeypatch.setenv('no_proxy', '*')
    config = shutil.copy(trained[0], tmp_path)
    data = trained[1].read_bytes()
    name = f'tiny-{hashlib.sha256(data).hexdigest()[:8]}.pth'
    with serving({f'/{name}': data}) as server:
        yield dict(config=str(config), checkpoint=name, url=f'{server.url}/{name}')


@pytest.mark.slow
def test_download_verify_record_and_table(demo, tmp_path):
    catalog = write_catalog(tmp_path / 'rows.csv', dataset='Shapes', method='PSPNet', **demo)
    records, folder = tmp_path / 'measured.csv', tmp_path / 'checkpoints'
    common = ['--catalog', catalog, '--records', records]

    out = run(*common, 'download', 'tiny', '--checkpoint-dir', folder)
    assert out.strip() == str(folder / demo['checkpoint'])
    known = write_catalog(tmp_path / 'known.csv', dataset='Cityscapes', method='PSPNet', **demo)
    out = run('--catalog', known, 'download', 'tiny', '--checkpoint-dir', folder)
    assert f'Trained on Cityscapes: {LICENCES["Cityscapes"]}.' in out

    refused = run(*common, 'verify', 'tiny', '--checkpoint-dir', folder, ok=False)
    assert f'name it: verify {demo["config"]}' in refused
    out = run(*common, 'verify', demo['config'], '--checkpoint-dir', folder)
    assert 'no published figure' in out
    (single,) = read_measurements(records)
    assert (single.protocol, single.images) == ('single scale', '3')
    assert f'torch {torch.__version__}' in single.environment
    assert 0 <= float(single.miou) <= 100
    assert single.commit

    # The figure just measured becomes the published one, with one for ms+flip that cannot be.
    figures = dict(miou=single.miou, miou_ms_flip='101.00')
    write_catalog(catalog, dataset='Shapes', method='PSPNet', **figures, **demo)
    command = ['verify', demo['config'], '--checkpoint-dir', folder, '--aug-test']
    out = run(*common, *command, '--tolerance', '0.05', ok=False)
    assert f'published {single.miou}, difference +0.00: agrees (tolerance 0.05)' in out
    flipped = read_measurements(records)[-1]
    assert (flipped.protocol, flipped.verdict) == ('ms+flip', 'differs')
    assert f'published 101.00, difference {float(flipped.miou) - 101:+.2f}: differs' in out

    page = tmp_path / 'zoo.md'
    run(*common, 'table', '--out', page)
    (line,) = [line for line in page.read_text().splitlines() if '[model]' in line]
    assert f'| {single.miou} | 101.00 | {single.miou} | {flipped.miou} |' in line


@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_ends_with_the_reason(demo, tmp_path):
    text = Path(demo['config']).read_text().replace(' channels=16', ' channels=24')
    Path(demo['config']).write_text(text)
    catalog = write_catalog(tmp_path / 'rows.csv', dataset='Shapes', **demo)

    out = run('--catalog', catalog, '--records', tmp_path / 'm.csv', 'verify', demo['config'],
              '--checkpoint-dir', tmp_path, ok=False)  # fmt: skip

    assert 'the test ended with status' in out
    assert 'decode_head' in out
    assert read_measurements(tmp_path / 'm.csv') == []
