"""Building, loading and choosing the CUDA extension on a machine without a GPU."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from segkit.ops import build_ext, cuda_ext

ROOT = Path(__file__).parents[2]
ON_GPU = SimpleNamespace(is_cuda=True, dtype=torch.float32)
HAS_NVCC = any(map(shutil.which, ('nvcc', '/usr/local/cuda/bin/nvcc')))
needs_nvcc = pytest.mark.skipif(not HAS_NVCC, reason='needs nvcc')


@pytest.fixture(scope='session')
def library(tmp_path_factory) -> Path:
    try:
        return build_ext.build(tmp_path_factory.mktemp('ext') / build_ext.LIBRARY_NAME, '80;90')
    except build_ext.CannotBuildError as error:
        if HAS_NVCC:
            raise
        pytest.skip(str(error))


def in_fresh_python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT,
        env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LOAD = """
import json, sys, torch
from pathlib import Path
from segkit.ops import cuda_ext
loaded = cuda_ext.load(Path({library!r}))
ops = torch.ops.segkit_ext
has = torch._C._dispatch_has_kernel_for_dispatch_key
names = ('psa_mask_forward', 'psa_mask_backward') if loaded else ()
print(json.dumps([loaded, *(
    [str(getattr(ops, name).default._schema), has('segkit_ext::' + name, 'CUDA'),
     has('segkit_ext::' + name, 'CPU')] for name in names)]))
