"""Checks of a config before anything is built: misspelt keys, unknown types, wrong arguments.

mmengine passes over a misspelt top-level key or hook in silence, and for the rest fails after
minutes of setting up, with a traceback that does not say where in the config it was. Here every
dict with a ``type`` is looked up in its registry and its keys are held against the signature of
what was found. What cannot be judged for certain is let through: a legal config must never fail.
"""

import inspect
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch.utils.data
from mmengine.registry import Registry

from segkit import registry as ours
from segkit.engine.config_schema import (
    DATALOADER_KEYS,
    FOREIGN_ARGUMENTS,
    FREE_FORM,
    HELPER_KEYS,
    HOOK_NAMES,
    IMPLIED_TYPES,
    KEYS_OF,
    LAYER_BUILDERS,
    OPEN_ENDED,
    REGISTRY_OF,
    RUNNER_KEYS,
    TAKEN_BY_BUILDER,
    averages_weights,
    role_of,
)
from segkit.engine.config_values import wrong_kind, wrong_value
from segkit.engine.config_variables import names_read
from segkit.engine.signatures import accepted_arguments, nearest, suggestion
from segkit.errors import ConfigError

__all__ = ['ConfigError', 'check_config']

_TRIPLES = (
    ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    ('val_dataloader', 'val_cfg', 'val_evaluator'),
    ('test_dataloader', 'test_cfg', 'test_evaluator'),
)


def check_config(cfg: Mapping[str, object]) -> None:
    """Raise if ``cfg`` holds a key, type or argument that cannot be meant.

    Raises:
        ConfigError: with the file, the path of the key in the config and the nearest right name.
    """
    file = getattr(cfg, 'filename', None)
    content = {key: cfg[key] for key in cfg}
    try:
        _check_top(content, names_read(file))
        _check_kinds(content)
        for key in sorted(set(content) & set(RUNNER_KEYS)):
            _refuse(key, content[key], wrong_value(key, content[key]))
            _check(content[key], key, role_of('', key))
    except ConfigError as error:
        raise ConfigError(f'{file}: {error}' if file else str(error)) from None


def check_part(cfg: Mapping[str, object], key: str) -> None:
    """``check_config`` for one top-level key, whether or not the rest of a run is there."""
    _check(cfg[key], key, role_of('', key))


def _is_variable(key: str, settings: Iterable[str]) -> bool:
    """Whether a name like that of a setting was chosen on purpose: it has it and a word more."""
    return any(
        (key == f'{name}s' and not name.endswith('s'))
        or key.startswith(f'{name}_')
        or key.endswith(f'_{name}')
        for name in settings
    )


def _check_top(cfg: Mapping[str, object], read: Collection[str] = ()) -> None:
    """A config's own variables may have any name, but not one that is nearly a Runner's key.

    Args:
        read: names that the files of the config read.
    """
    for key in cfg:
        if key in RUNNER_KEYS or key in HELPER_KEYS or key in read:
            continue
        close = nearest(key, RUNNER_KEYS, count=1, cutoff=0.84)
        if close and not _is_variable(key, close):
            raise ConfigError(f'{key}: there is no such key. Did you mean {close[0]!r}?')
    for names in _TRIPLES:
        missing = [name for name in names if cfg.get(name) is None]
        if 0 < len(missing) < len(names):
            present = [name for name in names if name not in missing]
            raise ConfigError(
                f'{", ".join(missing)}: not set, but {", ".join(present)} is. Set all of '
                f'{", ".join(names)}, or none'
            )


def _check_kinds(cfg: Mapping[str, Any]) -> None:
    """What the Runner would refuse with a traceback: text or a number where it builds things."""
    if cfg.get('model') is None:
        raise ConfigError('model: not set. Write the network here, or name its file in _base_')
    if cfg.get('resume') not in (None, True, False, 'auto'):
        raise ConfigError(
            f"resume: {cfg['resume']!r} must be True, False or 'auto'. Name the file in load_from"
        )
    hooks = cfg.get('custom_hooks')
    if isinstance(hooks, (Mapping, str)):
        raise ConfigError(f'custom_hooks: {hooks!r} must be a list, of a dict for each hook')
    parts = {'model': cfg['model'], 'optim_wrapper': cfg.get('optim_wrapper')}
    parts |= {f'custom_hooks[{number}]': hook for number, hook in enumerate(hooks or [])}
    for path, part in parts.items():
        if isinstance(part, (str, int, float)):
            raise ConfigError(f"{path}: {part!r} must be a dict, with what to build under 'type'")
    sharded = (cfg.get('model_wrapper_cfg') or {}).get('type') == 'FSDP2'
    if sharded and any(map(averages_weights, hooks or [])):
        raise ConfigError(
            'custom_hooks: EMAHook copies whole parameters, which FSDP2 does not have. Leave the '
            'hook out, or model_wrapper_cfg'
        )


def _check(value: object, path: str, role: str) -> None:
    """Check ``value`` at ``path``; ``role`` says what it is for."""
    if isinstance(value, Mapping):
        _check_dict(value, path, role)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            if isinstance(item, (Mapping, list, tuple)):
                _check(item, f'{path}[{number}]', role)


