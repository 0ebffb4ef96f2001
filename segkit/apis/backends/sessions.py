"""From an ONNX file to a function from pictures to logits, one reader an engine.

The file's input is ``image`` (N, C, H, W) float32; an axis is a number, or a name where it is open.
"""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from . import signed
from .settings import PACKAGES, BackendError, Settings

Run = Callable[[Tensor], Tensor]
Axes = Sequence[int | str | None]


def open_session(file: Path, settings: Settings) -> tuple[Run, Axes]:
    """The function and the axes of its input; as many threads as PyTorch has.

    Raises:
        BackendError: the engine is not installed, or refuses the file.
    """
    reader = {'onnxruntime': _onnxruntime, 'openvino': _openvino}[settings.backend]
    engine = needed(settings.backend, settings.backend)
    try:
        return reader(engine, file, settings)
    except Exception as error:
        reason = ' '.join(str(error).split())[:300]
        raise BackendError(
            f'{file}: {settings.backend} {engine.__version__} cannot run it ({reason}). Delete a '
            'file that segkit keeps beside a checkpoint, it is made again; of one of your own '
            'look at how it was exported.'
        ) from error


def needed(module: str, backend: str) -> ModuleType:
    """The module, or a sentence that says how to install what ``backend`` needs."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BackendError(
            f'backend={backend!r} needs {module}, which is not installed ({error}): '
            f'pip install {" ".join(PACKAGES[backend])}'
        ) from None


def _onnxruntime(engine: ModuleType, file: Path, settings: Settings) -> tuple[Run, Axes]:
    options = engine.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    if settings.precision == 'int8' and signed.pays():
        for key, value in signed.SESSION.items():
            options.add_session_config_entry(key, value)
    session = engine.InferenceSession(str(file), options, providers=['CPUExecutionProvider'])
    (image,) = session.get_inputs()

    def run(batch: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {image.name: batch.numpy()})[0])

    return run, image.shape


def _openvino(engine: ModuleType, file: Path, settings: Settings) -> tuple[Run, Axes]:
    core = engine.Core()
    model = core.read_model(str(file))
    # Without the hint OpenVINO takes bfloat16 where the processor has it.
    request = core.compile_model(
        model,
        'CPU',
        {
            'INFERENCE_PRECISION_HINT': 'bf16' if settings.precision == 'bf16' else 'f32',
            'INFERENCE_NUM_THREADS': torch.get_num_threads(),
            'PERFORMANCE_HINT': 'LATENCY',
        },
    ).create_infer_request()
    axes = [
        dim.get_length() if dim.is_static else None for dim in model.input(0).get_partial_shape()
    ]

    def run(batch: Tensor) -> Tensor:
        result = request.infer({0: batch.numpy()}, share_inputs=True, share_outputs=False)
        return torch.from_numpy(result[0])

    return run, axes
