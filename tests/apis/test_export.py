"""Exports of every network run elsewhere and agree; what cannot be exported says why."""

import copy
import json
import subprocess
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from helpers import found
from helpers.short_net import BINARY, HEADS, build
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from segkit.apis import inference_model
from segkit.apis.export import ExportedNetwork, ExportError, export_model, load_exported
from segkit.apis.export.agreement import agreements
from segkit.apis.export.main import _on_cpu
from segkit.apis.export.safetensors_file import model_of
from segkit.weights import CheckpointError

ROOT = Path(__file__).resolve().parents[2]
# Every head with open sizes: tests/apis/backends, by predicting.
CASES = [(n, False) for n in HEADS if n not in ('deeplabv3plus', 'segformer')]
CASES += [('pspnet', True)]


@pytest.mark.parametrize(('name', 'dynamic'), CASES)
def test_onnx_agrees_with_the_network(name, dynamic, tmp_path):
    model = build(name)
    file = tmp_path / 'net.onnx'
    exported = export_model(model, file, shape=(72, 88), dynamic=dynamic, open_batch=dynamic)
    assert max(item.difference for item in exported) <= 1e-4
    assert min(item.same_classes for item in exported) >= 0.999
    sizes = {item.size for item in exported}
    assert sizes == ({(72, 88), (80, 104), (88, 88), (73, 88)} if dynamic else {(72, 88)})
    graph = onnx.load(file).graph
    wanted = ['batch', '', 'height', 'width'] if dynamic else [''] * 4
    for value in (graph.input[0], graph.output[0]):
        assert [dim.dim_param for dim in value.type.tensor_type.shape.dim] == wanted
    domains = {node.domain for node in graph.node}
    assert domains <= {'', 'ai.onnx'}, 'standard operators alone'


def test_every_head_is_exported():
    assert {head['type'] for head in HEADS.values()} == set(found.heads())


