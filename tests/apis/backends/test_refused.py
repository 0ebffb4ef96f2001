"""What an engine cannot hold, or that is not there, says so by name and with what helps."""

import importlib
import warnings

import numpy as np
import openvino
import pytest
import torch
from helpers.short_net import build, short_config
from torch import nn

from segkit.apis import inference_model, init_model
from segkit.apis.backends import BackendError, Settings, exported, with_backend
from segkit.apis.backends.settings import PACKAGES
from segkit.models.segmentors import EncoderDecoder

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)


@pytest.fixture
def weights(tmp_path):
    torch.save(dict(state_dict=build('fcn').state_dict()), tmp_path / 'weights.pth')
    return tmp_path / 'weights.pth'


def _classes(model):
    return inference_model(model, IMAGE).pred_sem_seg.data


def _without(monkeypatch, module, error):
    """``module`` as if importing it raised ``error``."""
    real = importlib.import_module

    def load(name, *args):
        if name == module:
            raise error
        return real(name, *args)

    monkeypatch.setattr(importlib, 'import_module', load)
    monkeypatch.setattr(exported, 'export_model', lambda model, file, *_, **__: file.touch())
    monkeypatch.setattr(exported, 'key_of', lambda model, sizes: 'key')


NEEDED = [(backend, name) for backend, names in PACKAGES.items() for name in names]


@pytest.mark.parametrize(('backend', 'missing'), NEEDED)
def test_what_is_not_installed_is_named_with_its_cure(backend, missing, weights, monkeypatch):
    _without(
        monkeypatch, missing, ModuleNotFoundError(f'No module named {missing!r}', name=missing)
    )
    with pytest.raises(BackendError, match=f'needs {missing}, .*not installed') as raised:
        init_model(short_config('fcn'), weights, backend=backend)
    assert {missing, backend} <= set(str(raised.value).partition(': pip install ')[2].split())


def test_what_runs_an_export_is_needed_for_one():
    """The file is run by onnxruntime before it gets its name, whoever reads it afterwards."""
    assert len(NEEDED) == 7
    assert all({'onnx', 'onnxscript', 'onnxruntime'} <= {*names} for names in PACKAGES.values())


@pytest.mark.parametrize(
    'error',
    [
        ImportError('libgomp.so.1: cannot open shared object file'),
        ModuleNotFoundError("No module named 'flatbuffers'", name='flatbuffers'),
        AttributeError("module 'numpy' has no attribute 'bool'"),
    ],
)
def test_what_is_installed_and_broken_shows_its_own_error(error, weights, monkeypatch):
    _without(monkeypatch, 'onnxruntime', error)
    with pytest.raises(BackendError, match='installed and cannot be imported') as raised:
        init_model(short_config('fcn'), weights, backend='onnxruntime')
    assert str(error) in str(raised.value)
    assert 'pip install --force-reinstall --no-deps onnxruntime' in str(raised.value)


def test_an_engine_too_old_for_a_file_is_named_with_its_version(weights, monkeypatch):
    monkeypatch.delattr('openvino.Core')
    with pytest.raises(BackendError, match=r'openvino \d.*pip install --upgrade openvino'):
        init_model(short_config('fcn'), weights, backend='openvino')


class Reaching(EncoderDecoder):
    """A step around the network that looks into it."""

    def whole_inference(self, inputs, batch_img_metas, rescale=False):
        return self.decode_head(self.backbone(inputs))


class Counting(EncoderDecoder):
    """A step around the network that leaves it alone."""

    def whole_inference(self, inputs, batch_img_metas, rescale=False):
        return -super().whole_inference(inputs, batch_img_metas)


def test_a_step_that_uses_layers_stays_with_pytorch(weights):
    model = build('fcn')
    model.__class__ = Reaching
    with pytest.raises(BackendError, match='Reaching.whole_inference is .* and uses backbone'):
        with_backend(model, Settings('openvino'), None)
    model = build('fcn')
    model.slide_inference = lambda inputs, metas: model.extract_feat(inputs)
    with pytest.raises(BackendError, match=r'slide_inference is .* and uses extract_feat'):
        with_backend(model, Settings('compile'), None)
    model = init_model(short_config('fcn'), weights)
    model.__class__ = Counting
    expected = _classes(model)
    assert torch.equal(_classes(with_backend(model, Settings('onnxruntime'), weights)), expected)


@pytest.mark.parametrize('backend', ['compile', 'onnxruntime', 'openvino'])
def test_a_hook_on_a_layer_is_never_left_out(backend):
    for place in ('backbone', 'backbone.stages.1', 'decode_head', 'decode_head.conv_seg'):
        for kind in ('register_forward_hook', 'register_forward_pre_hook'):
            model = build('fcn')
            getattr(model.get_submodule(place), kind)(lambda *args: None)
            with pytest.raises(BackendError, match=f'{place} is watched by a forward hook'):
                with_backend(model, Settings(backend), None)


def test_hooks_of_torch_itself_are_what_a_layer_computes(weights):
    model = init_model(short_config('fcn'), weights)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)  # of this way to normalise weights
        nn.utils.weight_norm(model.decode_head.conv_seg)
    with torch.no_grad():
        model.decode_head.conv_seg.weight_g.mul_(2)
    expected = _classes(model)
    assert torch.equal(_classes(with_backend(model, Settings('onnxruntime'), weights)), expected)


def test_hooks_in_the_graph_are_not_run_again_on_its_logits():
    model = build('fcn')
    model.decode_head.gain = nn.Parameter(torch.ones(2, 2))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)
        nn.utils.weight_norm(model.decode_head, 'gain')
    assert model.decode_head._forward_pre_hooks
    with_backend(model, Settings('compile'), None)
    logits = torch.zeros(1, 5, 8, 8)
    assert model.decode_head(logits) is logits


def test_another_engine_does_not_silently_stay_out(weights):
    model = init_model(short_config('fcn'), weights, backend='onnxruntime')
    with pytest.raises(BackendError, match='run by onnxruntime, fp32 already'):
        with_backend(model, Settings('openvino'), weights)


def test_bf16_leaves_the_layout_of_maps_as_it_was_asked_for(weights):
    model = init_model(short_config('fcn'), weights, channels_last=True, precision='bf16')
    assert model.channels_last
    assert model.autocast_dtype == torch.bfloat16


@pytest.mark.parametrize('backend', ['torch', 'openvino'])
def test_bf16_that_a_processor_only_imitates_is_told(backend, weights, monkeypatch):
    for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported'):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    monkeypatch.setattr('platform.machine', lambda: 'x86_64')
    real = openvino.Core.get_property

    def without(core, *names):
        return ['FP32'] if 'OPTIMIZATION_CAPABILITIES' in names else real(core, *names)

    monkeypatch.setattr(openvino.Core, 'get_property', without)
    with pytest.warns(UserWarning, match='does not compute in bfloat16'):
        init_model(short_config('fcn'), weights, backend=backend, precision='bf16')