"""


@needs_nvcc
def test_the_library_loads_and_registers_without_a_gpu(library):
    loaded, *operators = json.loads(in_fresh_python(LOAD.format(library=str(library))))
    arguments = 'int mode, int mask_h, int mask_w) -> Tensor'
    assert loaded
    assert operators == [
        [f'segkit_ext::psa_mask_forward(Tensor input, {arguments}', True, False],
        [f'segkit_ext::psa_mask_backward(Tensor grad, {arguments}', True, False],
    ]


@needs_nvcc
def test_the_switch_keeps_the_library_out(library):
    code = LOAD.format(library=str(library))
    assert json.loads(in_fresh_python(code, SEGKIT_CUDA_OPS='0')) == [False]


@needs_nvcc
def test_kernels_fit_six_blocks_without_spills(tmp_path):
    """Six blocks of 256 threads share 65536 registers: at most 40 each, none in memory."""
    command = [build_ext.find_nvcc(), '-std=c++17', '-O3', '-Xptxas', '-v', '-cubin', '-arch=sm_90']
    source = str(build_ext.SOURCES / 'psa_mask_cuda.cu')
    done = subprocess.run(
        [*command, source, '-o', str(tmp_path / 'k.cubin')], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    kernels = done.stderr.count('Compiling entry function')
    used = [int(part.split()[-1]) for part in done.stderr.split(' registers')[:-1]]
    assert kernels == 12  # two modes, two directions, three element widths
    assert len(used) == kernels
    assert max(used) <= 40
    assert done.stderr.count(' 0 bytes spill stores, 0 bytes spill loads') == kernels


def test_a_missing_library_is_silent(tmp_path, recwarn):
    assert cuda_ext.load(tmp_path / 'absent.so') == cuda_ext.HAS_CUDA_OPS
    assert not recwarn.list


def test_a_broken_library_is_a_warning_that_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(cuda_ext, 'HAS_CUDA_OPS', False)
    broken = tmp_path / 'segkit_ext.so'
    broken.write_bytes(b'not a library')
    with pytest.warns(UserWarning, match='does not load.*python -m segkit.ops.build_ext'):
        assert cuda_ext.load(broken) is False


@pytest.mark.parametrize(
    ('value', 'present', 'used'),
    [('auto', False, False), ('auto', True, True), ('0', True, False), ('1', True, True)],
)
def test_the_switch_chooses_for_gpu_tensors(monkeypatch, value, present, used):
    monkeypatch.setenv('SEGKIT_CUDA_OPS', value)
    monkeypatch.setattr(cuda_ext, 'HAS_CUDA_OPS', present)
    assert cuda_ext.use_cuda_ops(ON_GPU) is used
    assert cuda_ext.use_cuda_ops(torch.zeros(1)) is False
    assert cuda_ext.use_cuda_ops(SimpleNamespace(is_cuda=True, dtype=torch.int64)) is False


def test_forcing_an_absent_extension_is_an_error(monkeypatch):
    monkeypatch.setenv('SEGKIT_CUDA_OPS', '1')
    monkeypatch.setattr(cuda_ext, 'HAS_CUDA_OPS', False)
    with pytest.raises(RuntimeError, match='SEGKIT_CUDA_OPS=1 asks for.*segkit.ops.build_ext'):
        cuda_ext.use_cuda_ops(ON_GPU)


def test_an_unknown_switch_is_an_error(monkeypatch):
    monkeypatch.setenv('SEGKIT_CUDA_OPS', 'yes')
    with pytest.raises(ValueError, match="SEGKIT_CUDA_OPS is 'yes'"):
        cuda_ext.setting()


def test_the_debug_switch_compares_once_for_each_kind(monkeypatch):
    calls = []

    def reference(tensor, *arguments):
        calls.append(arguments)
        return tensor + calls.count(arguments)  # wrong from the first comparison on

    fake = SimpleNamespace(psa_mask_forward=lambda tensor, *arguments: tensor + 1)
    monkeypatch.setattr(cuda_ext.torch.ops, 'segkit_ext', fake, raising=False)
    monkeypatch.setattr(cuda_ext, '_compared', set())
    cuda_ext.call('psa_mask_forward', reference, torch.zeros(1, 9), 0, 3, 3)
    assert not calls  # off unless asked for
    monkeypatch.setenv('SEGKIT_DEBUG_OPS', '1')
    for _ in range(2):
        cuda_ext.call('psa_mask_forward', reference, torch.zeros(1, 9), 0, 3, 3)
    assert calls == [(0, 3, 3)]
    calls.append((1, 3, 3))
    with pytest.raises(RuntimeError, match='psa_mask_forward differs from plain torch in 9 of 9'):
        cuda_ext.call('psa_mask_forward', reference, torch.zeros(1, 9), 1, 3, 3)


def test_a_toolkit_without_torch_is_an_error(monkeypatch, tmp_path):
    """Asked for, possible but for one thing: to go on in silence would hide it."""
    monkeypatch.setenv('SEGKIT_BUILD_EXT', '1')
    monkeypatch.setattr(build_ext, 'find_nvcc', lambda: 'nvcc')
    monkeypatch.setattr(build_ext.importlib.util, 'find_spec', lambda name: None)
    paths = dict.fromkeys(('purelib', 'platlib'), tmp_path)
    monkeypatch.setattr(build_ext.sysconfig, 'get_paths', lambda: paths)
    with pytest.raises(build_ext.CannotBuildError, match='torch is not installed'):
        build_ext.ext_modules_and_cmdclass()
    (tmp_path / 'torch').mkdir()
    (tmp_path / 'torch' / 'version.py').write_text("__version__ = '2.9.1+cu128'")
    with pytest.raises(build_ext.CannotBuildError, match='older than 2.10, whose headers'):
        build_ext.ext_modules_and_cmdclass()


def test_the_loader_looks_for_what_the_build_makes():
    assert cuda_ext.LIBRARY.name == build_ext.LIBRARY_NAME


def test_arch_flags_understand_both_spellings():
    flags = build_ext.arch_flags('8.0 90+PTX')
    assert flags == [
        '-gencode=arch=compute_80,code=sm_80',
        '-gencode=arch=compute_90,code=sm_90',
        '-gencode=arch=compute_90,code=compute_90',
    ]
    with pytest.raises(build_ext.CannotBuildError, match="'hopper' is not an architecture"):
        build_ext.arch_flags('hopper')


def test_nothing_is_built_unless_asked_for(monkeypatch, capsys):
    monkeypatch.delenv('SEGKIT_BUILD_EXT', raising=False)
    monkeypatch.setattr(sys, 'argv', ['setup.py', 'bdist_wheel'])
    assert build_ext.ext_modules_and_cmdclass() == ([], {})
    assert capsys.readouterr().out.count('\n') == 1


def test_no_toolkit_is_one_clear_line(monkeypatch, capsys):
    monkeypatch.setenv('SEGKIT_BUILD_EXT', '1')
    monkeypatch.setattr(build_ext.shutil, 'which', lambda name: None)
    assert build_ext.ext_modules_and_cmdclass() == ([], {})
    said = capsys.readouterr().out
    assert said == (
        'segkit: CUDA extension skipped, no CUDA toolkit was found: put nvcc on PATH or set '
        'CUDA_HOME; psa_mask runs in PyTorch\n'
    )
