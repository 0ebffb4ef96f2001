"""From the name a config gives its weights to a local file.

``open-mmlab://``, ``torchvision://``, ``timm://`` and ``hf://`` are names for URLs; the tables are
data, so no other package is imported to resolve them. Sources: the model lists of OpenMMLab,
torchvision and timm.
"""

import difflib
import hashlib
import os
import re
from pathlib import Path

from segkit.errors import CheckpointError, CheckpointNotFoundError
from segkit.shared_text import without_secrets
from segkit.storage import stores

from .downloads import fetch
from .integrity import expected_hash

_OPEN_MMLAB = 'https://download.openmmlab.com/pretrain/third_party/'
_TORCHVISION = 'https://download.pytorch.org/models/'
_TIMM = 'https://huggingface.co/timm/{}/resolve/main/model.safetensors'

OPEN_MMLAB = {
    'resnet18_v1c': 'resnet18_v1c-b5776b93.pth',
    'resnet50_v1c': 'resnet50_v1c-2cccc1ad.pth',
    'resnet101_v1c': 'resnet101_v1c-e67eebb6.pth',
}
TORCHVISION = {
    'resnet18': 'resnet18-f37072fd.pth',
    'resnet34': 'resnet34-b627a593.pth',
    'resnet50': 'resnet50-0676ba61.pth',
    'resnet101': 'resnet101-63fe2227.pth',
    'resnet152': 'resnet152-394f9c45.pth',
    'resnet50_v2': 'resnet50-11ad3fa6.pth',
    'resnet101_v2': 'resnet101-cd907fc2.pth',
    'resnet152_v2': 'resnet152-f82ba261.pth',
}
# The tag each bare name stands for in timm 1.0; any 'resnet50.TAG' can be given in full.
TIMM = {
    **dict.fromkeys(('resnet18', 'resnet34', 'resnet50'), 'a1_in1k'),
    **dict.fromkeys(('resnet101', 'resnet152'), 'a1h_in1k'),
    **{f'resnet{depth}d': 'ra2_in1k' for depth in (18, 34, 50, 101, 152)},
}

SCHEMES = ('open-mmlab://', 'openmmlab://', 'torchvision://', 'timm://', 'hf://')
STORES = ('s3', 's3a', 'gs', 'gcs', 'az', 'abfs', 'memory')
# owner/name, and then perhaps @revision and a file of the repository
_HF = re.compile(r'([\w.-]+/[\w.-]+?)(?:@([\w.-]+))?(?:/([\w./-]+))?')
HF_FILE = 'model.safetensors'
_LONGEST_NAME = 150  # characters; file systems take 255 bytes, '.part.etag' behind it included
_IN_FOLDERS = (HF_FILE, 'pytorch_model.bin')


def _look_up(name: str, table: dict[str, str], scheme: str) -> str:
    if name in table:
        return table[name]
    close = difflib.get_close_matches(name, table, n=1, cutoff=0.3)
    hint = f'the nearest is {scheme}{close[0]}' if close else f'known are {", ".join(table)}'
    raise CheckpointError(f'{scheme}{name}: there are no such weights; {hint}.')


def resolve_url(source: str) -> str | None:
    """The URL behind ``source``, or None when it is a path on this machine."""
    if source.startswith(('http://', 'https://')):
        return source
    scheme, separator, name = source.partition('://')
    if not separator:
        return None
    if scheme in ('open-mmlab', 'openmmlab'):
        return _OPEN_MMLAB + _look_up(name, OPEN_MMLAB, f'{scheme}://')
    if scheme == 'torchvision':
        return _TORCHVISION + _look_up(name, TORCHVISION, 'torchvision://')
    if scheme == 'timm':
        full = name if '.' in name else f'{name}.{_look_up(name, TIMM, "timm://")}'
        return _TIMM.format(full)
    if scheme == 'hf':
        found = _HF.fullmatch(name)
        if not found or '..' in name:
            raise CheckpointError(f'{source}: write hf://OWNER/NAME, or hf://OWNER/NAME/FILE.')
        host = os.environ.get('HF_ENDPOINT', 'https://huggingface.co').rstrip('/')
        return f'{host}/{found[1]}/resolve/{found[2] or "main"}/{found[3] or HF_FILE}'
    if scheme in STORES:
        return source
    raise CheckpointError(
        f'{source}: the scheme {scheme!r} is unknown; give a path, http(s)://, s3://, or one of '
        f'{", ".join(SCHEMES)}.'
    )


def cache_dir() -> Path:
    """``$SEGKIT_CACHE``, else torch's own folder, where older toolboxes left their downloads."""
    own = os.environ.get('SEGKIT_CACHE')
    if own:
        return Path(own).expanduser()
    root = os.environ.get('TORCH_HOME')
    root = root or os.path.join(os.environ.get('XDG_CACHE_HOME', '~/.cache'), 'torch')
    return Path(root).expanduser() / 'hub' / 'checkpoints'


def _cache_name(url: str) -> str:
    """The file's own name if it carries a hash; else one that also depends on the whole URL.

    Every ``latest.pth`` or ``model.safetensors`` of the world would share one cache entry.
    """
    name = re.split('[?#]', url)[0].rsplit('/', 1)[-1]
    if name in ('', '.', '..'):
        raise CheckpointError(f'{without_secrets(url)}: the address names no file.')
    if expected_hash(name) and len(name) <= _LONGEST_NAME:
        return name
    number = hashlib.sha256(url.encode('utf-8', 'surrogateescape')).hexdigest()[:12]
    return f'{number}_{re.sub(r"[^!-~]", "_", name)[-_LONGEST_NAME:]}'


def cached_at(source: str | Path) -> Path:
    """Where the file of ``source`` lies, or would once it is downloaded.

    Of a folder with ``model.safetensors`` or ``pytorch_model.bin`` in it, as the hub's libraries
    save them, that file.
    """
    url = resolve_url(str(source))
    if url is not None:
        return cache_dir() / _cache_name(url)
    try:
        path = Path(source).expanduser()
        return next((path / name for name in _IN_FOLDERS if (path / name).is_file()), path)
    except (OSError, RuntimeError) as error:  # a name that is too long; the home of nobody
        said = getattr(error, 'strerror', None) or error
        raise CheckpointNotFoundError(f'{source}: there is no such checkpoint ({said}).') from None


def local_file(source: str | Path) -> Path:
    """The local path of ``source``, downloaded into the cache first when it is a name or URL."""
    url = resolve_url(str(source))
    if url is not None and url.startswith(tuple(f'{scheme}://' for scheme in STORES)):
        return _from_store(url)
    return cached_at(source) if url is None else fetch(url, cached_at(source))


def _from_store(address: str) -> Path:
    """An object of a store, which may be replaced under its name: the cache knows its version."""
    version = stores.version_of(address)
    number = hashlib.sha256(f'{address} {version}'.encode()).hexdigest()[:12]
    path = cache_dir() / f'{number}_{address.rpartition("/")[2]}'
    if not path.is_file():
        stores.get_file(address, version, path)
    return path
