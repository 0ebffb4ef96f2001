"""One writer and one reader a format; a reader gives a function from image to output."""

import io
import json
import logging
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from segkit import weights
from segkit.apis.inference import pipeline_of
from segkit.engine.untrusted_config import without_reach
from segkit.shared_text import shareable

from .network import ExportedNetwork
from .safetensors_file import model_of

if TYPE_CHECKING:
    import onnx

    from segkit.apis.model import ReadyNetwork

Runner = Callable[[Tensor], Tensor]
AXES = {0: 'batch', 2: 'height', 3: 'width'}  # of the image, those that may stay open


def _open(axes: Sequence[int]) -> tuple[dict[int, object]] | None:
    """``dynamic_shapes`` of torch.export."""
    return (dict.fromkeys(axes, torch.export.Dim.DYNAMIC),) if axes else None


def write_onnx(
    net: ExportedNetwork,
    image: Tensor,
    file: Path,
    axes: Sequence[int],
    meta: Mapping[str, str],
    opset: int | None = None,
) -> None:
    """ONNX through torch.export, standard operators alone; classes and palette as metadata."""
    import onnx

    # It names every operator of torchvision that there is not.
    logging.getLogger('torch.onnx._internal.exporter._registration').setLevel(logging.ERROR)
    output = 'classes' if net.argmax else 'logits'
    program = torch.onnx.export(
        net,
        (image,),
        dynamo=True,
        dynamic_shapes=_open(axes),
        opset_version=opset,
        input_names=['image'],
        output_names=[output],
        verbose=False,
    )
    assert program is not None, 'dynamo=True gives a program'
    model = program.model_proto
    _forget_sources(model.graph)
    for function in model.functions:
        _forget_sources(function)
    _name_axes(model.graph, axes)
    onnx.helper.set_model_props(model, dict(meta))
    onnx.save(model, file)


def _name_axes(graph: 'onnx.GraphProto', axes: Sequence[int]) -> None:
    """Open axes are called batch, height and width wherever torch.export numbered them."""
    dims = graph.input[0].type.tensor_type.shape.dim
    names = {dims[axis].dim_param: AXES[axis] for axis in axes}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in names:
                dim.dim_param = names[dim.dim_param]


def _forget_sources(graph: 'onnx.GraphProto | onnx.FunctionProto') -> None:
    """Each node says which lines of which files on this machine it came from."""
    for part in (graph, *graph.node, *graph.value_info):
        del part.metadata_props[:]


def read_onnx(file: Path) -> Runner:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=['CPUExecutionProvider'])
    return lambda image: torch.from_numpy(session.run(None, {'image': image.numpy()})[0])


def write_torchscript(
    net: ExportedNetwork, image: Tensor, file: Path, axes: Sequence[int], meta: Mapping[str, str]
) -> None:
    """A trace: it holds the size it was traced at."""
    traced = torch.jit.trace(net, image, check_trace=False)
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer, _extra_files=dict(meta))
    with zipfile.ZipFile(buffer) as drawn, zipfile.ZipFile(file, 'w') as kept:
        for part in drawn.infolist():
            if not part.filename.endswith('.debug_pkl'):  # source files of this machine
                kept.writestr(part, drawn.read(part))


def read_torchscript(file: Path) -> Runner:
    return torch.jit.load(str(file)).eval()


def write_torch_export(
    net: ExportedNetwork, image: Tensor, file: Path, axes: Sequence[int], meta: Mapping[str, str]
) -> None:
    """An ExportedProgram (.pt2), for torch alone, ahead-of-time compilation included."""
    program = torch.export.export(net, (image,), dynamic_shapes=_open(axes))
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, 'graph', None), 'nodes', ()):
            node.meta.pop('stack_trace', None)  # source files of this machine
    torch.export.save(program, file, extra_files=dict(meta))


def read_torch_export(file: Path) -> Runner:
    return torch.export.load(file).module()


def write_safetensors(
    net: ExportedNetwork, image: Tensor, file: Path, axes: Sequence[int], meta: Mapping[str, str]
) -> None:
    """The weights; any size goes in when they are loaded into the network again."""
    skipped = ('mean', 'std')  # the data preprocessor's, in no checkpoint
    state = {k: v for k, v in net.state_dict().items() if k not in skipped}
    weights.write_safetensors(state, file, meta)


def read_safetensors(file: Path) -> Runner:
    """Runs the network that the file's own config describes."""
    return ExportedNetwork(model_of(file)[0]).eval()


# format -> packages that write it, or run what was written to compare it with the network
PACKAGES = {'onnx': ('onnx', 'onnxscript', 'onnxruntime')}
FORMATS: dict[str, tuple[Callable[..., None], Callable[[Path], Runner]]] = {
    'onnx': (write_onnx, read_onnx),
    'torchscript': (write_torchscript, read_torchscript),
    'torch_export': (write_torch_export, read_torch_export),
    'safetensors': (write_safetensors, read_safetensors),
}
SUFFIXES = dict(onnx='.onnx', torchscript='.pt', torch_export='.pt2', safetensors='.safetensors')


def load_exported(file: str | Path, format: str) -> Runner:
    """A function image (1, C, H, W) float32 -> output, from a file of ``export_model``."""
    return FORMATS[format][1](Path(file))


def metadata(model: nn.Module, net: ExportedNetwork) -> dict[str, str]:
    """Classes, palette, the model's config and what goes in and out as JSON: data that a reader
    parses, never code."""
    network = cast('ReadyNetwork', model)
    meta = network.dataset_meta or {}
    entries: dict[str, object] = {k: list(meta[k]) for k in ('classes', 'palette') if meta.get(k)}
    entries['segkit_export'] = dict(normalize=net.normalize, argmax=net.argmax, grid=net.grid)
    entries['segkit_model'] = shareable(without_reach(network.cfg.model))
    entries['segkit_test_pipeline'] = shareable(without_reach(pipeline_of(network.cfg)))
    return {'format': 'pt', **{key: json.dumps(value) for key, value in entries.items()}}
