"""What is exported is kept and found again; a file that was exported stands for its network."""

import subprocess
import sys
import tempfile

import cv2
import numpy as np
import onnx
import pytest
import torch
from helpers.short_net import build, short_config
from torch import nn

from segkit.apis import inference_model, init_model
from segkit.apis.backends import (
    BackendError,
    Settings,
    calibration,
    exported,
    install,
    kept,
    signed,
    with_backend,
)
from segkit.apis.export import export_model
from segkit.models.segmentors import EncoderDecoder
from segkit.registry import MODELS
from segkit.weights import CheckpointNotFoundError

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)


@pytest.fixture
def weights(tmp_path):
    return _saved(tmp_path / 'run' / 'weights.pth', build('fcn'))


def _saved(path, model):
    path.parent.mkdir(exist_ok=True)
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


def _written(folder):
    return sorted(path.name for path in folder.glob('*.onnx'))


def _classes(model, image=IMAGE):
    return inference_model(model, image).pred_sem_seg.data


@pytest.fixture
def quick(monkeypatch):
    """What is exported is noted in place of being written."""
    made = []

    def export(model, file, format, shape, **options):
        made.append((file.name, tuple(shape), options))
        file.write_bytes(b'a graph')

    monkeypatch.setattr(exported, 'export_model', export)
    monkeypatch.setattr(install, 'open_session', lambda file, settings: (None, ['n', 3, 'h', 'w']))
    return made


def test_a_network_is_exported_again_when_what_it_is_made_of_changed(weights, quick, monkeypatch):
    def count(cfg=None, path=weights, **options):
        init_model(cfg or short_config('fcn'), path, backend='onnxruntime', **options)
        return len(quick)

    assert count() == 1
    assert count() == 1, 'nothing changed'
    slide = dict(mode='slide', crop_size=(48, 48), stride=(32, 32))
    assert count(short_config('fcn', test_cfg=slide)) == 1, 'the network is the same'
    init_model(short_config('fcn'), weights, backend='openvino', precision='bf16')
    assert len(quick) == 1, 'all engines read one file'
    assert count(short_config('fcn', align_corners=True)) == 2
    other = build('fcn')
    with torch.no_grad():
        other.decode_head.conv_seg.bias[0] += 1
    assert count(path=_saved(weights, other)) == 3, 'other weights under the same name'
    monkeypatch.setattr('onnxscript.__version__', '99.0')
    assert count() == 4
    monkeypatch.setattr(exported, '_code', lambda model: iter(['another source']))
    assert count() == 5
    assert _written(weights.parent) == sorted(name for name, *_ in quick)
    assert all(options['grid'] and options['dynamic'] for *_, options in quick)


def test_a_folder_that_cannot_be_written_to_is_left_alone(weights, quick, tmp_path, monkeypatch):
    monkeypatch.setenv('SEGKIT_CACHE', str(tmp_path / 'cache'))
    real, refused = tempfile.TemporaryDirectory, [weights.parent]

    def folder(dir=None, prefix=None):
        if dir in refused:
            raise PermissionError(13, 'Permission denied', str(dir))
        return real(dir=dir, prefix=prefix)

    monkeypatch.setattr(kept.tempfile, 'TemporaryDirectory', folder)
    init_model(short_config('fcn'), weights, backend='onnxruntime')
    assert _written(weights.parent) == []
    (made,) = _written(tmp_path / 'cache')
    assert len(quick) == 1
    (tmp_path / 'cache' / made).rename(weights.parent / made)
    init_model(short_config('fcn'), weights, backend='onnxruntime')
    assert len(quick) == 1, 'read where nothing can be written'
    (weights.parent / made).unlink()
    refused.append(tmp_path / 'cache')
    init_model(short_config('fcn'), weights, backend='onnxruntime')
    assert len(quick) == 2
    assert _written(weights.parent) == _written(tmp_path / 'cache') == []


