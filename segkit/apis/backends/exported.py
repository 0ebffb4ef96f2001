"""The exported network of a checkpoint: its name, and how it is made.

The name of a kept file ends with a hash of all it was made from: weights, config, the code of the
network and the versions of the exporters. What changed makes another file; none is ever stale.
"""

import ast
import hashlib
import inspect
import json
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

import segkit
from segkit.apis.export import ExportError, export_model
from segkit.engine.config import without

from .kept import stem_of
from .sessions import needed
from .settings import PACKAGES, SUFFIX, BackendError, Settings

if TYPE_CHECKING:
    from segkit.apis.model import ReadyNetwork

EXAMPLE = (128, 160)  # size of the pictures that an export of open sizes is made and compared with
_CODE = ('models', 'ops', 'apis/export', 'apis/backends')  # folders of segkit a graph comes from
_STARTS = ('pretrained', 'init_cfg', 'checkpoint_path')


def name_of(
    model: nn.Module,
    settings: Settings,
    checkpoint: str | Path | None,
    size: tuple[int, int] | None,
) -> str:
    """The name of the ONNX file of ``model``, logits on the head's grid out.

    Args:
        size: (H, W) of its input; None leaves size and number of pictures open.
    """
    for package in PACKAGES[settings.backend]:
        needed(package, settings.backend)
    sizes = 'open' if size is None else f'{size[0]}x{size[1]}'
    return f'{stem_of(checkpoint)}-{sizes}-{key_of(model, sizes)}{SUFFIX}'


def export_to(file: Path, model: nn.Module, size: tuple[int, int] | None, backend: str) -> None:
    """Write that file.

    Raises:
        BackendError: it cannot be exported, or disagrees with the network.
    """
    is_open = size is None
    print(f'{backend}: exporting the network, once; it is kept as {file.name}')
    try:
        export_model(
            model, file, 'onnx', size or EXAMPLE, dynamic=is_open, open_batch=is_open, grid=True
        )
    except ExportError as error:
        cure = ' Sizes can be fixed: fixed_sizes=True, --fixed-sizes.' if is_open else ''
        raise BackendError(f"backend={backend!r}: {error}{cure} Or use backend='torch'.") from error


def key_of(model: nn.Module, sizes: str) -> str:
    """16 hex digits of everything that the exported network depends on."""
    import onnx
    import onnxscript

    digest = hashlib.blake2b(digest_size=8)
    versions = [segkit.__version__, torch.__version__, onnx.__version__, onnxscript.__version__]
    cfg = cast('ReadyNetwork', model).cfg.model
    # What weights started from, a checkpoint replaced.
    parts = {name: cfg.get(name) for name in ('backbone', 'neck', 'decode_head')}
    settings = json.dumps(without(parts, _STARTS), sort_keys=True, default=_named)
    for text in (*versions, sizes, settings, *sorted(_code(model))):
        digest.update(text.encode('utf-8', 'surrogateescape') + b'\0')
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith('auxiliary_head.'):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy())
    return digest.hexdigest()


def _named(value: object) -> str:
    """A value of a config that JSON has no word for; never by its place in memory."""
    name = getattr(value, '__qualname__', None)
    if name is not None:
        return f'{getattr(value, "__module__", "")}.{name}'
    kind = type(value)
    return str(value) if kind.__repr__ is not object.__repr__ else kind.__qualname__


def _code(model: nn.Module) -> Iterator[str]:
    """Hashes of the source files that the network's graph comes from: of a user's modules also of
    what these import, of an installed package's its version."""
    root = Path(segkit.__file__).parent
    files = {path for folder in _CODE for path in (root / folder).rglob('*.py')}
    names = {type(module).__module__ for module in model.modules()} & set(sys.modules)
    used = _with_imports({sys.modules[n] for n in names if _root(n) not in ('torch', 'segkit')})
    for module in used:
        yield str(getattr(sys.modules.get(_root(module.__name__)), '__version__', ''))
        files |= {path for path in [_source(module)] if path}
    yield from (hashlib.blake2b(path.read_bytes()).hexdigest() for path in files if path.exists())


def _with_imports(modules: set[ModuleType]) -> set[ModuleType]:
    """``modules``, and files of the user's own that these import, wherever in them."""
    found: set[ModuleType] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        if _is_own(module):
            imported = (sys.modules.get(name) for name in _imports(module))
            waiting += [other for other in imported if other is not None and _is_own(other)]
    return found


def _imports(module: ModuleType) -> Iterator[str]:
    """Names of modules that a module's source imports; some are of what is in one."""
    path = _source(module)
    if path is None or not path.exists():
        return
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module.__spec__.parent if module.__spec__ else None
            base = '.' * node.level + (node.module or '')
            base = resolve_name(base, package) if node.level and package else base
            yield from (base, *(f'{base}.{alias.name}' for alias in node.names))


def _is_own(module: ModuleType) -> bool:
    """Whether it is a file of the user's, neither installed nor of Python, torch or segkit."""
    if _root(module.__name__) in sys.stdlib_module_names | {'segkit', 'torch'}:
        return False
    path = _source(module)
    return path is not None and not {'site-packages', 'dist-packages'} & set(path.parts)


def _root(name: str) -> str:
    return name.partition('.')[0]


def _source(module: ModuleType) -> Path | None:
    try:
        file = inspect.getsourcefile(module)
    except TypeError:  # built in
        return None
    return Path(file) if file else None
