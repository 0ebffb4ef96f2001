"""From a type string to a class: one child registry of mmengine's per kind of component.

``locations`` names the sub-packages whose import registers their classes, so building by name
works after ``from segkit.registry import MODELS`` alone and nothing needs a star import.
Another project in the same process reaches ours as ``type='segkit.PSAHead'``.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mmengine import registry as mmengine_registry
from mmengine.registry import DefaultScope, Registry, build_from_cfg

_MODELS = [
    'segkit.models.backbones',
    'segkit.models.decode_heads',
    'segkit.models.losses',
    'segkit.models.samplers',
    'segkit.models.segmentors',
    'segkit.models.data_preprocessor',
]
_DATA = ['segkit.datasets', 'segkit.datasets.transforms']
_ENGINE = ['segkit.engine.components']


def _child(name: str, locations: list[str], build_func: Callable | None = None) -> Registry:
    """A registry of ours that falls back to the mmengine root registry of the same kind."""
    parent = getattr(mmengine_registry, name)
    return Registry(parent.name, build_func, parent, scope='segkit', locations=locations)


def _build_model(cfg: Any, registry: Registry, default_args: Any = None) -> Any:
    """As mmengine's, which imports all that training needs for the sake of a list of modules."""
    if not isinstance(cfg, list):
        return build_from_cfg(cfg, registry, default_args)
    from torch import nn

    return nn.Sequential(*(build_from_cfg(part, registry, default_args) for part in cfg))


def _build_transform(cfg: Any, registry: Registry, default_args: Any = None) -> Any:
    """With our scope: mmcv's wrappers (RandomApply) build what they hold from the parent registry,
    which finds ours only so."""
    with DefaultScope.overwrite_default_scope('segkit'):
        return build_from_cfg(cfg, registry, default_args)


def build_ours(registry: Registry, cfg: Mapping[str, Any], **default_args: Any) -> Any:
    """Build ``cfg``, taking our class of that name whatever the program's default scope is.

    mmengine looks a bare name up in the scope of the running program first. A head of ours lent
    to another detector would get that detector's CrossEntropyLoss, which averages otherwise.
    """
    args = {**default_args, **cfg}
    if args.get('type') not in registry.module_dict:
        registry.import_from_location()  # not sooner: a head alone needs none of these imports
    if args.get('type') in registry.module_dict:
        return registry.module_dict[args.pop('type')](**args)
    return registry.build(args)


MODELS = _child('MODELS', _MODELS, _build_model)
TASK_UTILS = _child('TASK_UTILS', _MODELS)
MODEL_WRAPPERS = _child('MODEL_WRAPPERS', _ENGINE)
WEIGHT_INITIALIZERS = _child('WEIGHT_INITIALIZERS', _MODELS)

DATASETS = _child('DATASETS', _DATA)
TRANSFORMS = _child('TRANSFORMS', _DATA, _build_transform)
DATA_SAMPLERS = _child('DATA_SAMPLERS', _DATA + _ENGINE)
FUNCTIONS = _child('FUNCTIONS', _DATA)

RUNNERS = _child('RUNNERS', _ENGINE)
RUNNER_CONSTRUCTORS = _child('RUNNER_CONSTRUCTORS', _ENGINE)
LOOPS = _child('LOOPS', _ENGINE)
HOOKS = _child('HOOKS', [*_ENGINE, 'segkit.visualization'])
OPTIMIZERS = _child('OPTIMIZERS', _ENGINE)
OPTIM_WRAPPERS = _child('OPTIM_WRAPPERS', _ENGINE)
OPTIM_WRAPPER_CONSTRUCTORS = _child('OPTIM_WRAPPER_CONSTRUCTORS', _ENGINE)
PARAM_SCHEDULERS = _child('PARAM_SCHEDULERS', _ENGINE)
LOG_PROCESSORS = _child('LOG_PROCESSORS', _ENGINE)
STRATEGIES = _child('STRATEGIES', _ENGINE)

METRICS = _child('METRICS', ['segkit.evaluation'])
EVALUATOR = _child('EVALUATOR', ['segkit.evaluation'])
VISUALIZERS = _child('VISUALIZERS', ['segkit.visualization'])
VISBACKENDS = _child('VISBACKENDS', ['segkit.visualization'])
INFERENCERS = _child('INFERENCERS', ['segkit.apis'])
