"""Scores as files that any reader of JSON and CSV takes."""

import csv
import json

import numpy as np
import pytest

from segkit.evaluation.scores import Scores
from segkit.evaluation.tables import write_csv, write_json

# Class 'c' is in no label and no prediction: it has no score.
SCORES = Scores(np.array([[3, 1, 0], [1, 1, 0], [0, 0, 0]]), ('a', 'b', 'c'))


def test_an_absent_class_is_null_in_json_and_empty_in_csv(tmp_path):
    write_json(tmp_path / 's.json', SCORES)
    write_csv(tmp_path / 's.csv', SCORES)

    def refuse(name):
        pytest.fail(f'{name} is not JSON')

    data = json.loads((tmp_path / 's.json').read_text(), parse_constant=refuse)
    with (tmp_path / 's.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [entry['IoU'] for entry in data['classes']] == pytest.approx([60, 100 / 3, None])
    assert [row['IoU'] for row in rows[:3]][2] == ''
    assert float(rows[-1]['IoU']) == data['metrics']['mIoU'] == pytest.approx((60 + 100 / 3) / 2)
