"""tools/cache_dataset.py as a user types it."""

import json
import subprocess
import sys
from pathlib import Path

import torch
from helpers.make_data import PREFIX, write_dataset
from mmengine.config import Config
from plain_pipeline import pipeline_config

from segkit.datasets import SeededIndex
from segkit.registry import DATASETS

ROOT = Path(__file__).parents[2]


def run(*arguments):
    command = [sys.executable, str(ROOT / 'tools/cache_dataset.py'), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_cache_is_written_from_a_config_and_gives_the_same_samples(tmp_path):
    dataset = dict(
        type='BaseSegDataset',
        data_root=write_dataset(tmp_path / 'data', [(40, 60)] * 3),
        data_prefix=PREFIX,
        img_suffix='.png',
        pipeline=pipeline_config((60, 40), (32, 32)),
    )
    both = dict(type='ConcatDataset', datasets=[dataset, dataset])
    config = tmp_path / 'config.py'
    Config(dict(train_dataloader=dict(dataset=both))).dump(config)
    cache = tmp_path / 'cache'

    refused = run(config, cache, '--workers', 0)
    assert refused.returncode != 0
    assert '--part 0, 1, ...' in refused.stderr
    assert not cache.exists()

    done = run(config, cache, '--part', 1, '--format', 'rows', '--codec', 'zlib')
    assert done.returncode == 0, done.stderr
    assert '3 samples' in done.stdout
    assert json.loads((cache / 'cache.json').read_text())['codec'] == 'zlib'
    cached, plain = DATASETS.build({**dataset, 'cache': str(cache)}), DATASETS.build(dataset)
    for index in (SeededIndex(0, 5), SeededIndex(2, 6)):
        assert torch.equal(cached[index]['inputs'], plain[index]['inputs'])

    Path(dataset['data_root'], 'img/001.png').write_bytes(b'damaged')
    failed = run(config, cache, '--part', 0)
    assert failed.returncode != 0
    assert 'img/001.png: the image cannot be read' in failed.stderr
    assert 'Traceback' not in failed.stderr
    assert json.loads((cache / 'cache.json').read_text())['samples'] == 3
