"""Put an engine in the place of a model's network; its way of predicting stays as it is.

Legend: N pictures of C channels, K classes; (H, W) what the network is fed, (h, w) its grid.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from segkit.apis.export import ExportedNetwork
from segkit.apis.inference import input_channels
from segkit.models.inference.fuse import fuse_conv_bn
from segkit.models.segmentors import EncoderDecoder
from segkit.weights.sources import local_file

from .calibration import quantised
from .exported import export_to, name_of
from .facts import check_facts, read_facts
from .kept import kept
from .sessions import Axes, Run, open_session, warn_without_bf16
from .settings import BackendError, Settings
from .steps import refuse_steps

if TYPE_CHECKING:
    from segkit.apis.model import ReadyNetwork

_KEPT_SIZES = 8  # networks made for one size each that are held at a time


class EngineNetwork(nn.Module):
    """In the place of a backbone: pictures (N, C, H, W) to logits (N, K, h, w), both float32."""

    def __init__(self, run: Run, channels: int, name: str) -> None:
        super().__init__()
        self.run, self.input_channels, self.name = run, channels, name
        # Who asks a model for the device and the type of its weights is told float32 on the CPU.
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)

    def forward(self, image: Tensor) -> Tensor:
        if self.training:
            raise BackendError(
                f'backend={self.name!r} runs a trained network; train with PyTorch, or call '
                'model.eval() before predicting.'
            )
        return self.run(image.detach().float().contiguous())

    def extra_repr(self) -> str:
        return self.name


def use_engine(
    model: nn.Module, settings: Settings, checkpoint: str | Path | None = None
) -> nn.Module:
    """Let ``model`` (of ``init_model``, in evaluation) be run as ``settings`` say, in place.

    Args:
        checkpoint: where its weights are from: what is exported is kept beside it.

    Raises:
        BackendError: the engine is not installed, or cannot run this network.
    """
    if settings.backend == 'torch':
        return _in_bf16(model) if settings.precision == 'bf16' else model
    if _is_installed(model, settings):
        return model
    _refuse(model, settings)
    fuse_conv_bn(model)
    whole = _with_parts_of(model)
    if settings.backend == 'compile':
        from .compiled import compiled

        run = compiled(ExportedNetwork(whole, grid=True).eval(), settings)
        return _install(model, run, settings)

    def run_of(size: tuple[int, int] | None) -> Run:
        name = name_of(whole, settings, checkpoint, size)
        make = partial(export_to, model=whole, size=size, backend=settings.backend)
        opened = partial(_run_of, whole, settings=settings, normalize=False)
        return kept(name, checkpoint, make, lambda file: opened(file))

    return _install(model, _OfSizes(run_of) if settings.fixed_sizes else run_of(None), settings)


def use_file(model: nn.Module, file: str | Path, settings: Settings) -> nn.Module:
    """Let the network in an exported ``file`` (.onnx) take the place of that of ``model``, whose
    weights may be anything.

    Raises:
        BackendError: the engine is not installed or refuses the file; it gives classes, not
            logits, or those of another network.
    """
    if _is_installed(model, settings):
        return model
    file = local_file(file)
    facts = read_facts(file, settings.backend)
    _refuse(model, settings)
    check_facts(model, facts, file)
    network = cast('ReadyNetwork', model)
    network.dataset_meta = {**(getattr(model, 'dataset_meta', None) or {}), **facts.meta}
    return _install(model, _run_of(model, file, settings, facts.normalize), settings)


def _run_of(model: nn.Module, file: Path, settings: Settings, normalize: bool) -> Run:
    """The function of an ONNX file with logits; for int8 of what is quantised of it."""
    if settings.precision == 'int8':
        exact, axes = open_session(file, Settings(settings.backend))
        exact = _fitting(exact, axes, file)

        def watched(see: Callable[[Tensor], None]) -> nn.Module:
            """The model as it is exactly, telling ``see`` of each batch that the graph is given."""

            def run(image: Tensor) -> Tensor:
                image = _resized(image, axes)
                see(image)
                return exact(image)

            copied = _with_parts_of(model)
            return _install(copied, _undoing(run, model, normalize), settings)

        cfg = cast('ReadyNetwork', model).cfg
        opened = partial(_opened, settings=settings)
        run = quantised(file, settings, cfg, watched, opened)
    else:
        run = _opened(file, settings)
    return _undoing(_checked(run, model, file), model, normalize)


def _checked(run: Run, model: nn.Module, file: Path) -> Run:
    """``run``, whose logits are counted: a file may leave them open."""
    wanted = cast(EncoderDecoder, model).out_channels

    def counted(image: Tensor) -> Tensor:
        logits = run(image)
        if logits.dim() == 4 and logits.shape[1] == wanted and logits.numel():
            return logits
        if not logits.numel():
            size = f'{image.shape[2]}x{image.shape[3]}'
            raise BackendError(f'{file}: pictures or windows of {size} are too small for it.')
        raise BackendError(
            f'{file}: gave logits of {"x".join(map(str, logits.shape))}, and the config has a head '
            f'of (N, {wanted}, h, w). Give the config of the network that was exported.'
        )

    return counted


def _opened(file: Path, settings: Settings) -> Run:
    return _fitting(*open_session(file, settings), file)


def _resized(image: Tensor, axes: Axes) -> Tensor:
    """Pictures (N, C, H, W) of the height and width that a graph takes, where it takes one alone:
    a view of another scale, or the training set's pictures, show ranges of values in any size."""
    size = [axis if isinstance(axis, int) else n for axis, n in zip(axes[2:], image.shape[2:])]
    if size == list(image.shape[2:]):
        return image
    return functional.interpolate(image, size, mode='bilinear', antialias=True)