def test_random_weights_leave_nothing_behind(quick, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('SEGKIT_CACHE', str(tmp_path))
    init_model(short_config('fcn'), backend='onnxruntime')
    assert len(quick) == 1
    assert list(tmp_path.rglob('*.onnx')) == []


def test_an_export_that_fails_leaves_no_file(weights, monkeypatch):
    def export(model, file, *args, **options):
        file.write_bytes(b'half a gra')
        raise exported.ExportError('a module branches on values')

    monkeypatch.setattr(exported, 'export_model', export)
    with pytest.raises(BackendError, match="branches .*fixed_sizes=True.*backend='torch'"):
        init_model(short_config('fcn'), weights, backend='onnxruntime')
    assert [path.name for path in weights.parent.iterdir()] == ['weights.pth']


def test_a_size_each_has_a_network_of_its_own(weights):
    model = init_model(short_config('fcn'), weights, backend='onnxruntime', fixed_sizes=True)
    plain = init_model(short_config('fcn'), weights)
    for image in (IMAGE, IMAGE[:48], IMAGE):
        assert torch.equal(_classes(model, image), _classes(plain, image))
    names = _written(weights.parent)
    assert [name.split('-')[1] for name in names] == ['48x80', '64x80']


@pytest.mark.parametrize('options', [{}, dict(normalize=True), dict(grid=True, open_batch=True)])
def test_an_exported_file_stands_for_its_network(options, weights, tmp_path):
    cfg = short_config('fcn')
    plain = init_model(cfg, weights)
    plain.dataset_meta = dict(classes=list('abcde'))
    file = tmp_path / 'net.onnx'
    export_model(plain, file, shape=(64, 80), **options)
    model = init_model(cfg, file)
    assert model.backbone.name == 'onnxruntime, fp32'
    assert model.dataset_meta == plain.dataset_meta
    batch = [IMAGE, IMAGE[::-1].copy()]
    for one, other in zip(*(inference_model(m, batch, batch_size=2) for m in (plain, model))):
        assert torch.equal(one.pred_sem_seg.data, other.pred_sem_seg.data)
    with pytest.raises(BackendError, match=r'takes pictures of 3x64x80 .* given 3x48x80.*slide'):
        inference_model(model, IMAGE[:48])


def test_eight_bits_are_calibrated_once_on_the_training_set(tmp_path, capsys):
    cfg = short_config('fcn')
    cfg.train_dataloader = dict(
        dataset=dict(type='ShapesDataset', split='train', num_images=5, size=(64, 64))
    )
    weights = _saved(tmp_path / 'w.pth', build('fcn'))
    exact = init_model(cfg, weights)
    for backend in ('onnxruntime', 'openvino'):
        model = init_model(cfg, weights, backend=backend, precision='int8', calibration=3)
        same = (_classes(model) == _classes(exact)).float().mean()
        assert 0.9 < same <= 1
    said = capsys.readouterr().out
    assert said.count('quantising the network with 3 pictures, once') == 1
    (file,) = tmp_path.glob('*-int8-*.onnx')
    kinds = {node.op_type for node in onnx.load(file).graph.node}
    assert 'QuantizeLinear' in kinds
    init_model(cfg, weights, backend='openvino', precision='int8', calibration=2)
    assert len(list(tmp_path.glob('*-int8-*.onnx'))) == 2, 'other pictures, other ranges'
    slide = dict(mode='slide', crop_size=(32, 32), stride=(32, 32))
    for count, changed in enumerate((dict(test_cfg=slide), dict(data_preprocessor__std=[1.0] * 3))):
        other = cfg.copy()
        other.merge_from_dict({f'model.{k.replace("__", ".")}': v for k, v in changed.items()})
        init_model(other, weights, backend='onnxruntime', precision='int8', calibration=3)
        assert len(list(tmp_path.glob('*-int8-*.onnx'))) == 3 + count, 'the graph is fed otherwise'


def _trained_on(dataset):
    cfg = short_config('fcn')
    cfg.train_dataloader = dict(dataset=dataset)
    return cfg


def test_eight_bits_take_what_pictures_there_are(tmp_path, weights, capsys):
    cfg = _trained_on(dict(type='ShapesDataset', split='train', num_images=2, size=(64, 64)))
    init_model(cfg, weights, backend='onnxruntime', precision='int8')
    assert 'quantising the network with 2 pictures' in capsys.readouterr().out
    pictures = dict(type='BaseSegDataset', data_root=str(tmp_path), data_prefix=dict(img_path='p'))
    pictures['metainfo'] = dict(classes=list('abcde'))
    (tmp_path / 'p').mkdir()
    with pytest.raises(ValueError, match=str(tmp_path)):
        init_model(_trained_on(pictures), weights, backend='onnxruntime', precision='int8')
    for name in 'ab':
        cv2.imwrite(str(tmp_path / 'p' / f'{name}.jpg'), IMAGE)
    (tmp_path / 'p' / 'b.jpg').write_bytes(b'no picture')
    with pytest.raises(ValueError, match=r'b\.jpg'):
        init_model(_trained_on(pictures), weights, backend='onnxruntime', precision='int8')
    assert len(list(weights.parent.glob('*-int8-*.onnx'))) == 1
    assert not list(weights.parent.glob('.draft-*'))


def test_eight_bits_of_one_size_are_calibrated_on_pictures_of_any(tmp_path):
    cfg = short_config('fcn')
    cfg.train_dataloader = dict(
        dataset=dict(type='ShapesDataset', split='train', num_images=2, size=(64, 64))
    )
    weights = _saved(tmp_path / 'w.pth', build('fcn'))
    model = init_model(
        cfg, weights, backend='onnxruntime', precision='int8', calibration=2, fixed_sizes=True
    )
    image = IMAGE[:48]
    same = _classes(model, image) == _classes(init_model(cfg, weights), image)
    assert 0.9 < same.float().mean() <= 1


@pytest.mark.parametrize(('name', 'products'), [('danet', 4), ('isanet', 4), ('fcn', 0)])
def test_products_of_maps_are_by_signed_bytes_and_stay_equal(name, products, tmp_path, monkeypatch):
    cfg = short_config(name)
    data = dict(type='ShapesDataset', split='train', num_images=2, size=(64, 64))
    cfg.train_dataloader = dict(dataset=data)
    model = build(name)
    for gamma in (module for module in model.modules() if type(module).__name__ == 'Scale'):
        torch.nn.init.ones_(gamma.scale)  # 0 at first: attention would not be seen
    weights = _saved(tmp_path / 'w.pth', model)
    how = dict(backend='onnxruntime', precision='int8', calibration=2, fixed_sizes=True)
    counts, logits = [], []
    sign = signed.sign_second_factors
    image = torch.linspace(-2, 2, 3 * 64 * 80).sin().view(1, 3, 64, 80)
    for step in (lambda graph: 0, lambda graph: counts.append(sign(graph))):
        monkeypatch.setattr(calibration, 'sign_second_factors', step)
        engine = init_model(cfg, weights, **how)
        with torch.no_grad():
            logits.append(engine.encode_decode(image, [{}]))
        (file,) = tmp_path.glob('*-int8-*.onnx')
        graph = onnx.load(file).graph
        file.unlink()
    assert counts == [products]
    assert torch.equal(*logits)
    types = {number.name: number.data_type for number in graph.initializer}
    makers = {out: node for node in graph.node for out in node.output}
    seconds = [makers.get(n.input[1]) for n in graph.node if n.op_type == 'MatMul']
    assert [types[node.input[2]] for node in seconds] == [onnx.TensorProto.INT8] * products


@MODELS.register_module()
class OwnSteps(EncoderDecoder):
    def extract_feat(self, inputs):
        return super().extract_feat(inputs)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(backend='tensorrt'), "'tensorrt' is none of torch, compile, onnxruntime, openvino"),
        (dict(precision='fp16'), "'fp16' is none of fp32, bf16, int8"),
        (dict(precision='int8'), "backend='torch' computes in fp32 or bf16.*onnxruntime or openv"),
        (dict(backend='onnxruntime', precision='bf16'), 'the backend torch or compile or openvino'),
        (dict(backend='compile', precision='int8'), 'computes in fp32 or bf16'),
        (dict(backend='openvino', precision='int8', calibration=0), 'calibration=0 must be 1'),
        (dict(fixed_sizes=True), "backend='torch' takes any size"),
        (dict(backend='openvino', bf16=True), "its precision is 'fp32', 'bf16' or 'int8'"),
        (dict(backend='openvino', channels_last=True), 'channels_last, bf16 and dtype are of'),
        (dict(backend='openvino', dtype='bfloat16'), 'channels_last, bf16 and dtype are of'),
        (dict(precision='bf16', dtype='float16'), "precision='bf16' leaves weights in float32"),
        (dict(bf16=True, dtype='float16'), 'bf16=True leaves weights in float32'),
        (dict(backend='onnxruntime', precision='int8'), 'train_dataloader.dataset, and the config'),
        (dict(checkpoint='net.onnx', backend='torch'), 'run by onnxruntime or openvino'),
        (dict(checkpoint='net.onnx', key_map={'a.': ''}), 'net.onnx: key_map names weights'),
        (dict(checkpoint='net.onnx', fixed_sizes=True), 'has the sizes it was exported with'),
        (dict(checkpoint='net.onnx', precision='bf16'), "choose backend='openvino' for it"),
        (dict(checkpoint='net.onnx'), 'net.onnx: is no ONNX file.*Export the network again'),
    ],
)
def test_what_cannot_be_says_what_can(options, message, quick, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'net.onnx').write_bytes(b'no graph')
    with pytest.raises(ValueError, match=message):
        init_model(short_config('fcn'), **options)


