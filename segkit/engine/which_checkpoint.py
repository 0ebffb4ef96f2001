"""The checkpoint that is meant by a path, a work directory, an address or a URL."""

import re
from collections.abc import Iterable
from pathlib import Path

from mmengine.config import Config

from segkit.command import command
from segkit.engine.checkpoints import candidates
from segkit.engine.remote_folder import RemoteFolder
from segkit.storage import is_remote
from segkit.weights import CheckpointNotFoundError
from segkit.weights.sources import cached_at, resolve_url

_FILES = ('.pth', '.pt', '.bin', '.safetensors')


def require_checkpoint(path: str, cfg: Config | None = None) -> str:
    """``path`` if it can be one; of a work directory, its best checkpoint or else its last.

    Where there are best ones by several scalars, ``save_best`` of ``cfg`` says which counts.

    Raises:
        CheckpointNotFoundError: before anything is built, a local path that is not there.
    """
    if is_remote(path) and not path.endswith(_FILES) and resolve_url(path) == path:
        return _in_store(path, cfg)
    if '://' in path or Path(path).is_file():
        return path
    if Path(path).is_dir():
        found = _best_first(Path(path).glob('best_*.pth'), cfg) or candidates(path)
        if found:
            return str(found[0])
        if cached_at(path) != Path(path):
            return str(cached_at(path))
        raise CheckpointNotFoundError(
            f'{path}: this folder holds no checkpoint (*.pth, model.safetensors) yet'
        )
    raise CheckpointNotFoundError(
        f'{path}: there is no such checkpoint. Train one with `{command("train", "CONFIG")}`, or '
        'give the path or URL of a published one'
    )


def _in_store(address: str, cfg: Config | None) -> str:
    """As ``require_checkpoint``, of a work directory in a store."""
    folder = RemoteFolder(address)
    names = sorted(folder.checkpoints())
    best = _best_first([Path(name) for name in names if name.startswith('best_')], cfg)
    noted = [Path(name) for name in names if name == folder.noted()]
    found = best or noted or candidates(address, names=names)
    if not found:
        raise CheckpointNotFoundError(f'{address}: there is no checkpoint (*.pth) in it')
    return f'{folder.address}/{found[0].name}'


def _best_first(found: Iterable[Path], cfg: Config | None) -> list[Path]:
    """By the place of their scalar in ``save_best``, then by falling iteration or epoch."""
    hook = ((cfg or {}).get('default_hooks') or {}).get('checkpoint') or {}
    wanted = hook.get('save_best') or []
    names = [n.replace('/', '_') for n in ([wanted] if isinstance(wanted, str) else wanted)]

    def order(path: Path) -> tuple[int, int]:
        match = re.fullmatch(r'best_(.+)_[a-z]+_(\d+)', path.stem)
        name, number = (match[1], int(match[2])) if match else ('', 0)
        return names.index(name) if name in names else len(names), -number

    return sorted(sorted(found), key=order)
