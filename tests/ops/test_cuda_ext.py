"""Building, loading and choosing the CUDA extension on a machine without a GPU."""

import json
import os
import runpy
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
NVCC = shutil.which('nvcc') or shutil.which('/usr/local/cuda/bin/nvcc')
needs_nvcc = pytest.mark.skipif(NVCC is None, reason='needs nvcc')
BUILD = """
import sys
from pathlib import Path
from torch.utils import cpp_extension
cpp_extension.CUDA_HOME = cpp_extension.CUDA_HOME or sys.argv[2]
from segkit.ops import build_ext
build_ext.build(Path(sys.argv[1]))
"""


def cuda_home() -> Path:
    """The toolkit that nvcc belongs to, which it names when it compiles nothing."""
    done = subprocess.run([NVCC, '--dryrun', '-c', 'x.cu'], capture_output=True, text=True)
    top = next(line for line in done.stderr.splitlines() if line.startswith('#$ TOP='))
    return Path(top.removeprefix('#$ TOP=')).resolve()


@pytest.fixture(scope='session')
def library(tmp_path_factory) -> Path:
    """Built as on a machine with a GPU, but for two libraries that a CPU-only PyTorch lacks."""
    folder = tmp_path_factory.mktemp('ext')
    if torch.version.cuda is None:
        for name in ('c10_cuda', 'torch_cuda'):
            command = ['gcc', '-shared', '-x', 'c', os.devnull, '-o', f'{folder}/lib{name}.so']
            subprocess.run(command, check=True)
    environment = {'TORCH_CUDA_ARCH_LIST': '8.0;9.0', 'LIBRARY_PATH': str(folder), 'MAX_JOBS': '1'}
    in_fresh_python(BUILD, str(folder), str(cuda_home()), **environment)
    return folder / build_ext.LIBRARY_NAME


def in_fresh_python(code: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, '-c', code, *arguments], capture_output=True, text=True, cwd=ROOT,
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
    code, where = LOAD.format(library=str(library)), str(library.parent)
    loaded, *operators = json.loads(in_fresh_python(code, LD_LIBRARY_PATH=where))
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
    command = [NVCC, '-std=c++20', '-O3', '-Xptxas', '-v', '-cubin', '-arch=sm_90']
    command += ['-I', str(Path(torch.__file__).parent / 'include'), str(build_ext.SOURCE)]
    done = subprocess.run(
        [*command, '-o', str(tmp_path / 'k.cubin')], capture_output=True, text=True
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


@pytest.mark.skipif(torch.version.cuda is not None, reason='PyTorch is built for CUDA')
def test_a_pytorch_without_cuda_is_one_clear_line():
    done = subprocess.run(
        [sys.executable, '-m', 'segkit.ops.build_ext'], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 1
    assert 'segkit: the CUDA extension was not built: CUDA_HOME' in done.stderr
    assert 'Traceback' not in done.stderr


def test_the_loader_looks_for_what_the_build_makes():
    assert cuda_ext.LIBRARY.name == build_ext.LIBRARY_NAME
    assert cuda_ext.LIBRARY.parent == Path(build_ext.__file__).parent


@pytest.mark.parametrize(('asked', 'built'), [('0', False), ('', False), ('1', True)])
def test_setup_builds_what_is_asked_for(monkeypatch, asked, built):
    given, asked_for = {}, []
    monkeypatch.setenv('SEGKIT_BUILD_EXT', asked)
    monkeypatch.setattr(sys, 'argv', ['setup.py', 'bdist_wheel'])
    monkeypatch.setattr('setuptools.setup', given.update)
    monkeypatch.chdir(ROOT)
    run_path = runpy.run_path

    def parts(name, source):
        asked_for.append((name, source.is_file()))
        return 'extension', 'command'

    monkeypatch.setattr(runpy, 'run_path', lambda path: run_path(path) | {'parts': parts})
    run_path(str(ROOT / 'setup.py'))
    assert asked_for == ([('segkit.ops.segkit_ext', True)] if built else [])
    assert given['ext_modules'] == (['extension'] if built else [])
    assert given['cmdclass'].get('build_ext') == ('command' if built else None)
