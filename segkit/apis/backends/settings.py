"""Which engine runs a network, in which precision, and what of it cannot be."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segkit.errors import UserError

if TYPE_CHECKING:
    from torch import nn

# What each computes in; the first is exact to float32 rounding and the default.
BACKENDS = {
    'torch': ('fp32', 'bf16'),
    'compile': ('fp32', 'bf16'),
    'onnxruntime': ('fp32', 'int8'),
    'openvino': ('fp32', 'bf16', 'int8'),
}
PRECISIONS = ('fp32', 'bf16', 'int8')
# What pip has to install for an engine that works on exported networks.
PACKAGES = {
    'onnxruntime': ('onnx', 'onnxscript', 'onnxruntime'),
    'openvino': ('onnx', 'onnxscript', 'onnxruntime', 'openvino'),  # which checks and quantises
}
SUFFIX = '.onnx'


class BackendError(UserError):
    """An engine that is not there, or that cannot run this network as asked."""


@dataclass(frozen=True)
class Settings:
    """An engine and how it is to run; pictures are prepared, resized and averaged by the same code.

    Args:
        backend: 'torch' (the default), 'compile', 'onnxruntime' (the default of an .onnx file) or
            'openvino'. The last two run an export, which is made once and kept by the checkpoint.
        precision: 'fp32' gives PyTorch's results to rounding. 'bf16' (not onnxruntime) and 'int8'
            (the last two) change them.
        fixed_sizes: make the network anew for each size of its input, instead of once for all.
        calibration: int8: pictures of the training set that ranges of values are taken from.
    """

    backend: str = 'torch'
    precision: str = 'fp32'
    fixed_sizes: bool = False
    calibration: int = 32

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise BackendError(f'backend={self.backend!r} is none of {", ".join(BACKENDS)}.')
        if self.precision not in PRECISIONS:
            raise BackendError(f'precision={self.precision!r} is none of {", ".join(PRECISIONS)}.')
        if self.precision not in BACKENDS[self.backend]:
            able = able_to(self.precision)
            raise BackendError(
                f'precision={self.precision!r}: backend={self.backend!r} computes in '
                f'{" or ".join(BACKENDS[self.backend])}; choose one of them, or the backend '
                f'{" or ".join(able)}.'
            )
        if self.calibration < 1:
            raise BackendError(f'calibration={self.calibration} must be 1 or more pictures.')
        if self.backend == 'torch' and self.fixed_sizes:
            raise BackendError(
                "fixed_sizes: backend='torch' takes any size as it is; leave it out, or choose "
                'another backend.'
            )

    @property
    def plain(self) -> bool:
        """Whether it is PyTorch as it is."""
        return (self.backend, self.precision) == ('torch', 'fp32')

    @property
    def name(self) -> str:
        """'onnxruntime, int8'."""
        return f'{self.backend}, {self.precision}'


def able_to(precision: str) -> list[str]:
    """The backends that compute in it."""
    return [name for name, known in BACKENDS.items() if precision in known]


def is_exported(checkpoint: str | Path | None) -> bool:
    """Whether it is a file of an exported network, not one of weights."""
    return checkpoint is not None and Path(str(checkpoint)).suffix.lower() == SUFFIX


def chosen(
    backend: str | None,
    checkpoint: str | Path | None,
    precision: str = 'fp32',
    fixed_sizes: bool = False,
    calibration: int = 32,
) -> Settings:
    """The settings; without a ``backend`` PyTorch, and onnxruntime for an exported network.

    Raises:
        BackendError: they contradict each other, or the file.
    """
    exported = is_exported(checkpoint)
    backend = backend or ('onnxruntime' if exported else 'torch')
    if exported and backend not in PACKAGES:
        raise BackendError(
            f'{checkpoint}: an exported network is run by {" or ".join(PACKAGES)}, and backend='
            f'{backend!r} was asked for; choose one of them, or give the checkpoint.'
        )
    if exported and precision in PRECISIONS and backend not in able_to(precision):
        able = [name for name in able_to(precision) if name in PACKAGES]
        raise BackendError(
            f'{checkpoint}: backend={backend!r} computes an exported network in '
            f'{" or ".join(BACKENDS[backend])}, and precision={precision!r} was asked for; choose '
            f'backend={" or ".join(map(repr, able))} for it.'
        )
    if exported and fixed_sizes:
        raise BackendError(
            f'{checkpoint}: has the sizes it was exported with; leave fixed_sizes out, or give the '
            'checkpoint.'
        )
    return Settings(backend, precision, fixed_sizes, calibration)


def with_backend(
    model: 'nn.Module', settings: Settings, checkpoint: str | Path | None
) -> 'nn.Module':
    """``model``, run as ``settings`` say; nothing is imported for PyTorch as it is."""
    if settings.plain:
        return model
    from .install import use_engine, use_file

    if checkpoint is not None and is_exported(checkpoint):
        return use_file(model, checkpoint, settings)
    return use_engine(model, settings, checkpoint)
