"""Each engine predicts what PyTorch predicts, whatever the way of predicting; what cannot be says
so."""

import numpy as np
import onnx
import pytest
import torch
from helpers import found
from helpers.short_net import HEADS, short_config

from segkit.apis import inference_model, init_model
from segkit.apis.backends import BACKENDS

# The first has maps of one pixel within heads, after which an engine kept what is wrong for the
# fourth.
SIZES = ((16, 16), (64, 64), (73, 101), (65, 200), (136, 88))
LEAST = {'segformer': 32}  # pixels a side that a network takes: smaller ones it refuses
WAYS = (
    (dict(mode='whole'), False),
    (dict(mode='slide', crop_size=(64, 64), stride=(43, 43)), False),
    (dict(mode='slide', crop_size=(64, 64), stride=(43, 43)), True),
    (dict(mode='whole'), True),
)
EXPORTED = [name for name in BACKENDS if name not in ('torch', 'compile')]


def saved(cfg, folder):
    """A checkpoint of random weights whose classes vary from pixel to pixel."""
    torch.manual_seed(0)
    model = init_model(cfg)
    torch.nn.init.normal_(model.decode_head.conv_seg.weight)
    path = folder / 'weights.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


def pictures(name):
    random = np.random.default_rng(0)
    sizes = [size for size in SIZES if min(size) >= LEAST.get(name, 1)]
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def same(expected, got):
    """Probabilities to rounding, hence classes but where two are as good as equal."""
    for one, other in zip(expected, got, strict=True):
        sure, also = one.probabilities.data, other.probabilities.data
        torch.testing.assert_close(also, sure, rtol=0, atol=1e-5)
        changed = (one.pred_sem_seg.data != other.pred_sem_seg.data)[0]
        top = sure[:, changed].topk(2, dim=0).values
        assert (top[0] - top[1] < 1e-5).all()
        assert changed.sum() <= 2


@pytest.mark.parametrize('name', HEADS)
def test_an_engine_predicts_what_pytorch_predicts(name, tmp_path, capsys):
    cfg = short_config(name)
    weights = saved(cfg, tmp_path)
    models = {e: init_model(cfg, weights, backend=e) for e in ('torch', *EXPORTED)}
    assert capsys.readouterr().out.count('exporting the network, once') == 1
    (file,) = tmp_path.glob('*.onnx')
    assert {node.domain for node in onnx.load(file).graph.node} <= {'', 'ai.onnx'}
    for test_cfg, views in WAYS:
        results = {}
        for engine, model in models.items():
            model.test_cfg = test_cfg
            images = pictures(name)[-3:-1] if views else pictures(name)
            results[engine] = inference_model(model, images, views, probabilities=True)
        assert all(r.probabilities.data.std(dim=(1, 2)).amax() > 1e-3 for r in results['torch'])
        for engine in EXPORTED:
            same(results['torch'], results[engine])


def test_every_head_and_engine_is_swept():
    assert {head['type'] for head in HEADS.values()} == set(found.heads())
    assert EXPORTED == ['onnxruntime', 'openvino']