def _with_parts_of(model: nn.Module) -> nn.Module:
    """The model once more, of the same parts, which may be exchanged without the other's."""
    copied = copy.copy(model)
    copied._modules = dict(model._modules)
    return copied


def _refuse(model: nn.Module, settings: Settings) -> None:
    """What an exported network cannot stand for: steps written anew, other devices."""
    if not isinstance(model, EncoderDecoder):
        raise BackendError(
            f'backend={settings.backend!r} runs an EncoderDecoder, and this is a '
            f"{type(model).__name__}; use backend='torch'."
        )
    refuse_steps(model, settings)
    device = next(model.parameters()).device
    if device.type != 'cpu' and settings.backend != 'compile':
        raise BackendError(
            f"backend={settings.backend!r} runs on the CPU here, and device='{device}' was asked "
            "for; use device='cpu' (CUDA_VISIBLE_DEVICES=-1 before a command), or "
            "backend='torch'."
        )


def _in_bf16(model: nn.Module) -> nn.Module:
    segmentor = cast(EncoderDecoder, model)
    if next(model.parameters()).device.type == 'cpu':
        warn_without_bf16()
    segmentor.autocast_dtype = torch.bfloat16
    return model


def _is_installed(model: nn.Module, settings: Settings) -> bool:
    """Whether this engine is in the model already, as for a second test of one Runner."""
    backbone = getattr(model, 'backbone', None)
    if not isinstance(backbone, EngineNetwork):
        return False
    if backbone.name != settings.name:
        raise BackendError(
            f'backend={settings.backend!r}: this model is run by {backbone.name} already, which '
            'took the place of its weights; build it anew with init_model.'
        )
    return True


def _install(model: nn.Module, run: Run, settings: Settings) -> nn.Module:
    """The engine for the backbone, and a head without weights, which nobody reads any more."""
    segmentor = cast(EncoderDecoder, model)
    head = copy.copy(segmentor.decode_head)
    head._parameters, head._buffers = {}, {}
    head._forward_hooks, head._forward_pre_hooks = OrderedDict(), OrderedDict()  # are in the graph
    head._modules = {n: m for n, m in head._modules.items() if m and not list(m.parameters())}
    head.__dict__['forward'] = _handed_on
    segmentor.backbone = EngineNetwork(run, input_channels(model), settings.name).eval()
    segmentor.decode_head = head
    for part in ('neck', 'auxiliary_head'):
        if hasattr(model, part):
            delattr(model, part)
    return model


def _handed_on(logits: Tensor) -> Tensor:
    """In the place of a head's forward: the engine has done it."""
    return logits


class _OfSizes:
    """A network made for each size of input, the last few of which are held."""

    def __init__(self, run_of: Callable[[tuple[int, int]], Run]) -> None:
        self.run_of = run_of
        self.held: dict[tuple[int, int], Run] = {}

    def __call__(self, image: Tensor) -> Tensor:
        size = (image.shape[2], image.shape[3])
        run = self.held.pop(size, None) or self.run_of(size)
        self.held[size] = run  # the latest is last
        if len(self.held) > _KEPT_SIZES:
            del self.held[next(iter(self.held))]
        return run(image)


def _fitting(run: Run, axes: Axes, file: Path) -> Run:
    """``run`` for any number of pictures, in groups of as many as its first axis says; pictures of
    another size than its axes are refused."""
    at_once, *rest = axes

    def fitted(image: Tensor) -> Tensor:
        shape = image.shape[1:]
        if any(isinstance(axis, int) and axis != have for axis, have in zip(rest, shape)):
            wanted = 'x'.join(str(axis) if isinstance(axis, int) else 'any' for axis in rest)
            raise BackendError(
                f'{file}: takes pictures of {wanted} (channels, height, width), and was given '
                f'{"x".join(map(str, shape))}. Export it with --dynamic, or test by sliding '
                f'windows of its size: --cfg-options model.test_cfg.mode=slide '
                f'model.test_cfg.crop_size={_pair(rest)} model.test_cfg.stride={_pair(rest)}'
            )
        if not isinstance(at_once, int) or at_once == len(image):
            return run(image)
        if at_once != 1:
            raise BackendError(
                f'{file}: takes {at_once} pictures at a time, and was given {len(image)}; export '
                'it with --open-batch.'
            )
        return torch.cat([run(one) for one in image.split(1)])

    return fitted


def _pair(axes: Axes) -> str:
    return f'[{axes[-2]},{axes[-1]}]'


def _undoing(run: Run, model: nn.Module, normalize: bool) -> Run:
    """``run`` of a graph that normalises by itself, for pictures that are normalised already."""
    preprocessor = cast(EncoderDecoder, model).data_preprocessor
    mean, std = getattr(preprocessor, 'mean', None), getattr(preprocessor, 'std', None)
    if not normalize or mean is None or std is None:
        return run
    return lambda image: run(image * std + mean)
