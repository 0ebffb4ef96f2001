"""A tool whose optional library is not there says which and how to get it, before it works."""

import sys

import numpy as np
import pytest
from helpers.run_tool import run_tool
from helpers.short_net import build
from PIL import Image
from torch import nn

from segkit.apis import export
from segkit.engine import Runner
from segkit.errors import ConfigError


@pytest.fixture
def without(monkeypatch):
    """Make packages ones that cannot be imported."""

    def block(*names):
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)

    return block


def voc_aug(folder):
    (folder / 'cls').mkdir()
    (folder / 'cls/a.mat').touch()
    return [folder, folder]


def coco_stuff(folder):
    for place in ('annotations', 'imageLists', 'images'):
        (folder / place).mkdir()
    (folder / 'annotations/a.mat').touch()
    for split in ('train', 'test'):
        (folder / f'imageLists/{split}.txt').write_text('a\n')
    return [folder]


def pascal_context(folder):
    labels = folder / 'labels'
    labels.mkdir()
    (labels / 'a.mat').touch()
    return [folder, labels]


@pytest.mark.parametrize('tool', [voc_aug, coco_stuff, pascal_context])
def test_a_converter_of_matlab_files(tool, tmp_path, without):
    without('scipy')
    status, said = run_tool(f'dataset_converters/{tool.__name__}', *tool(tmp_path))
    assert status
    assert said.strip() == '.mat files need SciPy: pip install scipy'


def test_a_converter_of_pngs_needs_no_scipy(tmp_path, without):
    without('scipy')
    (tmp_path / 'annotations/train2017').mkdir(parents=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / 'annotations/train2017/1.png')
    status, said = run_tool('dataset_converters/coco_stuff', tmp_path)
    assert (status, '1 written' in said) == (0, True)


@pytest.mark.parametrize('missing', ['onnx', 'onnxscript', 'onnxruntime'])
def test_an_export_to_onnx(missing, tmp_path, without):
    without(missing)
    cure = f'needs {missing}, not installed here: pip install onnx onnxscript onnxruntime'
    with pytest.raises(export.ExportError, match=cure):
        export.export_model(build('fcn'), tmp_path / 'net.onnx', shape=(32, 32))
    assert not list(tmp_path.iterdir())


def test_other_formats_need_no_onnx(tmp_path, without):
    without('onnx', 'onnxscript', 'onnxruntime')
    export.export_model(build('fcn'), tmp_path / 'net.pt', 'torchscript', shape=(32, 32))


BACKENDS = {
    'Tensorboard': 'tensorboard',
    'Wandb': 'wandb',
    'MLflow': 'mlflow',
}


@pytest.mark.parametrize('backend', BACKENDS)
def test_a_visualizers_backend(backend, tmp_path, without):
    without(BACKENDS[backend], 'torch.utils.tensorboard', 'tensorboardX')
    visualizer = dict(type='SegLocalVisualizer', vis_backends=[dict(type=f'{backend}VisBackend')])
    cure = rf'visualizer.vis_backends: .*pip install (future )?{BACKENDS[backend]}'
    with pytest.raises(ConfigError, match=cure):
        Runner(nn.Linear(1, 1), str(tmp_path), visualizer=visualizer, cfg=dict(a=1))