class Branching(nn.Module):
    """A network of somebody's own, which a trace may get wrong."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def test_exporters_say_nothing_of_their_own_code_and_what_concerns_a_users_is_said(tmp_path):
    model = build('pspnet')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for format in ('onnx', 'torchscript'):
            export_model(model, tmp_path / format, format, (32, 40))
    model.backbone.own = Branching()
    model.backbone.register_forward_hook(lambda net, args, out: [*out[:-1], net.own(out[-1])])
    with pytest.warns(torch.jit.TracerWarning, match='might cause the trace to be incorrect'):
        export_model(model, tmp_path / 'own.pt', 'torchscript', (32, 40))


def test_a_batch_alone_is_open_and_the_operators_have_the_wanted_version(tmp_path):
    file = tmp_path / 'net.onnx'
    options = dict(open_batch=True, argmax=True, normalize=True, opset=18)
    found = export_model(build('pspnet'), file, shape=(32, 40), **options)
    assert len(found) == 4
    graph = onnx.load(file)
    assert [o.version for o in graph.opset_import if o.domain == ''] == [18]
    names = [
        dim.dim_param or dim.dim_value for dim in graph.graph.input[0].type.tensor_type.shape.dim
    ]
    assert names == ['batch', 3, 32, 40]
    run = load_exported(file, 'onnx')
    assert run(torch.zeros(5, 3, 32, 40)).shape == (5, 32, 40)


def test_a_resnet_goes_through_onnx(tmp_path):
    resnet = dict(
        type='ResNetV1c', depth=18, stem_channels=16, base_channels=8, strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
    )  # fmt: skip
    exported = export_model(build('pspnet', resnet, 64), tmp_path / 'net.onnx', shape=(64, 64))
    assert exported[0].difference <= 1e-4


@pytest.mark.parametrize('format', ['torchscript', 'torch_export', 'safetensors'])
@pytest.mark.parametrize('name', ['psanet', 'pspnet'])
def test_other_formats_agree(name, format, tmp_path):
    exported = export_model(build(name), tmp_path / 'net.out', format, (72, 88))
    assert max(item.difference for item in exported) <= 1e-5


def test_classes_out_and_grey_levels_in(tmp_path):
    model = build('fcn')
    path = tmp_path / 'net.pt2'
    export_model(model, path, 'torch_export', (64, 64), argmax=True, normalize=True)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    rgb = torch.from_numpy(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1))).float()
    got = load_exported(path, 'torch_export')(rgb[None])
    expected = inference_model(model, image).pred_sem_seg.data
    assert got.dtype == torch.int64
    assert (got == expected).float().mean() > 0.999


def test_classes_of_a_binary_head_are_cut_at_its_threshold(tmp_path):
    model = build('fcn', **BINARY)
    nn.init.normal_(model.decode_head.conv_seg.weight)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    expected = inference_model(model, image).pred_sem_seg.data
    assert expected.unique().tolist() == [0, 1]

    path = tmp_path / 'net.pt2'
    export_model(model, path, 'torch_export', (64, 64), argmax=True, normalize=True)

    rgb = torch.from_numpy(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1))).float()
    got = load_exported(path, 'torch_export')(rgb[None])
    assert got.dtype == torch.int64
    assert torch.equal(got, expected.long())


def test_logits_of_a_binary_head_are_compared_by_its_classes():
    net = ExportedNetwork(build('fcn', **BINARY)).eval()
    image = torch.randn(1, 3, 32, 32)
    [same] = agreements(net, net, [image])
    [other] = agreements(net, lambda image: torch.full_like(net(image), 9.0), [image])
    assert same.same_classes == 1
    assert other.same_classes < 1


@pytest.mark.parametrize('name', HEADS)
def test_a_file_may_be_as_far_from_float64_as_float32_is_and_no_further(name):
    net = ExportedNetwork(build(name)).eval()
    exact = copy.deepcopy(net).double()
    image = torch.randn(1, 3, 40, 48)

    def off_by(share):
        """The network in float64 with a share of the logits' largest added to one of them."""
        out = exact(image.double())
        out[0, 0, 0, 0] += share * out.abs().max()
        return out

    with torch.no_grad():
        own = float((net(image) - exact(image.double())).abs().max() / net(image).abs().max())
    assert 0 < own < 1e-5
    for times, good in ((1, True), (3, True), (5, False), (1000, False)):
        share = times * own
        [found] = agreements(net, lambda _: off_by(share), [image], tolerance=own / 9)  # noqa: B023
        assert found.difference > own / 9
        assert found.from_float64.network == pytest.approx(own, rel=0.2)
        assert found.from_float64.file == pytest.approx(share, rel=0.2)
        assert found.good(own / 9, 0.9) is good
        assert not found.good(own / 9, 1.1)
        assert f'the file is off by {found.from_float64.file:.1e}, the network by' in str(found)


class _Float32Alone(nn.Module):
    def forward(self, x):
        return x @ torch.eye(x.shape[-1])


def test_a_file_of_a_network_that_cannot_run_in_float64_is_held_to_the_tolerance():
    model = build('fcn')
    model.decode_head.conv_seg = nn.Sequential(model.decode_head.conv_seg, _Float32Alone())
    net = ExportedNetwork(model).eval()
    [found] = agreements(net, net, [torch.randn(1, 3, 32, 32)], tolerance=-1)
    assert found.from_float64 is None
    assert found.good(0, 1)
    assert not found.good(-1, 1)


def test_a_network_of_one_channel_is_exported(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((40, 40), 99, np.uint8))
    one = dict(type='ShortBackbone', in_channels=1)
    for_all = dict(type='SegDataPreProcessor', mean=None, std=None)
    model = build('fcn', one, preprocessor=for_all, loader=dict(color_type='grayscale'))

    path = tmp_path / 'net.pt2'
    exported = export_model(model, path, 'torch_export', (32, 32), images=[tmp_path / 'a.png'])

    assert len(exported) == 3


class _Elsewhere(nn.Conv2d):
    """On a device without data, which stands in for a GPU."""

    def cpu(self):
        return self.to_empty(device='cpu')


def test_a_network_on_another_device_is_exported_from_a_copy_on_the_cpu():
    net = _Elsewhere(1, 1, 1, device='meta')
    copied = _on_cpu(net)
    assert (copied.weight.device.type, net.weight.device.type) == ('cpu', 'meta')
    assert _on_cpu(copied) is copied


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.parametrize('format', ['onnx', 'torchscript', 'torch_export', 'safetensors'])
def test_a_network_on_a_gpu_is_exported(format, tmp_path):
    model = build('pspnet').cuda()
    exported = export_model(model, tmp_path / 'net', format, (64, 64))
    assert max(item.difference for item in exported) <= 1e-4
    assert next(model.parameters()).is_cuda


