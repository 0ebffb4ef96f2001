"""From a config and a checkpoint to a model ready to predict."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

import torch
from mmengine.config import Config
from torch import nn

from segkit.apis.backends.settings import Settings, chosen, is_exported, with_backend
from segkit.datasets.metainfo import make_palette
from segkit.engine.config import load_config
from segkit.errors import UserError
from segkit.models.inference.fuse import speed_up
from segkit.models.layers import revert_sync_bn
from segkit.registry import DATASETS, MODELS, build_ours
from segkit.structures import SegDataSample
from segkit.weights import build_undrawn, initialise, load_into, without_pretrained

MODELS.import_from_location()  # here, while the collector rests (__init__.py)


class ReadyNetwork(Protocol):
    """A network as ``init_model`` makes it."""

    cfg: Config
    dataset_meta: dict

    def test_step(self, data: object) -> list[SegDataSample]: ...


def init_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str | torch.device = 'cpu',
    cfg_options: Mapping[str, object] | None = None,
    *,
    fuse_bn: bool = False,
    channels_last: bool = False,
    bf16: bool = False,
    dtype: str | torch.dtype | None = None,
    key_map: Mapping[str, str] | None = None,
    backend: str | None = None,
    precision: str = 'fp32',
    fixed_sizes: bool = False,
    calibration: int = 32,
) -> nn.Module:
    """Build a segmentor, load its weights and set it to evaluation.

    Args:
        config: path, Config, or the name of a shipped config; one of mmsegmentation 0.x is
            converted.
        checkpoint: path, URL or known name of any published format, or a folder: the work directory
            of a run, for its best, or one with model.safetensors; None leaves random weights. An
            exported .onnx is run by an engine; the config says how to predict.
        cfg_options: values to change first, e.g. ``{'model.test_cfg.mode': 'whole'}``.
        fuse_bn, channels_last, bf16: switches of `segkit.models.inference.fuse.speed_up`.
        dtype: of the weights, 'bfloat16' or 'float16' for half the memory; pictures are turned to
            it as well, logits back to float32. Results change more than with ``bf16``.
        key_map: which weights of a file with several sets, e.g. ``{'model_ema.': ''}``.
        backend, precision, fixed_sizes, calibration: what runs the network, instead of PyTorch as
            it is: `segkit.apis.backends.Settings`. An export is made once, kept by the checkpoint.

    Returns:
        The model, with ``cfg`` (the Config) and ``dataset_meta`` (``classes`` and ``palette``, the
        checkpoint's if it has them, else those of the config's dataset).

    Raises:
        FileNotFoundError: no such config. CheckpointError: the file does not fit, with a table.
        ValueError: this machine, or this torch, has no such device; an unknown ``dtype``; an engine
            that is not installed or cannot run this network.
    """
    device, kind = _usable(device), _floating(dtype)
    settings = chosen(backend, checkpoint, precision, fixed_sizes, calibration)
    if key_map and is_exported(checkpoint):
        raise UserError(
            f'{checkpoint}: key_map names weights, and an exported network has its own.'
        )
    _refuse_contradictions(settings, channels_last, bf16, kind)
    cfg = _of_today(load_config(config, cfg_options))
    if checkpoint is not None and Path(checkpoint).is_dir():
        from segkit.engine.which_checkpoint import require_checkpoint

        checkpoint = require_checkpoint(str(checkpoint), cfg)
    model = _with_weights(cfg, checkpoint, device, key_map)
    _name_every_class(model, cfg, checkpoint)
    # SyncBatchNorm serves training alone: with stored statistics it computes what BN does.
    model = revert_sync_bn(model).to(device).eval()
    speed_up(model, fuse_bn=fuse_bn, channels_last=channels_last, bf16=bf16, weights=kind)
    return with_backend(model, settings, checkpoint)


def _refuse_contradictions(
    settings: Settings, channels_last: bool, bf16: bool, kind: torch.dtype | None
) -> None:
    """Raise UserError for two arguments of which each would decide the same."""
    if kind is not None and (bf16 or settings.precision == 'bf16'):
        asked = 'bf16=True' if bf16 else "precision='bf16'"
        raise UserError(
            f'init_model: {asked} leaves weights in float32, dtype changes them; choose one.'
        )
    if settings.backend != 'torch' and (channels_last or bf16 or kind is not None):
        raise UserError(
            'init_model: channels_last, bf16 and dtype are of PyTorch, and backend='
            f"{settings.backend!r} was chosen; its precision is 'fp32', 'bf16' or 'int8'."
        )


def _of_today(cfg: Config) -> Config:
    """A config of mmsegmentation 0.x as one of ours; any other as it is."""
    if 'data' not in cfg or 'test_dataloader' in cfg:
        return cfg
    from segkit.engine.migration import convert

    return convert(cfg).config


def _with_weights(
    cfg: Config,
    checkpoint: str | Path | None,
    device: torch.device,
    key_map: Mapping[str, str] | None,
) -> nn.Module:
    """The model of a config, with random weights where there is no checkpoint, and with none
    where an exported network takes its place."""
    if is_exported(checkpoint):
        return build_undrawn(cfg.model).to(device)
    if checkpoint is None:
        model = build_ours(without_pretrained(cfg.model))
        model.init_weights()
        return model
    model = build_undrawn(cfg.model)
    # To a GPU straight from the file. On the CPU a copy: a program may save to where it loaded
    # from, and writing over a mapped file would kill it.
    on_cpu = device.type == 'cpu'
    report = load_into(model, checkpoint, purpose='test', assign=not on_cpu, key_map=key_map)
    initialise(model, report.missing)
    return model


def _usable(device: str | torch.device) -> torch.device:
    """The device, tried before anything is read for it."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch without CUDA
        why = str(error).partition('\n')[0]
        raise UserError(f"device '{device}' cannot be used here ({why}); 'cpu' can.") from None