def _check_dict(value: Mapping[str, object], path: str, role: str) -> None:
    if role in FREE_FORM:
        return
    kind = value.get('type', 'there is none')
    if not callable(kind) and (not isinstance(kind, str) or not kind):
        raise ConfigError(f'{path}.type: {kind!r} must be the name of a class')
    if role in LAYER_BUILDERS:
        _check_layer(value, path, role)
        return
    value = {k: v for k, v in value.items() if k != '_delete_'}
    if role == 'default_hooks':
        _check_default_hooks(value, path)
    elif role == 'dataloader':
        _known_keys(value, path, DATALOADER_KEYS | _dataloader_arguments(), 'a data loader')
        _check_types(value, path, torch.utils.data.DataLoader, DATALOADER_KEYS)
    elif role in KEYS_OF and 'type' not in value:
        if role in OPEN_ENDED:
            value = {k: v for k, v in value.items() if nearest(k, KEYS_OF[role], 1, 0.75)}
        _known_keys(value, path, KEYS_OF[role], path.rpartition('.')[2])
    else:
        _check_typed(value, path, role)
    foreign = FOREIGN_ARGUMENTS.get(str(kind).rpartition('.')[2], ())
    for key, item in value.items():
        if key in foreign:
            continue
        _refuse(f'{path}.{key}', item, wrong_value(str(key), item))
        _check(item, f'{path}.{key}', role_of(role, str(key)))


def _refuse(path: str, value: object, why: str | None) -> None:
    if why is not None:
        raise ConfigError(f'{path}: {value!r} {why}')


def _check_layer(value: Mapping[str, object], path: str, role: str) -> None:
    """Layers are small: whether one can be built is found by building it."""
    for key, item in value.items():
        _refuse(f'{path}.{key}', item, wrong_value(key, item))
    try:
        LAYER_BUILDERS[role](dict(value))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f'{path}: {error.args[0] if error.args else error}') from None


def _dataloader_arguments() -> set[str]:
    return set(inspect.signature(torch.utils.data.DataLoader.__init__).parameters) - {'self'}


def _check_types(value: Mapping, path: str, target: Any, apart: Collection[str]) -> None:
    for key, item in value.items():
        if key not in apart:
            _refuse(f'{path}.{key}', item, wrong_kind(target, key, item))


def _known_keys(value: Mapping, path: str, known: Iterable[str], what: str) -> None:
    for key in value:
        if key not in known:
            raise ConfigError(
                f'{path}.{key}: {what} has no setting {key!r}.{suggestion(str(key), known)}'
            )


def _check_default_hooks(value: Mapping, path: str) -> None:
    for name, hook in value.items():
        if name in HOOK_NAMES or hook is None:
            continue
        close = nearest(name, HOOK_NAMES, count=1, cutoff=0.8)
        if close:
            raise ConfigError(f'{path}.{name}: no such hook. Did you mean {close[0]!r}?')
        if isinstance(hook, Mapping) and 'type' not in hook:
            raise ConfigError(
                f'{path}.{name}: a hook of a new name needs a type.{suggestion(name, HOOK_NAMES)}'
            )


def _check_typed(value: Mapping, path: str, role: str) -> None:
    kind = value.get('type', IMPLIED_TYPES.get(role))
    if kind is None:
        return
    target = kind if callable(kind) else _find(str(kind), path, role)
    if target is None:
        return
    for key, item in value.items():
        _refuse(f'{path}.{key}', item, wrong_kind(target, key, item))
    begin, end = value.get('begin', 0), value.get('end')
    if role == 'param_scheduler' and isinstance(end, int) and 0 < end <= begin:
        _refuse(f'{path}.begin', begin, f'must be below {path}.end, {end}')

    accepted = accepted_arguments(target)
    if accepted is None:
        return
    allowed = accepted | TAKEN_BY_BUILDER.get(role, set()) | {'type', '_scope_'}
    for key in value:
        if key not in allowed:
            raise ConfigError(
                f'{path}.{key}: {getattr(target, "__name__", kind)} takes no argument '
                f'{key!r}.{suggestion(str(key), accepted)}'
            )


def _registries(role: str) -> list[Registry]:
    """Where to look ``role`` up: its own registry, or all of them when the role says nothing."""
    name = REGISTRY_OF.get(role)
    if name is not None:
        return [getattr(ours, name)]
    return [r for r in vars(ours).values() if isinstance(r, Registry)]


def _find(kind: str, path: str, role: str) -> Any:
    """The class named ``kind``; None where another project's registry must decide."""
    scope, _, bare = kind.rpartition('.')
    if scope not in ('', 'segkit', 'mmengine'):
        return None
    registries = _registries(role)
    for registry in registries:
        try:
            found = registry.get(bare)
        except KeyError as error:  # of mmsegmentation: it says what to use
            raise ConfigError(f'{path}.type: {error.args[0]}') from None
        if found is not None:
            return found
    if role not in REGISTRY_OF:
        return None
    known = [name for r in registries for name in _names(r)]
    raise ConfigError(f'{path}.type: there is no {bare!r}.{suggestion(bare, known)}')


def _names(registry: Registry) -> list[str]:
    names: list[str] = []
    while registry is not None:
        names += list(registry.module_dict)
        registry = registry.parent
    return names
