"""Building the CUDA extension, csrc/psa_mask.cu, by ``torch.utils.cpp_extension``.

    SEGKIT_BUILD_EXT=1 pip install --no-build-isolation .    into the installation
    python setup.py build_ext --inplace                      into a checkout
    python -m segkit.ops.build_ext                           beside a segkit that is installed

It needs a PyTorch built for CUDA, the CUDA toolkit of the same major version and a C++ compiler.
TORCH_CUDA_ARCH_LIST names compute capabilities, such as '8.0;9.0+PTX'; those of the GPUs in the
machine unless set.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

LIBRARY_NAME = 'segkit_ext.so'
SOURCE = Path(__file__).with_name('csrc') / 'psa_mask.cu'


def parts(name: str, source: Path = SOURCE) -> tuple[object, Any]:
    """The setuptools extension called ``name``, and the command that builds it.

    Raises:
        OSError: there is no CUDA toolkit, or PyTorch was not built for CUDA.
    """
    from torch.utils.cpp_extension import BuildExtension, CUDAExtension

    flags = {'cxx': ['-O3'], 'nvcc': ['-O3']}
    extension = CUDAExtension(
        name,
        [str(source)],
        extra_compile_args=flags,
        py_limited_api=True,
        depends=[str(source.with_name('psa_mask.h'))],
    )
    return extension, BuildExtension.with_options(no_python_abi_suffix=True)


def build(folder: Path) -> Path:
    """Compile and link ``LIBRARY_NAME`` in a folder, without loading it.

    Raises:
        OSError: as ``parts``.
        Exception: of the compiler, whose output is on the terminal.
    """
    from setuptools import Distribution

    extension, build_ext = parts(Path(LIBRARY_NAME).stem)
    command = build_ext(Distribution({'name': 'segkit', 'ext_modules': [extension]}))
    # Put in place when whole: a process may be loading the one that is there, or running it.
    with tempfile.TemporaryDirectory(dir=folder, prefix='.build_ext_') as made:
        command.build_lib = command.build_temp = made
        command.ensure_finalized()
        command.run()
        return Path(made, LIBRARY_NAME).rename(folder / LIBRARY_NAME)


if __name__ == '__main__':
    try:
        print(build(Path(__file__).parent))
    except OSError as error:
        sys.exit(f'segkit: the CUDA extension was not built: {error}')
