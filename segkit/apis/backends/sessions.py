"""From an ONNX file to a function from pictures to logits, one reader an engine.

The file's input is ``image`` (N, C, H, W) float32; an axis is a number, or a name where it is open.
"""

import importlib
import platform
import warnings
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
        BackendError: the engine is not installed, or refuses the file; so does the function where
            the engine stops.
    """
    reader = {'onnxruntime': _onnxruntime, 'openvino': _openvino}[settings.backend]
    engine = needed(settings.backend, settings.backend)
    name = f'{settings.backend} {getattr(engine, "__version__", "of unknown version")}'
    try:
        run, axes = reader(engine, file, settings)
    except BackendError:
        raise
    except Exception as error:
        raise BackendError(
            f'{file}: {name} cannot run it ({_reason(error)}). A newer one may: pip install '
            f'--upgrade {settings.backend}. Of a file of your own look at how it was exported.'
        ) from error

    def named(image: Tensor) -> Tensor:
        try:
            return run(image)
        except Exception as error:
            shape = 'x'.join(map(str, image.shape))
            raise BackendError(
                f'{file}: {name} stopped at pictures of {shape} ({_reason(error)}). If it is '
                'memory, smaller windows or a smaller batch need less of it; PyTorch runs the '
                "checkpoint of the network with backend='torch'."
            ) from error

    return named, axes


def _reason(error: Exception) -> str:
    return ' '.join(str(error).split())[:300] or type(error).__name__


def needed(module: str, backend: str) -> ModuleType:
    """The module, or a sentence that says how to install what ``backend`` needs."""
    try:
        return importlib.import_module(module)
    except Exception as error:  # whatever a broken installation raises
        if isinstance(error, ModuleNotFoundError) and error.name in (module, None):
            raise BackendError(
                f'backend={backend!r} needs {module}, which is not installed ({error}): '
                f'pip install {" ".join(PACKAGES[backend])}'
            ) from None
        raise BackendError(
            f'backend={backend!r} needs {module}, which is installed and cannot be imported '
            f'({type(error).__name__}: {_reason(error)}): pip install --force-reinstall '
            f'--no-deps {module}, or install what that names.'
        ) from error


def _onnxruntime(engine: ModuleType, file: Path, settings: Settings) -> tuple[Run, Axes]:
    options = engine.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what it logs as an error is raised as well
    if settings.precision == 'int8' and signed.pays():
        for key, value in signed.SESSION.items():
            options.add_session_config_entry(key, value)
    session = engine.InferenceSession(str(file), options, providers=['CPUExecutionProvider'])
    image = session.get_inputs()[0]
    kind = torch.float16 if image.type == 'tensor(float16)' else torch.float32

    def run(batch: Tensor) -> Tensor:
        answer = session.run(None, {image.name: batch.to(kind).numpy()})[0]
        return torch.from_numpy(answer).float()

    return run, image.shape


def _openvino(engine: ModuleType, file: Path, settings: Settings) -> tuple[Run, Axes]:
    core = engine.Core()
    model = core.read_model(str(file))
    # Without the hint OpenVINO takes bfloat16 where the processor has it.
    options: dict[str, object] = {
        'INFERENCE_PRECISION_HINT': 'bf16' if settings.precision == 'bf16' else 'f32',
        'INFERENCE_NUM_THREADS': torch.get_num_threads(),
        'PERFORMANCE_HINT': 'LATENCY',
    }
    if model.is_dynamic():
        # What it keeps of one size it takes for others, too: 2026.4 gave wrong logits after
        # pictures so small that an axis within the network was 1.
        options['CPU_RUNTIME_CACHE_CAPACITY'] = 0
    compiled = core.compile_model(model, 'CPU', options)
    if settings.precision == 'bf16':
        warn_without_bf16('BF16' in core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES'))
    request = compiled.create_infer_request()
    axes = [
        dim.get_length() if dim.is_static else None for dim in model.input(0).get_partial_shape()
    ]

    def run(batch: Tensor) -> Tensor:
        result = request.infer({0: batch.numpy()}, share_inputs=True, share_outputs=False)
        return torch.from_numpy(result[0]).float()

    return run, axes


def warn_without_bf16(there: bool | None = None) -> None:
    """Say where bfloat16 would only cost time.

    Args:
        there: whether the processor computes in it; None asks PyTorch.
    """
    if there is None:
        asked = ('_is_avx512_bf16_supported', '_is_amx_tile_supported')
        known = [getattr(torch.cpu, name) for name in asked if hasattr(torch.cpu, name)]
        is_x86 = platform.machine().lower() in ('x86_64', 'amd64')
        there = not known or not is_x86 or any(is_there() for is_there in known)
    if not there:
        warnings.warn(
            "precision='bf16': this processor does not compute in bfloat16, which is imitated: it "
            "rounds without being faster. precision='fp32' is exact.",
            stacklevel=2,
        )
