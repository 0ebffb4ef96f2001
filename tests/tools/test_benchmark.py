import json
import runpy
import sys
from types import SimpleNamespace

import pytest
import torch
from helpers.run_tool import TOOLS, run_tool
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


def test_the_gpu_of_the_network_is_the_one_measured(monkeypatch):
    """No GPU is needed: the network is on one in name alone."""
    weight = SimpleNamespace(device=torch.device('cuda:1'))
    model, calls = SimpleNamespace(parameters=lambda: iter([weight])), []
    monkeypatch.setattr('segkit.apis.init_model', lambda *_, **__: model, raising=False)
    monkeypatch.setattr(torch.cuda, 'set_device', calls.append)
    monkeypatch.setattr(sys, 'argv', ['benchmark.py', 'x.py', '--device', 'cuda:1'])
    main = runpy.run_path(str(TOOLS / 'benchmark.py'))['main']
    monkeypatch.setitem(main.__globals__, 'testing_step', lambda *_: None)
    monkeypatch.setitem(main.__globals__, 'measure', lambda *_: calls.append('measured') or {})

    main()

    assert calls == [torch.device('cuda:1'), 'measured']


def test_arguments_are_checked_before_anything_is_built():
    status, text = run_tool('benchmark', 'x.py', '--repeats', 0)
    assert status == 2
    assert 'must be positive' in text
