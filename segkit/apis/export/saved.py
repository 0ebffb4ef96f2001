"""A safetensors file that describes itself: weights, classes, palette and the model's config."""

from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from segkit.engine.checkpoint import CheckpointError, load_checkpoint


def config_of(checkpoint: dict[str, Any], source: str | Path) -> Config:
    """The Config stored in a file's metadata, as data: JSON, parsed and never executed.

    Raises:
        CheckpointError: the file holds weights alone.
    """
    meta = checkpoint.get('meta') or {}
    if not isinstance(meta.get('segkit_model'), dict):
        raise CheckpointError(
            f'{source}: has no model config in its metadata; give one to init_model beside it.'
        )
    dataset = dict(pipeline=meta.get('segkit_test_pipeline') or [])
    return Config(
        dict(model=meta['segkit_model'], test_dataloader=dict(dataset=dataset)), filename=None
    )


def model_of(source: str | Path) -> tuple[nn.Module, Config]:
    """The model a self-describing file holds, ready to predict, and its config."""
    from segkit.apis import init_model

    config = config_of(load_checkpoint(source), source)
    return init_model(config, source), config
