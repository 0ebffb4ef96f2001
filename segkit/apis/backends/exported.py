"""The exported network of a checkpoint, made once and kept beside it; what a file says of itself.

The name of a kept file ends with a hash of all it was made from: weights, config, the code of the
network and the versions of the exporters. What changed makes another file; none is ever stale.
"""

import hashlib
import inspect
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import nn

import segkit
from segkit.apis.export import ExportError, export_model
from segkit.engine.config import without
from segkit.json_file import parse_json
from segkit.weights import CheckpointNotFoundError
from segkit.weights.sources import cache_dir, cached_at

from .sessions import needed
from .settings import PACKAGES, SUFFIX, BackendError, Settings

if TYPE_CHECKING:
    from segkit.apis.model import ReadyNetwork

EXAMPLE = (128, 160)  # size of the pictures that an export of open sizes is made and compared with
_CODE = ('models', 'ops', 'apis/export', 'apis/backends')  # folders of segkit a graph comes from
_STARTS = ('pretrained', 'init_cfg', 'checkpoint_path')
_temporary: list[tempfile.TemporaryDirectory] = []  # of networks without a checkpoint


class Facts(NamedTuple):
    """What a file says of itself: what goes in and out; ``meta``: classes and palette."""

    normalize: bool
    argmax: bool
    meta: dict[str, object]


def read_facts(file: Path, backend: str) -> Facts:
    """Facts of an .onnx of ours; of another's, that it takes normalised pictures to logits."""
    onnx = needed('onnx', backend)
    if not file.is_file():
        raise CheckpointNotFoundError(
            f'{file}: there is no such file. Write one with `segkit export`, or give a checkpoint'
        )
    try:
        model = onnx.load(str(file), load_external_data=False)
        said = {prop.key: prop.value for prop in model.metadata_props}
        ways = cast(dict, parse_json(said.get('segkit_export', '{}'), file))
        meta = {key: parse_json(said[key], file) for key in ('classes', 'palette') if key in said}
        argmax = ways.get('argmax', model.graph.output[0].name == 'classes')
    except Exception as error:  # protobuf's own among them
        reason = ' '.join(str(error).split())[:200]
        raise BackendError(
            f'{file}: is no ONNX file, or not whole ({reason}). Export the network again.'
        ) from error
    return Facts(bool(ways.get('normalize')), bool(argmax), meta)


def export_cached(
    model: nn.Module,
    settings: Settings,
    checkpoint: str | Path | None,
    size: tuple[int, int] | None,
) -> Path:
    """The ONNX file of ``model``, logits on the head's grid out; exported unless it is there.

    Args:
        checkpoint: beside which it is kept, or in the cache of downloads where nothing can be
            written; of random weights (None) it goes when the process does.
        size: (H, W) of its input; None leaves size and number of pictures open.

    Raises:
        BackendError: it cannot be exported, or disagrees with the network.
    """
    for package in PACKAGES[settings.backend]:
        needed(package, settings.backend)
    sizes = 'open' if size is None else f'{size[0]}x{size[1]}'
    stem = 'network' if checkpoint is None else cached_at(checkpoint).stem
    folder = place_of(checkpoint)
    file = folder / f'{stem}-{sizes}-{key_of(model, sizes)}{SUFFIX}'
    if not file.exists():
        with drafted(file) as draft:
            _export(model, draft, size, settings.backend)
    return file


def _export(model: nn.Module, file: Path, size: tuple[int, int] | None, backend: str) -> None:
    is_open = size is None
    print(f'{backend}: exporting the network, once; it is kept as {file.name}')
    try:
        export_model(
            model, file, 'onnx', size or EXAMPLE, dynamic=is_open, open_batch=is_open, grid=True
        )
    except ExportError as error:
        cure = ' Sizes can be fixed: fixed_sizes=True, --fixed-sizes.' if is_open else ''
        raise BackendError(f"backend={backend!r}: {error}{cure} Or use backend='torch'.") from error


@contextmanager
def drafted(file: Path) -> Iterator[Path]:
    """A place of the same name to write to; what is written there becomes ``file`` at the end."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix='.draft-') as folder:
        yield Path(folder) / file.name
        (Path(folder) / file.name).replace(file)


def place_of(checkpoint: str | Path | None) -> Path:
    """The folder where what is made of a checkpoint is kept."""
    if checkpoint is None:
        _temporary.append(tempfile.TemporaryDirectory(prefix='segkit-engine-'))
        return Path(_temporary[-1].name)
    folder = cached_at(checkpoint).parent
    return folder if os.access(folder, os.W_OK) else cache_dir()


def key_of(model: nn.Module, sizes: str) -> str:
    """16 hex digits of everything that the exported network depends on."""
    import onnx
    import onnxscript

    digest = hashlib.blake2b(digest_size=8)
    versions = [segkit.__version__, torch.__version__, onnx.__version__, onnxscript.__version__]
    cfg = cast('ReadyNetwork', model).cfg.model
    # What weights started from, a checkpoint replaced.
    parts = {name: cfg.get(name) for name in ('backbone', 'neck', 'decode_head')}
    settings = json.dumps(without(parts, _STARTS), sort_keys=True, default=str)
    for text in (*versions, sizes, settings, *sorted(_code(model))):
        digest.update(text.encode('utf-8', 'surrogateescape') + b'\0')
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith('auxiliary_head.'):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy())
    return digest.hexdigest()


def _code(model: nn.Module) -> Iterator[str]:
    """Hashes of the source files that the network's graph comes from, a user's modules included."""
    root = Path(segkit.__file__).parent
    files = {path for folder in _CODE for path in (root / folder).rglob('*.py')}
    for kind in {type(module) for module in model.modules()}:
        if (
            kind.__module__.split('.')[0] not in ('torch', 'segkit')
            and kind.__module__ in sys.modules
        ):
            file = inspect.getsourcefile(sys.modules[kind.__module__])
            files |= {Path(file)} if file else set()
    yield from (hashlib.blake2b(path.read_bytes()).hexdigest() for path in files if path.exists())
