"""Package metadata. The CUDA extension is built only when asked for: docs/cuda_extension.md."""

import os
import re
import runpy
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHIPPED = ('configs', 'tools')


def requirements(name: str) -> list[str]:
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith(('#', '-'))]


def runtime_requirements() -> list[str]:
    """A full ``mmcv`` (or a fork) that is already there serves too and must not be overwritten."""
    site_packages = Path(sysconfig.get_paths()['purelib'])
    foreign = (site_packages / 'mmcv').exists() and not any(site_packages.glob('mmcv_lite-*'))
    wanted = requirements('runtime')
    return [line for line in wanted if not (foreign and line.startswith('mmcv'))]


class BuildWithConfigs(build_py):
    """Puts configs/ and tools/, without benchmarks, into the wheel as ``segkit/.shipped``; not if
    editable."""

    def run(self):
        super().run()
        if getattr(self, 'editable_mode', False):
            return
        for folder in SHIPPED:
            ignored = shutil.ignore_patterns('__pycache__', 'benchmarks')
            target = Path(self.build_lib) / 'segkit' / '.shipped' / folder
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(ROOT / folder, target, ignore=ignored)


version = re.search(r"__version__ = '(.+)'", (ROOT / 'segkit/__init__.py').read_text()).group(1)
groups = ('tests', 'optional', 'engines', 'docs', 'albu', 'app', 's3')
extras = {name: requirements(name) for name in groups}
# Not albu, which brings a second OpenCV, nor what develops segkit.
everything = ('optional', 'engines', 'app', 's3')
extras['all'] = sorted({line for name in everything for line in extras[name]})

ext_modules, commands = [], {'build_py': BuildWithConfigs}
if os.environ.get('SEGKIT_BUILD_EXT', '0') not in ('', '0') or 'build_ext' in sys.argv:
    # By path: segkit itself may not be importable yet.
    parts = runpy.run_path(str(ROOT / 'segkit/ops/build_ext.py'))['parts']
    extension, build_ext = parts('segkit.ops.segkit_ext', Path('segkit/ops/csrc/psa_mask.cu'))
    ext_modules, commands = [extension], {**commands, 'build_ext': build_ext}

setup(
    name='segkit',
    version=version,
    description='Semantic segmentation that loads the checkpoints published since 2020',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license_expression='Apache-2.0',
    license_files=['LICENSE', 'NOTICE'],
    author='The segkit developers',
    keywords='semantic segmentation, PSPNet, PSANet, DANet, ISANet, DeepLabV3+, UPerNet, SegFormer',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3 :: Only',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in range(10, 15)),
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Typing :: Typed',
    ],
    python_requires='>=3.10',
    packages=find_packages(include=['segkit', 'segkit.*']),
    package_data={
        'segkit': ['py.typed', 'ops/csrc/*'],
        '': ['*.json', '*.csv', '*.gz', '*.css', '*.js', '*.html', '*.jinja'],
    },
    install_requires=runtime_requirements(),
    extras_require=extras,
    entry_points={'console_scripts': ['segkit = segkit.__main__:main']},
    ext_modules=ext_modules,
    cmdclass=commands,
    zip_safe=False,
)
