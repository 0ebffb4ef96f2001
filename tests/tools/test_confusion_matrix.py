import csv
import pickle

import numpy as np
from helpers.run_tool import run_tool
from helpers.tiny_config import tiny_config, write_tiny_config

from segkit.registry import DATASETS


def labels(tmp_path) -> list[np.ndarray]:
    dataset = DATASETS.build(tiny_config(tmp_path).test_dataloader.dataset)
    return [dataset[i]['data_samples'].gt_sem_seg.data[0].numpy() for i in range(len(dataset))]


def test_counts_of_nearly_right_predictions(tmp_path):
    truth = labels(tmp_path)
    maps = [np.where(x == 255, 0, x) for x in truth]
    sky = int(sum((x == 0).sum() for x in truth))
    maps = [np.where(x == 0, 1, m).astype(np.uint8) for x, m in zip(truth, maps)]
    (tmp_path / 'p.pkl').write_bytes(pickle.dumps(maps))
    config = write_tiny_config(tmp_path)
    out = tmp_path / 'out'
    status, text = run_tool('confusion_matrix', config, tmp_path / 'p.pkl', '--out-dir', out)
    assert status == 0, text
    rows = list(csv.reader((out / 'confusion.csv').open()))
    counts = np.array([row[1:] for row in rows[1:]], int)
    assert counts[0, 1] == sky
    assert counts.sum() == sum((x != 255).sum() for x in truth)
    assert (out / 'confusion.png').stat().st_size > 5_000
    assert f'{rows[1][0]}' in text
    assert '100.00' in text


def test_what_the_metric_of_the_config_ignores_is_not_counted(tmp_path):
    truth = labels(tmp_path)
    (tmp_path / 'p.pkl').write_bytes(pickle.dumps([np.zeros_like(x) for x in truth]))
    config = write_tiny_config(tmp_path)
    config.write_text(f"{config.read_text()}\ntest_evaluator['ignore_index'] = 3\n")
    dataset = 'test_dataloader.dataset.label_map.255=3'
    arguments = config, tmp_path / 'p.pkl', '--out-dir', tmp_path / 'out', '--cfg-options', dataset
    status, text = run_tool('confusion_matrix', *arguments)
    assert status == 0, text
    rows = list(csv.reader((tmp_path / 'out/confusion.csv').open()))
    counts = np.array([row[1:] for row in rows[1:]], int)
    assert counts.sum() == sum(((x != 255) & (x != 3)).sum() for x in truth)
    assert counts[3].sum() == 0
