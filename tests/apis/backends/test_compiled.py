"""The compiled network is the network; that a size is being compiled is said once."""

import numpy as np
import torch
from helpers.short_net import build, short_config

from segkit.apis import inference_model, init_model


def test_a_wait_for_the_compiler_is_said_once_a_size(tmp_path, monkeypatch, capsys):
    asked = []

    def compile_nothing(net, **options):
        asked.append(options)
        return net

    monkeypatch.setattr(torch, 'compile', compile_nothing)
    weights = tmp_path / 'weights.pth'
    torch.save(dict(state_dict=build('fcn').state_dict()), weights)
    model = init_model(short_config('fcn'), weights, backend='compile')
    plain = init_model(short_config('fcn'), weights)
    for shape in ((64, 80, 3), (64, 80, 3), (80, 64, 3)):
        image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        got, want = (inference_model(m, image).pred_sem_seg.data for m in (model, plain))
        assert torch.equal(got, want)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith('compile:')]
    assert len(said) == len(set(said)) == 2
    assert asked == [dict(dynamic=False, options={'freezing': True})]