def test_a_network_whose_steps_are_written_anew_stays_with_pytorch(quick):
    cfg = short_config('fcn')
    cfg.model.type = 'OwnSteps'
    with pytest.raises(BackendError, match=r"OwnSteps.extract_feat is written anew.*'torch'"):
        init_model(cfg, backend='onnxruntime')
    model = build('fcn')
    model.decode_head.predict = lambda *args: None
    with pytest.raises(BackendError, match=r'FCNHead.predict is written anew'):
        with_backend(model, Settings('openvino'), None)
    with pytest.raises(BackendError, match='runs an EncoderDecoder, and this is a Linear'):
        with_backend(nn.Linear(1, 1), Settings('openvino'), None)
    with pytest.raises(BackendError, match="device='meta' was asked"):
        with_backend(build('fcn').to('meta'), Settings('openvino'), None)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(CheckpointNotFoundError, match=r'no.onnx: there is no such file'):
        init_model(short_config('fcn'), 'no.onnx')


def test_an_engine_is_put_in_once(weights, quick):
    model = init_model(short_config('fcn'), weights, backend='onnxruntime')
    backbone = model.backbone
    assert with_backend(model, Settings('onnxruntime'), weights).backbone is backbone
    assert len(quick) == 1


def test_no_engine_is_imported_before_it_is_asked_for():
    code = 'import sys, segkit.apis.model, segkit.engine.hooks, segkit.apis.backends\n'
    code += 'print({"onnx", "onnxscript", "onnxruntime", "openvino"} & set(sys.modules))'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout == 'set()\n', done.stderr


def test_classes_are_no_logits_and_training_is_none_of_an_engine(weights, tmp_path):
    cfg = short_config('fcn')
    plain = init_model(cfg, weights)
    export_model(plain, tmp_path / 'net.onnx', shape=(64, 80), argmax=True)
    with pytest.raises(BackendError, match='gives classes.*export it without --argmax'):
        init_model(cfg, tmp_path / 'net.onnx')
    with pytest.raises(BackendError, match='gives classes.*export it without --argmax'):
        init_model(cfg, tmp_path / 'net.onnx', backend='openvino', precision='int8')


def test_an_engine_trains_nothing_and_holds_no_weights(weights, quick):
    model = init_model(short_config('fcn'), weights, backend='onnxruntime')
    assert sum(weight.numel() for weight in model.parameters()) == 0
    with pytest.raises(BackendError, match='train with PyTorch'):
        model.train()(torch.zeros(1, 3, 64, 64))
