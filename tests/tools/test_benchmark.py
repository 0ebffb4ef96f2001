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


def test_the_result_says_with_which_settings_it_was_measured(tmp_path):
    config, out = write_tiny_config(tmp_path), tmp_path / 'r.json'
    size = ['--shape', 64, 64, '--repeats', 1, '--warmup', 0]
    options = ['--cfg-options', 'model.test_cfg.mode=whole']
    run_tool('benchmark', config, *size, '--fuse-bn', '--channels-last', *options, '--out', out)
    result = json.loads(out.read_text())
    switches = ('fuse_bn', 'channels_last', 'bf16')
    assert [result[name] for name in switches] == [True, True, False]
    assert result['cfg_options'] == {'model.test_cfg.mode': 'whole'}


def test_training_in_bf16_computes_in_bf16(tmp_path, monkeypatch):
    seen, conv2d = set(), torch.nn.functional.conv2d

    def spy(*args, **kwargs):
        result = conv2d(*args, **kwargs)
        seen.add(result.dtype)
        return result

    monkeypatch.setattr(torch.nn.functional, 'conv2d', spy)
    size = ['--shape', 64, 64, '--batch-size', 2, '--repeats', 1, '--warmup', 0]
    status, text = run_tool('benchmark', write_tiny_config(tmp_path), *size, '--train', '--bf16')
    assert status == 0, text
    assert torch.bfloat16 in seen


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
