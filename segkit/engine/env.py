"""What the run runs on, for the log and the run card.

mmengine's collector imports torchvision and lets its errors stop the Runner, and it needs
distutils, gone from Python 3.12. This one asks the same questions and never raises.
"""

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib import metadata

import torch

import segkit

_PACKAGES = ('mmengine', 'mmcv', 'numpy', 'opencv', 'pillow')
_DISTRIBUTIONS = {
    'mmengine': ('mmengine', 'mmengine-lite', 'onedl-mmengine'),
    'mmcv': ('mmcv-lite', 'mmcv', 'onedl-mmcv'),
    'numpy': ('numpy',),
    'opencv': ('opencv-python-headless', 'opencv-python'),
    'pillow': ('pillow',),
}


def _or_unknown(question: Callable[[], object]) -> str:
    try:
        return str(question())
    except Exception as error:  # a broken package must not stop a training run
        return f'unknown ({type(error).__name__})'


def _version(name: str) -> str:
    for distribution in _DISTRIBUTIONS[name]:
        try:
            return f'{metadata.version(distribution)} ({distribution})'
        except metadata.PackageNotFoundError:
            continue
    return 'not installed'


def commit() -> str:
    """The commit of the source tree, with '-dirty' when it has uncommitted changes."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(segkit.__file__)))
    command = ['git', '-C', root, 'describe', '--always', '--dirty', '--exclude', '*']
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return 'unknown (no git checkout)'
    return answer.stdout.strip()


def _gpus() -> str:
    if not torch.cuda.is_available():
        return 'none'
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ', '.join(f'{names.count(n)} x {n}' for n in sorted(set(names)))


def collect_env() -> dict[str, str]:
    """Name -> version or description of all that a result may depend on."""
    env = dict(
        segkit=f'{segkit.__version__} (commit {commit()})',
        python=sys.version.replace('\n', ' '),
        platform=platform.platform(),
        host=platform.node(),
        cpus=str(os.cpu_count()),
        gpus=_or_unknown(_gpus),
        torch=torch.__version__,
        cuda=str(torch.version.cuda),
        cudnn=_or_unknown(lambda: torch.backends.cudnn.version()),
        threads=str(torch.get_num_threads()),
    )
    env.update({name: _or_unknown(partial(_version, name)) for name in _PACKAGES})
    return env