def _floating(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """The type of weights that ``dtype`` names; None leaves float32."""
    name = str(dtype).removeprefix('torch.')
    if dtype is None or name == 'float32':
        return None
    if name not in ('bfloat16', 'float16'):
        raise UserError(f"dtype={dtype!r} must be 'float32', 'bfloat16' or 'float16'.")
    found: torch.dtype = getattr(torch, name)
    return found


def _meta_of_dataset(cfg: Config) -> dict[str, object]:
    """Classes and palette as the config's test dataset knows them; no file is touched."""
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    cls = DATASETS.get(dataset['type']) if isinstance(dataset.get('type'), str) else None
    return {**getattr(cls, 'METAINFO', {}), **(dataset.get('metainfo') or {})}


def _name_every_class(model: nn.Module, cfg: Config, checkpoint: str | Path | None) -> None:
    """``cfg`` and ``dataset_meta``. Say where there are fewer names than classes, and give the
    others their number as a name."""
    network = cast(ReadyNetwork, model)
    network.cfg = cfg
    if getattr(network, 'dataset_meta', None) is None:
        network.dataset_meta = _meta_of_dataset(cfg)
    if is_exported(checkpoint):
        return  # it names its own
    meta, wanted = network.dataset_meta, getattr(model, 'num_classes', None)
    classes = list(meta.get('classes') or ())
    if not classes or wanted is None or len(classes) == wanted:
        return
    warnings.warn(
        f'{checkpoint or "the config"}: names {len(classes)} classes, but the network has '
        f'{wanted}: the names may be those of other classes. Set model.dataset_meta.',
        stacklevel=3,
    )
    classes += [f'class {i}' for i in range(len(classes), wanted)]
    colours = list(meta.get('palette') or ())
    colours += make_palette(wanted)[len(colours) :] if colours else []
    network.dataset_meta = {**meta, 'classes': classes, **({'palette': colours} if colours else {})}


# The name before 1.0, with the same arguments.
init_segmentor = init_model