def test_classes_and_palette_travel_in_onnx(tmp_path):
    model = build('fcn')
    model.dataset_meta = dict(classes=['a', 'b'], palette=[[0, 0, 0], [1, 2, 3]])
    export_model(model, tmp_path / 'net.onnx', shape=(32, 32))
    props = {p.key: p.value for p in onnx.load(tmp_path / 'net.onnx').metadata_props}
    assert json.loads(props['classes']) == ['a', 'b']
    assert json.loads(props['palette'])[1] == [1, 2, 3]


def test_a_safetensors_file_is_a_model_by_itself(tmp_path):
    model = build('isanet')
    model.dataset_meta = dict(classes=list('abcde'), palette=[[i, i, i] for i in range(5)])
    export_model(model, tmp_path / 'net.safetensors', 'safetensors', (32, 32))
    again, cfg = model_of(tmp_path / 'net.safetensors')
    assert cfg.model.decode_head.type == 'ISAHead'
    assert again.dataset_meta == model.dataset_meta
    image = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    first, second = (inference_model(m, image).pred_sem_seg.data for m in (model, again))
    assert torch.equal(first, second)


@pytest.mark.parametrize('pipeline', [None, [], {}])
def test_a_safetensors_file_without_a_test_pipeline_is_refused_at_loading(pipeline, tmp_path):
    file = tmp_path / 'net.safetensors'
    export_model(build('isanet'), file, 'safetensors', (32, 32))
    with safe_open(file, 'pt') as opened:
        written = opened.metadata()
    assert json.loads(written['segkit_test_pipeline'])
    entries = {'segkit_model': written['segkit_model']}
    if pipeline is not None:
        entries['segkit_test_pipeline'] = json.dumps(pipeline)
    save_file(load_file(file), file, entries)
    with pytest.raises(CheckpointError, match='net.safetensors: has no test pipeline .*; give a'):
        model_of(file)


class _Branching(nn.Module):
    def forward(self, x):
        return (x * 2,) if x.sum() > 0 else (x,)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(format='torchscript', dynamic=True), 'choose onnx or torch_export'),
        (dict(format='torchscript', open_batch=True), 'choose onnx or torch_export'),
        (dict(format='safetensors', argmax=True), 'no graph'),
        (dict(format='torch_export', opset=18), 'opset=18: is of format onnx'),
        (dict(format='onnx', opset=9), 'opset=9: .* 18 or above'),
        (dict(format='coreml'), "'coreml' is none of onnx"),
        (dict(format='torch_export', agreement=1.1), 'not written, the exported network differs'),
    ],
)
def test_what_is_refused_leaves_nothing_behind(options, message, tmp_path):
    with pytest.raises(ExportError, match=message):
        export_model(build('fcn'), tmp_path / 'net', shape=(32, 32), **options)
    assert list(tmp_path.iterdir()) == []


def test_a_network_without_its_batch_norms_is_no_safetensors_file(tmp_path):
    with pytest.raises(ExportError, match=r'fuse_bn=True folded those away; export a model that'):
        export_model(build('fcn', fuse_bn=True), tmp_path / 'net', 'safetensors', (32, 32))
    assert list(tmp_path.iterdir()) == []
    export_model(build('fcn', fuse_bn=True), tmp_path / 'net', 'torch_export', (32, 32))


def test_a_network_that_branches_on_values_is_explained(tmp_path):
    model = build('fcn')
    model.neck = _Branching()
    with pytest.raises(ExportError, match='branch on values'):
        export_model(model, tmp_path / 'net', 'torch_export', (32, 32))


def test_the_tool_exports_random_weights_and_compares_on_a_picture(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((40, 40, 3), 99, np.uint8))
    command = [sys.executable, ROOT / 'tools/export.py', 'pspnet_r18-d8_shapes', 'none']
    command += ['--shape', '64', '64', '--out', tmp_path / 'net.pt2', '--format', 'torch_export']
    done = subprocess.run(
        [*command, '--images', tmp_path / 'a.png'], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'net.pt2').exists()
    assert done.stdout.count('64x64: largest relative difference') == 3
