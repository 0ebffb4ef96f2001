"""What the run runs on: set for the process, told in the log and the run card.

mmengine's collector imports torchvision and lets its errors stop the Runner, and it needs
distutils, gone from Python 3.12. This one asks the same questions and never raises.
"""

import functools
import itertools
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import torch
from mmengine.utils.dl_utils import set_multi_processing

import segkit
from segkit.engine.dist import from_first_rank

_used_timestamps: set[str] = set()

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


@functools.cache
def commit() -> str:
    """The commit of the source tree, with '-dirty' when it has uncommitted changes: when it was
    first asked for, as code is loaded once."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(segkit.__file__)))
    command = ['git', '-C', root, 'describe', '--always', '--dirty', '--exclude', '*']
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return 'unknown (no git checkout)'
    return answer.stdout.strip()


def collect_env() -> dict[str, str]:
    """Name -> version or description of all that a result may depend on."""
    gpus = range(torch.cuda.device_count())
    names = Counter(_or_unknown(partial(torch.cuda.get_device_name, i)) for i in gpus)
    env = dict(
        segkit=f'{segkit.__version__} (commit {commit()})',
        python=sys.version.replace('\n', ' '),
        platform=platform.platform(),
        host=platform.node(),
        cpus=str(os.cpu_count()),
        gpus=', '.join(f'{n} x {name}' for name, n in sorted(names.items())) or 'none',
        torch=torch.__version__,
        cuda=str(torch.version.cuda),
        cudnn=_or_unknown(torch.backends.cudnn.version),
        threads=str(torch.get_num_threads()),
    )
    env.update({name: _or_unknown(partial(_version, name)) for name in _DISTRIBUTIONS})
    return env


def prepare(env_cfg: Mapping[str, Any], distributed: bool) -> str:
    """Set what ``env_cfg`` says for this process; returns the time as the name of the run.

    It is the same on all ranks, and that of one run of this process alone.
    """
    if env_cfg.get('cudnn_benchmark'):
        torch.backends.cudnn.benchmark = True
    mp_cfg = dict(env_cfg.get('mp_cfg', {}))
    known = multiprocessing.get_all_start_methods()
    if mp_cfg.setdefault('mp_start_method', 'fork') not in known:  # Windows cannot fork
        mp_cfg['mp_start_method'] = known[0]
    set_multi_processing(**mp_cfg, distributed=distributed)
    if find_spec('resource') is not None:  # Windows has none
        import resource

        # As many open files as the system lets us: each batch of a worker is some.
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = max(env_cfg.get('resource_limit', 4096), soft)
        wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    stamp = unlike(from_first_rank(time.strftime('%Y%m%d_%H%M%S')), _used_timestamps.__contains__)
    _used_timestamps.add(stamp)
    return stamp


def peak_memory_mb() -> int:
    """Peak memory of this process in MB: allocated by torch on CUDA, resident size on CPU; 0 where
    the system does not tell."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated() / 1024**2)
    if find_spec('resource') is None:  # Windows
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024**2 if sys.platform == 'darwin' else peak // 1024


def unlike(name: str, taken: Callable[[str], bool]) -> str:
    """``name``, with a number behind it if it is ``taken``."""
    names = itertools.chain([name], (f'{name}_{number}' for number in itertools.count(1)))
    return next(one for one in names if not taken(one))
