"""Building the CUDA extension: three compiler calls, no torch import, no compiler at import time.

``torch.utils.cpp_extension`` refuses to build beside a CPU-only PyTorch. The extension needs only
PyTorch's headers and the name of one library, because it uses the stable ABI: the same binary
serves every PyTorch from ``TORCH_TARGET`` on, and loads (without a kernel to run) where there is no
GPU. The torch package is looked for, not imported, so that this works inside pip's build isolation.

    SEGKIT_BUILD_EXT=1 pip install .           build it into the wheel
    python setup.py build_ext --inplace        build it into a checkout
    python -m segkit.ops.build_ext             build it beside an installed segkit

    SEGKIT_CUDA_ARCHS   compute capabilities, '80;90+PTX' unless set; +PTX adds code that newer
                        GPUs compile for themselves
    CUDA_HOME, CXX      the CUDA toolkit and the C++ compiler, found on PATH unless set
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

TORCH_TARGET = (2, 10)
DEFAULT_ARCHS = '80;90+PTX'
LIBRARY_NAME = 'segkit_ext.so'
SOURCES = Path(__file__).resolve().parent / 'csrc'


class CannotBuildError(RuntimeError):
    """A tool or header that the build needs is missing; the message names it and the cure."""


def find_nvcc() -> str:
    """Path of nvcc."""
    homes = [os.environ.get(name) for name in ('CUDA_HOME', 'CUDA_PATH')]
    tried = [str(Path(home) / 'bin' / 'nvcc') for home in homes if home]
    for candidate in (*tried, 'nvcc', '/usr/local/cuda/bin/nvcc'):
        found = shutil.which(candidate)
        if found:
            return found
    raise CannotBuildError('no CUDA toolkit was found: put nvcc on PATH or set CUDA_HOME')


def find_torch() -> Path:
    """Folder of the torch package whose headers are used: the importable one, else the
    interpreter's own, which pip hides from an isolated build but does not move."""
    spec = importlib.util.find_spec('torch')
    folders = [Path(spec.origin).parent] if spec and spec.origin else []
    folders += [Path(sysconfig.get_paths()[key]) / 'torch' for key in ('purelib', 'platlib')]
    for folder in folders:
        if (folder / 'version.py').is_file():
            return _checked_torch(folder)
    raise CannotBuildError('torch is not installed: install it before building the extension')


def _checked_torch(folder: Path) -> Path:
    found = re.search(r"__version__ = '(\d+)\.(\d+)", (folder / 'version.py').read_text())
    if not found or tuple(map(int, found.groups())) < TORCH_TARGET:
        wanted = '.'.join(map(str, TORCH_TARGET))
        raise CannotBuildError(
            f'the torch in {folder} is older than {wanted}, whose headers it needs'
        )
    return folder


def arch_flags(archs: str | None = None) -> list[str]:
    """nvcc flags of a list such as '80;90+PTX' or '8.0 9.0'."""
    flags = []
    for arch in re.split(r'[;, ]+', (archs or DEFAULT_ARCHS).strip()):
        number = re.fullmatch(r'(\d+)\.?(\d)(\+PTX)?', arch)
        if not number:
            raise CannotBuildError(
                f'SEGKIT_CUDA_ARCHS: {arch!r} is not an architecture such as 80 or 9.0'
            )
        name = number.group(1) + number.group(2)
        flags.append(f'-gencode=arch=compute_{name},code=sm_{name}')
        if number.group(3):
            flags.append(f'-gencode=arch=compute_{name},code=compute_{name}')
    return flags


def build(target: Path, archs: str | None = None) -> Path:
    """Compile and link the extension.

    Args:
        target: file to write.
        archs: see ``arch_flags``; SEGKIT_CUDA_ARCHS unless given.

    Raises:
        CannotBuildError: something is missing, or a compiler failed (its output is in the message).
    """
    nvcc, torch_folder = find_nvcc(), find_torch()
    arch_options = arch_flags(archs or os.environ.get('SEGKIT_CUDA_ARCHS'))
    version = sum(part << shift for part, shift in zip(TORCH_TARGET, (56, 48)))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        kernels, binding = f'{work}/kernels.o', f'{work}/torch.o'
        common = ['-std=c++17', '-O3']
        source = str(SOURCES / 'psa_mask_cuda.cu')
        _run([nvcc, *common, *arch_options, '-Xcompiler', '-fPIC', '-c', source, '-o', kernels])
        flags = [f'-I{torch_folder / "include"}', f'-DTORCH_TARGET_VERSION={version:#x}', '-fPIC']
        source = str(SOURCES / 'psa_mask_torch.cpp')
        _run([os.environ.get('CXX', 'g++'), *common, *flags, '-c', source, '-o', binding])
        # The CUDA runtime is linked statically (nvcc's default): no version of it to match.
        libraries = [f'-L{torch_folder / "lib"}', '-ltorch_cpu', '-ldl']
        _run([nvcc, '-shared', kernels, binding, *libraries, '-o', str(target)])
    return target


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise CannotBuildError(
            f'{command[0]} was not found: install it, or name it in CXX'
        ) from error
    if done.returncode:
        raise CannotBuildError(f'{" ".join(command)}\n{done.stdout}{done.stderr}')


def ext_modules_and_cmdclass() -> tuple[list, dict]:
    """What setup.py passes to ``setup()``: both empty, after one line that says why, if the
    extension was not asked for or there is no CUDA toolkit.

    Raises:
        CannotBuildError: there is a toolkit, but no PyTorch, or one that is too old.
    """
    asked = os.environ.get('SEGKIT_BUILD_EXT', '0').lower() not in ('', '0', 'no', 'false', 'off')
    if not asked and 'build_ext' not in sys.argv:
        print('segkit: CUDA extension not asked for (SEGKIT_BUILD_EXT=1); psa_mask runs in PyTorch')
        return [], {}
    try:
        find_nvcc()
    except CannotBuildError as error:
        print(f'segkit: CUDA extension skipped, {error}; psa_mask runs in PyTorch')
        return [], {}
    find_torch()
    return _setuptools_parts()


def _setuptools_parts() -> tuple[list, dict]:
    from setuptools import Extension
    from setuptools.command.bdist_wheel import bdist_wheel
    from setuptools.command.build_ext import build_ext

    class BuildExt(build_ext):
        def get_ext_filename(self, fullname: str) -> str:
            return str(Path(*fullname.split('.')[:-1], LIBRARY_NAME))

        def build_extension(self, ext: Extension) -> None:
            build(Path(self.get_ext_fullpath(ext.name)))

    class Wheel(bdist_wheel):
        def get_tag(self) -> tuple[str, str, str]:
            return 'py3', 'none', super().get_tag()[2]  # the library knows nothing of Python

    sources = [str(path.relative_to(Path.cwd())) for path in sorted(SOURCES.glob('*.c*'))]
    return [Extension('segkit.ops.segkit_ext', sources)], {
        'build_ext': BuildExt,
        'bdist_wheel': Wheel,
    }


if __name__ == '__main__':
    try:
        print(build(Path(__file__).with_name(LIBRARY_NAME)))
    except CannotBuildError as reason:
        sys.exit(f'segkit: the CUDA extension was not built: {reason}')
