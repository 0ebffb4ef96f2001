"""On files in Cityscapes' layout, the same numbers as the data set's own evaluator."""

import numpy as np
import pytest
import torch
from helpers.eval_samples import sample_of
from PIL import Image

from segkit.datasets import CityscapesDataset
from segkit.evaluation import IoUMetric

official = pytest.importorskip('cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling')
official_labels = pytest.importorskip('cityscapesscripts.helpers.labels')
labels, name2label = official_labels.labels, official_labels.name2label

META = CityscapesDataset.METAINFO


def write_pair(folder, index: int):
    """A label file of label ids and a prediction in train ids, three quarters of it right."""
    rng = np.random.default_rng(index)
    name = f'town_{index:06}_000019'
    ids = rng.choice([label.id for label in labels if label.id >= 0], (48, 96)).astype(np.uint8)
    Image.fromarray(ids).save(folder / f'{name}_gtFine_labelIds.png')
    table = np.full(256, 255, np.uint8)
    for label in labels:
        if 0 <= label.trainId < 19:
            table[label.id] = label.trainId
    train_ids = table[ids]
    guess = rng.integers(0, 18, ids.shape, dtype=np.uint8)  # never the last class
    right = (rng.random(ids.shape) < 0.75) & (train_ids < 18)
    pred = np.where(right, train_ids, guess)
    return sample_of(train_ids, pred, f'{folder}/{name}_leftImg8bit.png')


def test_per_class_iou_equals_the_official_evaluator(tmp_path):
    truth = tmp_path / 'gtFine'
    truth.mkdir()
    metric = IoUMetric(output_dir=str(tmp_path / 'results'))
    metric.dataset_meta = META
    metric.process({}, [write_pair(truth, i) for i in range(3)])
    results = metric.evaluate(3)
    theirs = official_scores(sorted(truth.glob('*.png')), tmp_path / 'results')
    ours = dict(zip(META['classes'], metric.scores.iou))
    assert len(ours) == 19
    assert {name: theirs['classScores'][name] for name in ours} == ours
    assert results['mIoU'] == pytest.approx(100 * theirs['averageScoreClasses'], rel=1e-15)


def official_scores(truths, folder) -> dict:
    args = official.args
    args.predictionPath, args.predictionWalk = str(folder), None
    args.evalInstLevelScore, args.JSONOutput, args.quiet = False, False, True
    predictions = [official.getPrediction(args, str(path)) for path in truths]
    return official.evaluateImgLists(predictions, list(map(str, truths)), args)


def test_written_ids_are_the_official_label_ids(tmp_path):
    metric = IoUMetric(output_dir=str(tmp_path), format_only=True)
    metric.dataset_meta = META
    pred = torch.arange(19, dtype=torch.uint8)[None]
    metric.process({}, [sample_of(None, pred, 'a/town_000000_000019_leftImg8bit.png')])
    written = np.array(Image.open(tmp_path / 'town_000000_000019_leftImg8bit.png'))
    assert written[0].tolist() == [name2label[name].id for name in META['classes']]
