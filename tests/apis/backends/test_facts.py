"""Files that others exported, or that are of another network, are refused by what is in them."""

import warnings

import numpy as np
import onnx
import pytest
from helpers.short_net import build, short_config
from onnx import TensorProto, helper

from segkit.apis import inference_model, init_model
from segkit.apis.backends import BackendError
from segkit.apis.export import export_model

IMAGE = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)


def write(
    file, op='Relu', inputs=('x',), kind=TensorProto.FLOAT, out=(1, 5, 'h', 'w'), out_kind=None
):
    """A graph of one 1x1 convolution to five channels, and ``op`` after it."""
    weights = helper.make_tensor('w', kind, (5, 3, 1, 1), np.linspace(-1, 1, 15).tolist())
    nodes = [helper.make_node('Conv', [inputs[0], 'w'], ['c']), helper.make_node(op, ['c'], ['y'])]
    given = [helper.make_tensor_value_info(name, kind, [1, 3, 'h', 'w']) for name in inputs]
    made = helper.make_tensor_value_info('y', out_kind or kind, out)
    graph = helper.make_graph(nodes, 'g', given, [made], [weights])
    opset = [helper.make_opsetid('', 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), file)


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(op='Softmax'), 'ends with Softmax.*export the network without its last Softmax'),
        (dict(op='Sigmoid'), 'ends with Sigmoid'),
        (dict(inputs=('x', 'mask')), 'its inputs are x, mask, and it has to take one'),
        (dict(kind=TensorProto.DOUBLE), 'its inputs are x, and .* of float32 or float16'),
        (dict(out=(1, 5)), r'its output y is of shape \[1, 5\], and predicting needs logits'),
        (dict(out_kind=TensorProto.INT64), 'predicting needs logits'),
        (dict(out=(1, 7, 'h', 'w')), 'gives 7 channels of logits, and the decode_head .* 5'),
    ],
)
def test_what_does_not_give_logits_of_these_classes_says_so(options, message, backend, tmp_path):
    write(tmp_path / 'net.onnx', **options)
    with pytest.raises(BackendError, match=message):
        init_model(short_config('fcn'), tmp_path / 'net.onnx', backend=backend)


def test_channels_that_a_file_leaves_open_are_counted(tmp_path):
    write(tmp_path / 'net.onnx', out=(1, 'k', 'h', 'w'))
    model = init_model(short_config('fcn', num_classes=7), tmp_path / 'net.onnx')
    with pytest.raises(BackendError, match=r'gave logits of 1x5x16x24, .* \(N, 7, h, w\)'):
        inference_model(model, IMAGE)


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_half_precision_of_others_is_taken(backend, tmp_path):
    classes = []
    for name, kind in (('single', TensorProto.FLOAT), ('half', TensorProto.FLOAT16)):
        write(tmp_path / f'{name}.onnx', kind=kind)
        model = init_model(short_config('fcn'), tmp_path / f'{name}.onnx', backend=backend)
        classes.append(inference_model(model, IMAGE).pred_sem_seg.data)
    assert (classes[0] == classes[1]).float().mean() > 0.98
    assert len(classes[0].unique()) > 1


def test_a_file_of_a_network_that_is_fed_otherwise_is_told(tmp_path):
    export_model(build('fcn'), tmp_path / 'net.onnx', shape=(16, 24), grid=True)
    for changed, named in (
        ({}, ''),
        ({'data_preprocessor.std': [1.0, 1.0, 1.0]}, 'another data_preprocessor.std than'),
        ({'data_preprocessor.bgr_to_rgb': False}, 'another data_preprocessor.bgr_to_rgb than'),
        ({'decode_head.align_corners': True}, 'another decode_head.align_corners than'),
    ):
        cfg = short_config('fcn')
        cfg.merge_from_dict({f'model.{key}': value for key, value in changed.items()})
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter('always')
            init_model(cfg, tmp_path / 'net.onnx')
        said = [str(warning.message) for warning in told if 'net.onnx' in str(warning.message)]
        assert len(said) == bool(named)
        assert all(named in line for line in said)


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_an_engine_that_stops_is_named_with_its_file(backend, tmp_path):
    write(tmp_path / 'net.onnx')
    model = onnx.load(tmp_path / 'net.onnx')
    model.graph.initializer[0].CopyFrom(
        helper.make_tensor('w', TensorProto.FLOAT, (5, 3, 9, 9), [0.0] * 1215)
    )
    onnx.save(model, tmp_path / 'net.onnx')
    loaded = init_model(short_config('fcn'), tmp_path / 'net.onnx', backend=backend)
    said = {'onnxruntime': r'onnxruntime [\d.]+ stopped at .* 1x3x4x4', 'openvino': 'too small'}
    with pytest.raises(BackendError, match=rf'net.onnx: .*{said[backend]}'):
        inference_model(loaded, IMAGE[:4, :4])
