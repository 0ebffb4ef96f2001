"""From a type string to a class: one child registry of mmengine's per kind of component.

Networks stand in a table, so that their files import torch alone and a class is imported when its
name is first asked for. For the rest, ``locations`` names the sub-packages whose import registers
their classes. Building by name works after ``from segkit.registry import MODELS`` alone, and
another project in the same process reaches ours as ``type='segkit.PSAHead'``.

Without mmengine there are no registries; `build_ours` then still builds what is in the table.
"""

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from segkit.compat import shipped_bases
from segkit.errors import ConfigError, suggestion
from segkit.old_names import older_type, serve

try:
    from mmengine import registry as roots
    from mmengine.registry import DefaultScope, Registry, build_from_cfg
except ModuleNotFoundError as error:
    if error.name != 'mmengine':  # it is there, and says itself what it lacks
        raise
    HAS_MMENGINE = False
else:
    HAS_MMENGINE = True
    shipped_bases()  # whoever has our classes may name our configs

# registry -> type -> module: the classes of segkit.models
TABLE = {
    'MODELS': {
        'ResNet': 'backbones.resnet',
        'ResNetV1c': 'backbones.resnet',
        'ResNetV1d': 'backbones.resnet',
        'MixVisionTransformer': 'backbones.mix_transformer',
        'TimmBackbone': 'backbones.timm_backbone',
        'FCNHead': 'decode_heads.fcn_head',
        'PSPHead': 'decode_heads.psp_head',
        'PSAHead': 'decode_heads.psa_head',
        'DAHead': 'decode_heads.da_head',
        'ISAHead': 'decode_heads.isa_head',
        'ASPPHead': 'decode_heads.aspp_head',
        'DepthwiseSeparableASPPHead': 'decode_heads.sep_aspp_head',
        'UPerHead': 'decode_heads.uper_head',
        'SegformerHead': 'decode_heads.segformer_head',
        'CrossEntropyLoss': 'losses.cross_entropy_loss',
        'DiceLoss': 'losses.dice_tversky_loss',
        'TverskyLoss': 'losses.dice_tversky_loss',
        'FocalLoss': 'losses.focal_loss',
        'LovaszLoss': 'losses.lovasz_loss',
        'BoundaryLoss': 'losses.boundary_loss',
        'EncoderDecoder': 'segmentors.encoder_decoder',
        'SegDataPreProcessor': 'data_preprocessor',
    },
    'TASK_UTILS': {'OHEMPixelSampler': 'ohem_sampler'},
}


def our_class(name: object, registry: str = 'MODELS') -> type | None:
    """The class of the table, or the one that somebody registered with ours in its place."""
    name = name.removeprefix('segkit.') if isinstance(name, str) else name
    registered = globals()[registry].module_dict.get(name) if HAS_MMENGINE else None
    if registered is not None or name not in TABLE[registry]:
        return registered
    module = importlib.import_module(f'segkit.models.{TABLE[registry][str(name)]}')
    return getattr(module, str(name))


def find_class(name: str, registry: str = 'MODELS') -> type | None:
    """Our class of that name, or what mmengine finds under it."""
    found = our_class(name, registry)
    return globals()[registry].get(name) if found is None and HAS_MMENGINE else found


def build_ours(cfg: Mapping[str, object], registry: str = 'MODELS', **default_args: object) -> Any:
    """Build ``cfg``, taking our class of that name whatever the program's default scope is.

    mmengine looks a bare name up in the scope of the running program first. A head of ours lent
    to another detector would get that detector's CrossEntropyLoss, which averages otherwise.
    """
    args = {**default_args, **cfg}
    kind = args.get('type')
    found = kind if isinstance(kind, type) else our_class(kind, registry)
    if found is not None:
        del args['type']
        return found(**args)
    if HAS_MMENGINE:
        return globals()[registry].build(args)
    raise KeyError(
        f'{kind!r} is no class of segkit.{suggestion(str(kind), TABLE[registry])} Classes that '
        'others registered are found by mmengine: `pip install mmengine`.'
    )


