"""A safetensors file that describes itself: weights, classes, palette and the model's config."""

from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config
from torch import nn

from segkit.engine.untrusted_config import admit
from segkit.errors import ConfigError
from segkit.weights import (
    CheckpointError,
    UnsafeCheckpointError,
    load_checkpoint,
)

_CURE = 'give a config of your own to init_model beside it'


def config_of(checkpoint: Mapping, source: str | Path) -> Config:
    """The Config stored in a file's metadata: JSON, parsed and let through the gate.

    Raises:
        CheckpointError: the file holds weights alone, or has no test pipeline.
        UnsafeCheckpointError: its config asks for anything but model parts and test transforms.
    """
    meta = checkpoint.get('meta') or {}
    if not isinstance(meta.get('segkit_model'), dict):
        raise CheckpointError(f'{source}: has no model config in its metadata; {_CURE}.')
    pipeline = meta.get('segkit_test_pipeline') or []
    dataset = dict(pipeline=pipeline)
    config = dict(model=meta['segkit_model'], test_dataloader=dict(dataset=dataset))
    try:
        admitted = admit(config, source)
    except ConfigError as error:
        raise UnsafeCheckpointError(f'{error}; {_CURE}.') from None
    if not pipeline:
        raise CheckpointError(
            f'{source}: has no test pipeline in its metadata, the steps from a picture to what the '
            f'model takes; {_CURE}.'
        )
    return Config(admitted, filename=None)


def model_of(source: str | Path) -> tuple[nn.Module, Config]:
    """The model a self-describing file holds, ready to predict, and its config.

    Raises:
        CheckpointError: as ``config_of``, or what it describes cannot be built or filled.
    """
    from segkit.apis.model import init_model

    config = config_of(load_checkpoint(source, mmap=True), source)
    try:
        return init_model(config, source), config
    except CheckpointError:
        raise
    except Exception as error:  # whatever a constructor makes of a stranger's arguments
        raise CheckpointError(
            f'{source}: the model that its metadata describes cannot be built '
            f'({type(error).__name__}: {error}); {_CURE}.'
        ) from error
