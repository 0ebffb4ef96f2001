import json

import pytest
from helpers.run_tool import run_tool
from helpers.tiny_config import write_tiny_config


@pytest.mark.parametrize('mode', [[], ['--train', '--batch-size', 2]])
def test_speed_and_memory(tmp_path, mode):
    out = tmp_path / 'new' / 'r.json'
    size = ['--shape', 64, 96, '--repeats', 2, '--warmup', 1]
    status, text = run_tool('benchmark', write_tiny_config(tmp_path), *size, *mode, '--out', out)
    assert status == 0, text
    result = json.loads(out.read_text())
    assert result['images_per_second'] > 0
    assert result['peak_memory_mb'] > 0
    assert result['input'] == f'{2 if mode else 1} x 3 x 64 x 96'
    assert 'images_per_second:' in text


def test_arguments_are_checked_before_anything_is_built():
    status, text = run_tool('benchmark', 'x.py', '--repeats', 0)
    assert status == 2
    assert 'must be positive' in text
