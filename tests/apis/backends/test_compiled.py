"""The compiled network is the network; that a size is being compiled is said once."""

import numpy as np
import pytest
import torch
from helpers.short_net import build, short_config

from segkit.apis import inference_model, init_model
from segkit.apis.backends import BackendError


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


def test_without_a_compiler_there_is_a_sentence(monkeypatch):
    monkeypatch.setattr(torch._inductor.config.cpp, 'cxx', ('no-such-compiler',))
    monkeypatch.setattr(torch._inductor.config, 'force_disable_caches', True)
    torch._dynamo.reset()
    model = init_model(short_config('fcn'), backend='compile')
    with pytest.raises(BackendError, match=r"compiler stopped \(.*C\+\+.*backend='torch'"):
        inference_model(model, np.zeros((64, 64, 3), np.uint8))


def test_an_error_of_a_network_stays_what_it_is(monkeypatch):
    def compile_nothing(net, **options):
        def call(image):
            raise torch.OutOfMemoryError('no room')

        return call

    monkeypatch.setattr(torch, 'compile', compile_nothing)
    model = init_model(short_config('fcn'), backend='compile')
    with pytest.raises(torch.OutOfMemoryError, match='no room'):
        inference_model(model, np.zeros((64, 64, 3), np.uint8))
