"""A config that came as data, let through or refused: metadata of a weights file, JSON or YAML.

A Python config is a program that its user chose to run. Any other config comes from whoever wrote
the file, so it may describe a model and how a picture is prepared for it, and nothing else: every
``type`` is a bare name from the list of its role, and no value reaches for a file or an address.
"""

import re
import reprlib
from collections.abc import Mapping
from typing import NoReturn

from segkit.engine.config_schema import RUNNER_KEYS
from segkit.errors import ConfigError
from segkit.models.layer_types import ACTIVATIONS, CONVS, NORMS
from segkit.registry import MODELS

_HEADS = frozenset({
    'ASPPHead', 'DAHead', 'DepthwiseSeparableASPPHead', 'FCNHead', 'ISAHead', 'PSAHead', 'PSPHead',
    'SegformerHead', 'UPerHead',
})  # fmt: skip
# The loading and geometry of testing; what draws at random belongs to training.
_TRANSFORMS = frozenset({
    'AdjustGamma', 'CLAHE', 'CenterCrop', 'ImageToTensor', 'LoadAnnotations', 'LoadImageFromFile',
    'MultiScaleViews', 'Normalize', 'PackSegInputs', 'PackViews', 'Pad', 'RGB2Gray', 'RandomFlip',
    'Rerange', 'Resize', 'ResizeShortestEdge', 'ResizeToMultiple', 'ToTensor',
})  # fmt: skip
# Role -> what may be built there.
KINDS: dict[str, frozenset[str]] = dict(
    model=frozenset({'EncoderDecoder'}),
    data_preprocessor=frozenset({'SegDataPreProcessor'}),
    backbone=frozenset(
        {'MixVisionTransformer', 'ResNet', 'ResNetV1c', 'ResNetV1d', 'TimmBackbone'}
    ),
    neck=frozenset(),
    decode_head=_HEADS,
    auxiliary_head=_HEADS,
    loss_decode=frozenset(
        {'BoundaryLoss', 'CrossEntropyLoss', 'DiceLoss', 'FocalLoss', 'LovaszLoss', 'TverskyLoss'}
    ),  # fmt: skip
    sampler=frozenset({'OHEMPixelSampler'}),
    norm_cfg=frozenset(NORMS),
    act_cfg=frozenset(ACTIVATIONS),
    conv_cfg=frozenset(CONVS),
    transform=_TRANSFORMS,
)
# Roles in which a class that this program registered in MODELS itself may stand, too.
_OPEN = ('model', 'data_preprocessor', 'backbone', 'neck', 'decode_head', 'auxiliary_head',
         'loss_decode')  # fmt: skip
_PIPELINES = ('pipeline', 'test_pipeline')
# Keys that read a file, open a connection or import, wherever they stand.
_NEVER = re.compile(
    r'_.*|.*pretrained.*|.*checkpoint.*|init_cfg|backend_args|file_client_args|custom_imports'
    r'|load_from|resume|cache_dir|batch_augments|hf_.*|url'
)
_TOP = frozenset({'model', 'data_preprocessor', 'test_dataloader', 'aug_test', 'default_scope'})
_WORD = re.compile(r'[\w .,+-]{0,100}')  # no path, no address, no scope
_VALUES, _DEPTH, _REPEATS = 20_000, 30, 64
_KNOWN_WEIGHTS = re.compile(r'(open-?mmlab|torchvision|timm)://[\w.]{1,80}')


def admit(config: object, source: object) -> dict[str, object]:
    """A plain copy of a config that came as data, fit to be built.

    Args:
        config: what the file holds; of a full config the part that describes a model.
        source: the file, for the message.

    Returns:
        The copy. ``pretrained`` and ``init_cfg`` that only name published weights are None in it:
        files of ours held them, and the weights come with the file.

    Raises:
        ConfigError: it asks for anything but model parts and test transforms; names the key.
    """
    return _Walk(source).top(config)


def without_reach(config: object) -> object:
    """A plain copy of a config's part to be shared, without the keys that ``admit`` lets say
    nothing: they name files of this machine, or where training started from."""
    if isinstance(config, Mapping):
        return {k: without_reach(v) for k, v in config.items() if not _NEVER.fullmatch(str(k))}
    return [without_reach(v) for v in config] if isinstance(config, (list, tuple)) else config


