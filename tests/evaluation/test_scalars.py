"""Per-class scores reach whatever the run logs to."""

import json
from uuid import uuid4

import numpy as np
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


def test_without_a_visualizer_nothing_happens(monkeypatch):
    monkeypatch.setattr(Visualizer, '_instance_dict', {})
    publish_class_scores(SCORES)
    assert not Visualizer._instance_dict
