"""What an exported file says of itself, and whether it can stand for a config's network."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from torch import nn

from segkit.json_file import parse_json
from segkit.models.segmentors import EncoderDecoder
from segkit.weights import CheckpointNotFoundError

from .sessions import needed
from .settings import BackendError

if TYPE_CHECKING:
    import onnx

    from segkit.apis.model import ReadyNetwork

_FLOATS = (1, 10)  # float32 and float16 among the element types of ONNX
_PROBABILITIES = ('Softmax', 'Sigmoid')
_PREPARED = ('mean', 'std', 'bgr_to_rgb', 'rgb_to_bgr')  # what of a data preprocessor


class Facts(NamedTuple):
    """What a file says of itself: what goes in and out.

    Attributes:
        meta: classes and palette. model: config of the network it was exported from; of others'
            files both are empty. classes: channels that come out, None where that is open.
    """

    normalize: bool
    argmax: bool
    grid: bool
    meta: dict[str, object]
    model: dict
    classes: int | None


def read_facts(file: Path, backend: str) -> Facts:
    """Facts of an .onnx of ours; of another's, that it takes normalised pictures to logits.

    Raises:
        BackendError: it is no ONNX file, or none from one batch of pictures to logits.
    """
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
        ours = cast(dict, parse_json(said.get('segkit_model', '{}'), file))
        argmax = ways.get('argmax', model.graph.output[0].name == 'classes')
    except Exception as error:  # protobuf's own among them
        reason = ' '.join(str(error).split())[:200]
        raise BackendError(
            f'{file}: is no ONNX file, or not whole ({reason}). Export the network again.'
        ) from error
    _refuse_classes(file, bool(argmax))
    _refuse_inputs(file, model.graph)
    channels = _channels_out(file, model.graph)
    normalize, grid = bool(ways.get('normalize')), bool(ways.get('grid'))
    return Facts(normalize, bool(argmax), grid, meta, ours, channels)


def _refuse_classes(file: Path, argmax: bool) -> None:
    if argmax:
        raise BackendError(
            f'{file}: gives classes, and predicting needs logits, which it resizes and averages; '
            'export it without --argmax.'
        )


def _refuse_inputs(file: Path, graph: 'onnx.GraphProto') -> None:
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    kinds = [value.type.tensor_type.elem_type for value in inputs]
    if len(inputs) != 1 or kinds[0] not in _FLOATS:
        raise BackendError(
            f'{file}: its inputs are {", ".join(value.name for value in inputs) or "none"}, and it '
            'has to take one: pictures (N, C, H, W) of float32 or float16. Export that alone.'
        )


def _channels_out(file: Path, graph: 'onnx.GraphProto') -> int | None:
    """Channels of the logits, the first output; None where they are open."""
    output = graph.output[0]
    kind = output.type.tensor_type
    axes = kind.shape.dim if kind.HasField('shape') else None
    if kind.elem_type not in _FLOATS or (axes is not None and len(axes) != 4):
        shape = [axis.dim_value or axis.dim_param or '?' for axis in axes or ()]
        raise BackendError(
            f'{file}: its output {output.name} is of shape {shape}, and predicting needs logits '
            '(N, K, H, W) of float32 or float16, which it resizes and averages. Export them.'
        )
    last = next((node for node in graph.node if output.name in node.output), None)
    if last is not None and last.op_type in _PROBABILITIES:
        raise BackendError(
            f'{file}: ends with {last.op_type}, and predicting needs logits, of which it makes '
            f'probabilities by itself; export the network without its last {last.op_type}.'
        )
    return (axes[1].dim_value or None) if axes is not None else None


def check_facts(model: nn.Module, facts: Facts, file: Path) -> None:
    """Whether the network in ``file`` is one that the config describes.

    Raises:
        BackendError: it tells other classes apart. Warns where its own config prepared pictures
            otherwise.
    """
    segmentor = cast(EncoderDecoder, model)
    if facts.classes not in (None, segmentor.out_channels):
        raise BackendError(
            f'{file}: gives {facts.classes} channels of logits, and the decode_head of the config '
            f'{segmentor.out_channels}. Give the config of the network that was exported.'
        )
    cfg = cast('ReadyNetwork', model).cfg.model
    differ = [key for key, theirs, ours in _pairs(cfg, facts) if theirs != ours]
    if facts.model and differ:
        warnings.warn(
            f'{file}: was exported from a network with another {", ".join(differ)} than the config '
            'has, and the config is followed. Give the config of the network that was exported.',
            stacklevel=2,
        )


def _pairs(cfg: Mapping, facts: Facts) -> list[tuple[str, object, object]]:
    """(key, the file's value, the config's) of what decides how pictures go in and logits out."""
    keys = [f'data_preprocessor.{name}' for name in _PREPARED]
    if facts.normalize:
        keys = keys[2:]  # mean and std are in the graph
    if facts.grid:
        keys.append('decode_head.align_corners')
    return [(key, _at(facts.model, key), _at(cfg, key)) for key in keys]


def _at(cfg: Mapping, key: str) -> object:
    part, name = key.split('.')
    value = (cfg.get(part) or {}).get(name)
    return list(value) if isinstance(value, list | tuple) else (value or None)