class _Walk:
    def __init__(self, source: object) -> None:
        self.source, self.left = source, _VALUES

    def refuse(self, path: str, why: str) -> NoReturn:
        raise ConfigError(
            f'{self.source}: {path}: {why}. A config that is no Python file may hold a model '
            'and its test transforms only; nothing of it was run. If you trust it, name it as '
            '_base_ in a Python config of your own'
        )

    def top(self, config: object) -> dict[str, object]:
        if not isinstance(config, Mapping):
            self.refuse('the whole of it', f'is a {type(config).__name__}, not a dict of settings')
        for key, value in config.items():
            if key in RUNNER_KEYS - _TOP and value is not None:
                self.refuse(str(key), 'belongs to training or testing, not to a model')
        if config.get('default_scope') not in (None, 'segkit', 'mmseg'):
            self.refuse('default_scope', f'{config["default_scope"]!r} is another package')
        return self.mapping(config, '', '', 0)

    def value(self, value: object, path: str, role: str, depth: int) -> object:
        self.left -= 1
        if self.left < 0 or depth > _DEPTH:
            self.refuse(path.split('.')[0], 'holds more values, or deeper ones, than any config')
        if isinstance(value, Mapping):
            return self.mapping(value, path, role, depth)
        if isinstance(value, (list, tuple)):
            items = enumerate(value)
            made = [self.value(v, f'{path}[{i}]', role, depth + 1) for i, v in items]
            # JSON has no tuples, and mmcv's transforms take a size as nothing else.
            size = 'pipeline' in path and all(isinstance(v, (int, float)) for v in made)
            return tuple(made) if made and size else made
        if value is not None and role in KINDS:
            self.refuse(path, f'{_short(value)} stands where a dict with a type belongs')
        if value is None or isinstance(value, (bool, float)):
            return value
        if isinstance(value, int):
            if path.endswith('num_convs') and value > _REPEATS or abs(value) > 2**31:
                self.refuse(path, f'{_short(value)} is beyond anything that a network has')
            return value
        if not isinstance(value, str):
            self.refuse(path, f'a value of the kind {type(value).__name__} is no setting')
        if role == 'argument' and not _WORD.fullmatch(value):
            self.refuse(path, f'{_short(value)} may be a path, an address or code')
        return value

    def mapping(self, value: Mapping, path: str, role: str, depth: int) -> dict[str, object]:
        copy: dict[str, object] = {}
        if 'type' in value or role in KINDS:
            copy['type'] = self.kind(value.get('type'), path, role)
        for key, item in value.items():
            if key == 'type':
                continue
            here = f'{path}.{key}' if path else str(key)
            if not isinstance(key, str):
                self.refuse(here, 'a key must be text')
            if key in _PIPELINES and not _is_steps(item):
                self.refuse(here, f'{_short(item)} is no list of transforms')
            if key in ('train_cfg', 'test_cfg') and not isinstance(item, Mapping | None):
                self.refuse(here, f'{_short(item)} is no dict of settings')
            if _NEVER.fullmatch(key) or (key == 'class_weight' and isinstance(item, str)):
                copy[key] = self.nothing(item, here)
            else:
                copy[key] = self.value(item, here, _role(role, key, path), depth + 1)
        return copy

    def kind(self, kind: object, path: str, role: str) -> str:
        here = f'{path}.type' if path else 'type'
        if role not in KINDS:
            self.refuse(here, f'{_short(kind)}: nothing is built there')
        bare = kind.removeprefix('segkit.') if isinstance(kind, str) else ''
        if bare not in KINDS[role] and not _registered_here(bare, role):
            known = ', '.join(sorted(KINDS[role])) or 'classes that this program registered'
            self.refuse(here, f'{_short(kind)} is refused as a {role}, which may be {known}')
        return bare

    def nothing(self, value: object, path: str) -> object:
        """The value of a key that may say nothing here."""
        named = value
        if isinstance(value, Mapping) and set(value) <= {'type', 'checkpoint'}:
            named = value.get('type') == 'Pretrained' and value.get('checkpoint')
        start = path.endswith(('.pretrained', '.init_cfg')) and isinstance(named, str)
        if start and _KNOWN_WEIGHTS.fullmatch(str(named)):
            return None
        if value is not None and value is not False and value not in ('', [], {}):
            self.refuse(path, f'{_short(value)} reaches beyond the file')
        return value


def _role(parent: str, key: str, path: str) -> str:
    """What the value at ``key`` is for; 'argument' of something built, '' for plain settings."""
    if key in _PIPELINES or (key == 'transforms' and parent == 'transform'):
        return 'transform'
    if key in KINDS and key != 'transform' and (path or key in ('model', 'data_preprocessor')):
        return key
    if not path and key in ('norm_cfg', 'act_cfg', 'conv_cfg'):
        return key
    return 'argument' if parent in KINDS or parent == 'argument' else ''


def _is_steps(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(step, Mapping) for step in value)


def _registered_here(kind: str, role: str) -> bool:
    if role not in _OPEN:
        return False
    MODELS.import_from_location()
    found = MODELS.module_dict.get(kind)
    return found is not None and not found.__module__.startswith('segkit.')


def _short(value: object) -> str:
    text = reprlib.repr(value)  # of values that hold one another a million times, too
    return text if len(text) <= 80 else f'{text[:77]}...'
