"""Helpers that scripts written for the older toolbox import."""

import importlib

from mmengine.registry import DefaultScope


def register_all_modules(init_default_scope: bool = True) -> None:
    """Register every class of the package.

    Building by type string does that by itself; scripts that call it keep working.

    Args:
        init_default_scope: also let mmengine's registries look up bare names in 'segkit' first.
    """
    for name in ('datasets', 'evaluation', 'models', 'visualization'):
        importlib.import_module(f'segkit.{name}')
    for name in ('backbones', 'decode_heads', 'losses', 'segmentors', 'data_preprocessor'):
        importlib.import_module(f'segkit.models.{name}')
    importlib.import_module('segkit.datasets.transforms')
    importlib.import_module('segkit.engine.components')
    if init_default_scope and not DefaultScope.check_instance_created('segkit'):
        DefaultScope.get_instance('segkit', scope_name='segkit')
