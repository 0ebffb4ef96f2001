"""Per-class scores reach whatever the run logs to."""

import json
from uuid import uuid4

import numpy as np
from helpers.runs import train
from mmengine.visualization import Visualizer

from segkit.evaluation.scalars import publish_class_scores
from segkit.evaluation.scores import Scores

SCORES = Scores(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]), ('sky', 'car', 'none'))


def test_classes_are_logged_and_absent_ones_are_not(tmp_path):
    name = f'scalars-{uuid4()}'
    backend = {'type': 'LocalVisBackend'}
    Visualizer.get_instance(name, vis_backends=[backend], save_dir=str(tmp_path))
    try:
        publish_class_scores(SCORES)
    finally:
        Visualizer._instance_dict.pop(name)
    line = json.loads((tmp_path / 'vis_data/scalars.json').read_text())
    assert line['class_IoU/sky'] == 75
    assert line['class_Acc/car'] == 100
    assert line['class_IoU/car'] == 80
    assert not any('none' in key for key in line)


def test_classes_have_the_step_of_the_mean(tmp_path):
    backends = [{'type': 'LocalVisBackend'}]
    visualizer = {'type': 'SegLocalVisualizer', 'vis_backends': backends}
    train(tmp_path, train_cfg__max_iters=4, train_cfg__val_interval=2, visualizer=visualizer)
    (file,) = tmp_path.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for name in ('class_IoU/sky', 'mIoU'):
        assert [line['step'] for line in lines if name in line] == [2, 4]


def test_without_a_visualizer_nothing_happens(monkeypatch):
    monkeypatch.setattr(Visualizer, '_instance_dict', {})
    publish_class_scores(SCORES)
    assert not Visualizer._instance_dict
