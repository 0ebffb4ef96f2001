"""The scripts of docs/camvid.md: weights under timm's names, a run, and scores by another hand."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.timm_alone import require_timm
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / 'tools' / 'benchmarks'
CLASSES, VOID = 11, 11


def run(script: str, *args: object) -> str:
    command = [sys.executable, str(HERE / script), *map(str, args)]
    environment = dict(os.environ, OMP_NUM_THREADS='1')
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def blocks(rng: np.random.Generator, values: int) -> np.ndarray:
    return np.kron(rng.integers(0, values, (12, 16)), np.ones((30, 30))).astype(np.uint8)


def test_scores_are_those_of_scikit_learn(tmp_path):
    metrics = pytest.importorskip('sklearn.metrics')
    rng = np.random.default_rng(0)
    truth, found = [], []
    for i in range(3):
        label = rng.integers(0, CLASSES + 1, (9, 14)).astype(np.uint8)
        ids = np.where(rng.random(label.shape) < 0.5, label % CLASSES, 3).astype(np.uint8)
        write(tmp_path / f'data/testannot/{i}.png', label)
        write(tmp_path / f'run/test/{i}.png', ids)
        truth += label[label != VOID].tolist()
        found += ids[label != VOID].tolist()
    (tmp_path / 'run/steps.csv').write_text('step,cpu_seconds\n1,0.5\n2,0.7\n3,9\n')
    run(
        'camvid_score.py', '--data', tmp_path / 'data', '--split', 'test',
        '--csv', tmp_path / 'scores.csv', tmp_path / 'run',
    )  # fmt: skip

    (row,) = csv.DictReader((tmp_path / 'scores.csv').open())

    each = metrics.jaccard_score(truth, found, average=None)
    assert [float(row[f'IoU {i}']) for i in range(CLASSES)] == pytest.approx(100 * each, abs=0.006)
    assert float(row['mIoU']) == pytest.approx(100 * each.mean(), abs=0.006)
    right = 100 * metrics.accuracy_score(truth, found)
    assert float(row['aAcc']) == pytest.approx(right, abs=0.006)
    assert (row['pictures'], row['steps'], row['CPU s a step']) == ('3', '3', '0.700')


def test_a_run_from_renamed_weights_writes_its_classes(tmp_path):
    timm, rng = require_timm(), np.random.default_rng(0)
    full = timm.create_model('tf_efficientnet_lite0').state_dict()
    torch.save({f'_other.{i}': full[key] for i, key in enumerate(full)}, tmp_path / 'theirs.pth')
    run('camvid.py', 'weights', tmp_path / 'theirs.pth', tmp_path / 'ours.pth')
    ours = torch.load(tmp_path / 'ours.pth', weights_only=True)
    assert ours.keys() == full.keys()
    assert all(torch.equal(ours[key], full[key]) for key in full)

    for split, count in (('train', 2), ('val', 1)):
        for i in range(count):
            picture = rng.integers(0, 256, (360, 480, 3)).astype(np.uint8)
            write(tmp_path / f'data/images/{split}/{i}.jpg', picture)
            write(tmp_path / f'data/labels/{split}/{i}.png', blocks(rng, CLASSES + 1))
    said = run(
        'camvid.py', 'segkit', '--data', tmp_path / 'data', '--weights', tmp_path / 'ours.pth',
        '--out', tmp_path / 'run', '--iters', 4, '--rate', 2e-4, '--head-times', 5,
    )  # fmt: skip
    rows = list(csv.DictReader((tmp_path / 'run/steps.csv').open()))
    assert [float(row['rate']) for row in rows] == pytest.approx([2e-6, 2e-4, 2e-4, 0], rel=1e-3)
    scored = run('camvid_score.py', '--data', tmp_path / 'data', tmp_path / 'run')
    mean = float(scored.split('mIoU ')[1].split(',')[0])
    assert float(re.findall(r'mIoU: ([\d.]+)', said)[-1]) == pytest.approx(mean, abs=0.006)


def test_the_page_tells_what_was_measured():
    page = (ROOT / 'docs/camvid.md').read_text()
    rows = list(csv.DictReader((HERE / 'results/camvid.csv').open()))
    assert len(rows) == 6
    assert {(row['split'], row['pictures'], row['steps']) for row in rows} == {
        ('test', '233', '500')
    }
    means, spreads = [], []
    for toolbox in ('segkit', 'smp'):
        mine = [row for row in rows if row['run'].startswith(toolbox)]
        values = [float(row['mIoU']) for row in mine]
        means.append(np.mean(values))
        spreads.append(np.std(values, ddof=1))
        shown = [*values, means[-1], spreads[-1], np.mean([float(row['aAcc']) for row in mine])]
        assert f'| {toolbox} | ' + ' | '.join(f'{value:.2f}' for value in shown) in page
        for row in mine:
            each = [float(row[f'IoU {i}']) for i in range(CLASSES)]
            assert float(row['mIoU']) == pytest.approx(np.mean(each), abs=0.01)
    difference, pooled = means[0] - means[1], np.hypot(*spreads) / 2**0.5
    assert f'The difference is {difference:+.2f}' in page
    assert f'the pooled standard deviation {pooled:.2f}' in page
    assert ('segkit is not worse' in page) == (difference > -pooled)