if HAS_MMENGINE:
    _DATA = ['segkit.datasets', 'segkit.datasets.transforms']
    _ENGINE = ['segkit.engine.runner']  # and what it builds by name

    class _Registry(Registry):
        """A registry of ours that falls back to mmengine's, and for a name that neither has to
        what serves mmsegmentation's; KeyError says what to use where nothing does."""

        def __init__(
            self, kind: str, locations: Sequence[str] = (), build_func: Callable | None = None
        ) -> None:
            """Falls back to the mmengine root registry of the same kind."""
            parent, self.kind = getattr(roots, kind), kind
            places = list(locations)
            super().__init__(parent.name, build_func, parent, scope='segkit', locations=places)

        def get(self, key: str) -> Any:
            found = super().get(key)
            return older_type(key, self.kind) if found is None else found

    class _TableRegistry(_Registry):
        """A registry of ours that falls back to mmengine's, with the classes of a table."""

        filled = False

        def import_from_location(self) -> None:
            """Called by mmengine before it looks a name up."""
            if not self.filled:
                self.filled = True
                for name in TABLE[self.kind]:
                    self.module_dict.setdefault(name, our_class(name, self.kind))

        def register_module(
            self, name: object = None, force: bool = False, module: type | None = None
        ) -> object:
            """As mmengine's: a name of ours is refused, whichever of the two came first."""
            if not force:
                self.import_from_location()
            return super().register_module(name, force, module)

    def _build_model(cfg: object, registry: Registry, default_args: object = None) -> object:
        """As mmengine's, which imports all that training needs for the sake of a list."""
        if not isinstance(cfg, list):
            return build_from_cfg(cfg, registry, default_args)
        from torch import nn

        return nn.Sequential(*(build_from_cfg(part, registry, default_args) for part in cfg))

    def _build_transform(cfg: object, registry: Registry, default_args: object = None) -> object:
        """With our scope: mmcv's wrappers (RandomApply) build what they hold from the parent
        registry, which finds ours only so. With sizes as tuples, which JSON, YAML and the command
        line have as lists; a probability as a float; several of them, or of directions, as a list.
        """
        args = dict(cfg) if isinstance(cfg, Mapping) else {}
        for key, value in args.items():
            if key in ('scale', 'scales') and isinstance(value, list):
                sizes = [tuple(v) if isinstance(v, list) else v for v in value]
                plain = key == 'scale' and not any(isinstance(v, tuple) for v in sizes)
                args[key] = tuple(sizes) if plain else sizes
            elif key in ('prob', 'direction') and isinstance(value, tuple):
                args[key] = list(value)
            elif key == 'prob' and type(value) is int:
                args[key] = float(value)
        with DefaultScope.overwrite_default_scope('segkit'):
            return build_from_cfg(args or cfg, registry, default_args)

    def known_scope(scope: str) -> str:
        """The scope, ours in the place of mmsegmentation's where that is not installed.

        Raises:
            ConfigError: no such package is there, and no class is registered under its name.
        """
        registries = [r for r in vars(roots).values() if isinstance(r, Registry)]
        if any(scope in registry.children for registry in registries) or _is_package(scope):
            return scope
        if scope == 'mmseg':
            return 'segkit'
        raise ConfigError(
            f'default_scope: there is no package {scope!r} whose classes could be looked up. Set '
            "default_scope='segkit'; what custom_imports registers is found there as well."
        )

    def _is_package(name: str) -> bool:
        try:
            return importlib.util.find_spec(name) is not None
        except (ImportError, ValueError):
            return False

    MODELS = _TableRegistry('MODELS', build_func=_build_model)
    TASK_UTILS = _TableRegistry('TASK_UTILS')
    MODEL_WRAPPERS = _Registry('MODEL_WRAPPERS', _ENGINE)
    WEIGHT_INITIALIZERS = _Registry('WEIGHT_INITIALIZERS')

    DATASETS = _Registry('DATASETS', _DATA)
    TRANSFORMS = _Registry('TRANSFORMS', _DATA, _build_transform)
    DATA_SAMPLERS = _Registry('DATA_SAMPLERS', _DATA + _ENGINE)
    FUNCTIONS = _Registry('FUNCTIONS', _DATA)

    RUNNERS = _Registry('RUNNERS', _ENGINE)
    RUNNER_CONSTRUCTORS = _Registry('RUNNER_CONSTRUCTORS', _ENGINE)
    LOOPS = _Registry('LOOPS', _ENGINE)
    HOOKS = _Registry('HOOKS', [*_ENGINE, 'segkit.visualization'])
    OPTIMIZERS = _Registry('OPTIMIZERS', _ENGINE)
    OPTIM_WRAPPERS = _Registry('OPTIM_WRAPPERS', _ENGINE)
    OPTIM_WRAPPER_CONSTRUCTORS = _Registry('OPTIM_WRAPPER_CONSTRUCTORS', _ENGINE)
    PARAM_SCHEDULERS = _Registry('PARAM_SCHEDULERS', _ENGINE)
    LOG_PROCESSORS = _Registry('LOG_PROCESSORS', _ENGINE)
    STRATEGIES = _Registry('STRATEGIES', _ENGINE)

    METRICS = _Registry('METRICS', ['segkit.evaluation'])
    EVALUATOR = _Registry('EVALUATOR', ['segkit.evaluation'])
    VISUALIZERS = _Registry('VISUALIZERS', ['segkit.visualization'])
    VISBACKENDS = _Registry('VISBACKENDS', ['segkit.visualization'])
    INFERENCERS = _Registry('INFERENCERS', ['segkit.apis'])

else:

    def __getattr__(name: str) -> NoReturn:
        if name.isupper():
            message = f'segkit.registry.{name} is a registry of mmengine: `pip install mmengine`.'
            raise ModuleNotFoundError(message, name='mmengine')
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


serve(__name__)
