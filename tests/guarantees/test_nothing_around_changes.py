"""Importing the package, and building or calling its parts, changes nothing of the process.

Threads, random states, warnings, the root logger, signals, paths, the environment, torch.jit,
matplotlib's backend and what else ``helpers.surroundings`` looks at stay as they were. A network
draws its first weights from torch's generator, which is what that is for: its state may go on
when something is built, never its seed.
"""

import re
from pathlib import Path

import pytest
from helpers import found
from helpers.surroundings import changes_of

PACKAGES = [name for name in found.modules() if name.count('.') == 1 and '__main__' not in name]
DRAWS = {'torch random state'}
SMALL = dict(in_channels=16, channels=8, num_classes=5, dropout_ratio=0)
OF_ONE_HEAD = dict(
    PSAHead=dict(mask_size=(9, 9)), DAHead=dict(pam_channels=4), ISAHead=dict(isa_channels=8),
    DepthwiseSeparableASPPHead=dict(c1_in_channels=16),
)  # fmt: skip
SETUP = """
import numpy as np
import torch
from torch import nn
from segkit.registry import MODELS
from segkit.structures import PixelData, SegDataSample
images = torch.randn(2, 3, 32, 32)
maps, labels = [torch.randn(2, 16, 9, 10)], torch.randint(0, 5, (2, 72, 80), dtype=torch.uint8)
samples = [SegDataSample(metainfo=dict(img_shape=(72, 80))) for _ in labels]
for sample, label in zip(samples, labels):
    sample.gt_sem_seg = PixelData(data=label[None])
"""
CALL_HEAD = """
head.eval()(maps)
head.predict(maps, [sample.metainfo for sample in samples])
losses = head.train().loss(maps, samples)
sum(value for name, value in losses.items() if 'loss' in name).backward()
"""
REGISTER = """
from segkit import registry
for name in dir(registry):
    if isinstance(getattr(registry, name), registry.Registry):
        getattr(registry, name).import_from_location()
"""
MODEL = """
from segkit.apis import inference_model, init_model
import numpy as np
options = {'model.backbone.base_channels': 8, 'model.decode_head.in_channels': 64,
           'model.auxiliary_head.in_channels': 32}
"""
BUILD_MODEL = "model = init_model('fcn_r18-d8_shapes', cfg_options=options)"
# What has to be there of another package is not this package's to test.
WITHOUT = ('segkit.__main__', 'segkit.ops.triton_kernels', 'segkit.ops.triton_psa')


def built(kind: str, name: str) -> str:
    return f'{kind} = MODELS.build({of_kind(kind, name)!r})'


def of_kind(kind: str, name: str) -> dict:
    if kind == 'head':
        return dict(type=name, **SMALL, **OF_ONE_HEAD.get(name, {}))
    if kind == 'backbone':
        own = dict(depth=18, base_channels=4, stem_channels=4)
        return dict(type=name, **OF_ONE_BACKBONE.get(name, own))
    return dict(type=name)


OF_ONE_BACKBONE = dict(
    TimmBackbone=dict(model_name='resnet18'),
    MixVisionTransformer=dict(embed_dims=8, num_layers=(1, 1, 1, 1)),
)

TOOLS = sorted({Path(path).parent for path in found.tools().values()})
IMPORTS = {
    'import segkit': ('', 'import segkit'),
    **{f'import {name}': ('', f'import {name}') for name in PACKAGES},
    'import of every module': (
        '',
        '\n'.join(f'import {name}' for name in found.modules() if name not in WITHOUT),
    ),
    'building by name': ('', REGISTER),
    **{
        f'import of every tool in {folder}': (
            f'import sys, importlib; sys.path.insert(0, {str(folder)!r})',
            '\n'.join(f'importlib.import_module({p.stem!r})' for p in sorted(folder.glob('*.py'))),
        )
        for folder in TOOLS
    },
}
BUILDS = {
    **{f'build {n}': (SETUP, built('head', n)) for n in found.heads()},
    **{f'build {n}': (SETUP, built('backbone', n)) for n in found.backbones() if 'Timm' not in n},
    **{f'build {n}': (SETUP, built('loss', n)) for n in found.losses()},
    'build a model': (MODEL, BUILD_MODEL),
}
CALLS = {
    **{f'call {n}': (SETUP + built('head', n), CALL_HEAD) for n in found.heads()},
    **{
        f'call {n}': (SETUP + built('backbone', n), 'backbone(images)')
        for n in found.backbones()
        if 'Timm' not in n
    },
    'call a model': (
        MODEL + BUILD_MODEL,
        'inference_model(model, np.zeros((40, 48, 3), np.uint8))\n'
        'inference_model(model, np.zeros((40, 48, 3), np.uint8), aug_test=True)',
    ),
}
CASES = {**IMPORTS, **BUILDS, **CALLS}
# What other packages do when they are imported along, to nothing but their own.
OF_OTHERS = {
    # sympy, which mmengine.model brings: a filter for the warnings of its own class.
    'warnings filters': r"\('once', None, <class 'sympy\.[^>]*Warning'>, None, 0\)",
    # torch.library imports torch's compiler at the first call of an operator: where that caches.
    'environment TORCHINDUCTOR_CACHE_DIR': r'.*torchinductor_\w+',
}


@pytest.fixture(scope='module')
def changes() -> dict[str, dict[str, list]]:
    """Of every case: what it changed, all in one process that forks."""
    return changes_of({**CASES, **SPOILT})


SPOILT = {
    'spoilt': (
        'import warnings, torch, cv2, random, os, sys, logging, signal, numpy, matplotlib',
        'torch.set_num_threads(2); cv2.setNumThreads(7); random.random(); os.environ["X"] = "1"\n'
        'sys.path.append("x"); logging.getLogger().setLevel(10); numpy.random.rand()\n'
        'signal.signal(signal.SIGTERM, signal.SIG_IGN); warnings.simplefilter("ignore")\n'
        'torch.manual_seed(1); torch.jit._state._enabled.enabled = False\n'
        'logging.basicConfig(); matplotlib.use("svg")',
    )
}


def test_a_change_of_every_kind_is_seen(changes):
    assert set(changes['spoilt']) == {
        'torch threads', 'cv2 threads', 'python random state', 'environment X', 'sys.path',
        'root logger level', 'root logger handlers', 'numpy random state', 'signals',
        'warnings filters', 'torch seed', 'torch random state', 'torch.jit', 'matplotlib backend',
        'matplotlib settings',
    }  # fmt: skip


def test_there_is_something_to_try():
    assert len(PACKAGES) >= 12
    assert len(BUILDS) >= 15
    assert len(CALLS) >= 14


@pytest.mark.parametrize('case', CASES)
def test_nothing_is_changed(case, changes):
    assert 'error' not in changes[case], changes[case]['error']
    allowed = DRAWS if case in BUILDS else set()
    changed = {k: v for k, v in changes[case].items() if k not in allowed | set(OF_OTHERS)}
    assert not changed


@pytest.mark.parametrize('what', OF_OTHERS)
def test_what_others_change_when_they_are_imported_is_their_own(what, changes):
    found = [changes[case][what] for case in CASES if what in changes[case]]
    assert found, f'{what}: nobody changes it any more; take it from OF_OTHERS'
    for before, after in found:
        assert not before
        for value in after if isinstance(after, list) else [after]:
            assert re.fullmatch(OF_OTHERS[what], value)
