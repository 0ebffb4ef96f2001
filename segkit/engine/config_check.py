"""Checks of a config before anything is built: misspelt keys, unknown types, wrong arguments.

mmengine passes over a misspelt top-level key or hook in silence, and for the rest fails after
minutes of setting up, with a traceback that does not say where in the config it was. Here every
dict with a ``type`` is looked up in its registry and its keys and values are held against the
signature of what was found; ``config_schema.py`` has what no signature says. What cannot be judged
for certain is let through: a legal config must never fail.
"""

import inspect
import math
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Sized
from collections.abc import Set as AbstractSet
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from mmengine.registry import Registry
from torch.utils.data import DataLoader

from segkit import registry as ours
from segkit.engine.config import names_read
from segkit.engine.config_schema import (
    CHOICES,
    DATALOADER_KEYS,
    FOREIGN_ARGUMENTS,
    FREE_FORM,
    HELPER_KEYS,
    HOOK_NAMES,
    IMPLIED_TYPES,
    KEYS_OF,
    KINDS,
    LAYERS,
    OPEN_ENDED,
    ORDERED,
    RANGES,
    REGISTRY_OF,
    RUNNER_KEYS,
    TAKEN_BY_BUILDER,
    averages_weights,
    role_of,
)
from segkit.errors import ConfigError, nearest, suggestion
from segkit.models.layers import build_activation, build_conv, build_norm
from segkit.registry import known_scope

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
        known = RUNNER_KEYS | HELPER_KEYS | names_read(file)
        for key in content:
            # A variable may have any name, but not one that is nearly a Runner's key.
            close = [] if key in known else nearest(key, RUNNER_KEYS, count=1, cutoff=0.84)
            if close and not _is_variable(key, close):
                raise ConfigError(f'{key}: there is no such key. Did you mean {close[0]!r}?')
        check_triples(content)
        _check_kinds(content)
        for key in sorted(set(content) & set(RUNNER_KEYS)):
            _refuse(key, content[key], wrong_value(key, content[key]))
            _check(content[key], key, role_of('', key))
    except ConfigError as error:
        raise ConfigError(f'{file}: {error}' if file else str(error)) from None


def check_part(cfg: Mapping[str, object], key: str) -> None:
    """``check_config`` for one top-level key, whether or not the rest of a run is there."""
    _check(cfg[key], key, role_of('', key))


# -- the whole -------------------------------------------------------------------------------------


def _is_variable(key: str, settings: Iterable[str]) -> bool:
    """Whether a name like that of a setting was chosen on purpose: it has it and a word more."""
    return any(
        (key == f'{name}s' and not name.endswith('s'))
        or key.startswith(f'{name}_')
        or key.endswith(f'_{name}')
        for name in settings
    )


def check_triples(cfg: Mapping[str, object]) -> None:
    """Training, validation and testing take three parts each: all or none are set."""
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
    known_scope(cfg.get('default_scope') or 'segkit')
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


# -- keys ------------------------------------------------------------------------------------------


def _refuse(path: str, value: object, why: str | None) -> None:
    if why is not None:
        raise ConfigError(f'{path}: {value!r} {why}')


def _check(value: object, path: str, role: str) -> None:
    """Check ``value`` at ``path``, however deep; ``role`` says what it is for."""
    if isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            _check(item, f'{path}[{number}]', role)
    if not isinstance(value, Mapping) or role in FREE_FORM:
        return
    kind = value.get('type', 'there is none')
    if not callable(kind) and (not isinstance(kind, str) or not kind):
        raise ConfigError(f'{path}.type: {kind!r} must be the name of a class')
    value = {k: v for k, v in value.items() if k != '_delete_'}
    if role == 'default_hooks':
        _check_hook_names(value, path)
    elif role in KEYS_OF and 'type' not in value:
        near = [k for k in value if role not in OPEN_ENDED or nearest(k, KEYS_OF[role], 1, 0.75)]
        _known_keys(near, path, KEYS_OF[role], f'{path.rpartition(".")[2]} has no setting')
    elif role not in LAYERS:
        _check_typed(value, path, role)
    for key, item in value.items():
        if key not in FOREIGN_ARGUMENTS.get(str(kind).rpartition('.')[2], ()):
            _refuse(f'{path}.{key}', item, wrong_value(str(key), item))
            _check(item, f'{path}.{key}', role_of(role, str(key)))
    if role in LAYERS:
        try:
            if role == 'norm_cfg':
                build_norm(value, value.get('num_groups', 1))
            elif role == 'act_cfg':
                build_activation(value)
            else:
                build_conv(value, 1, 1, 1)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f'{path}: {error.args[0] if error.args else error}') from None


def _check_hook_names(hooks: Mapping, path: str) -> None:
    for name, hook in hooks.items():
        if name in HOOK_NAMES or hook is None:
            continue
        close = nearest(name, HOOK_NAMES, count=1, cutoff=0.8)
        if close:
            raise ConfigError(f'{path}.{name}: no such hook. Did you mean {close[0]!r}?')
        if isinstance(hook, Mapping) and 'type' not in hook:
            raise ConfigError(
                f'{path}.{name}: a hook of a new name needs a type.{suggestion(name, HOOK_NAMES)}'
            )


def _known_keys(keys: Iterable, path: str, known: Collection[str], what: str) -> None:
    for key in keys:
        if key not in known:
            raise ConfigError(f'{path}.{key}: {what} {key!r}.{suggestion(str(key), known)}')


def _check_typed(value: Mapping, path: str, role: str) -> None:
    """The arguments of a class: their names and kinds."""
    kind = value.get('type', IMPLIED_TYPES.get(role))
    loader = role == 'dataloader'
    if kind is None and not loader:
        return
    target = DataLoader if loader else kind if callable(kind) else _find(str(kind), path, role)
    if target is None:
        return
    apart = DATALOADER_KEYS if loader else TAKEN_BY_BUILDER.get(role, frozenset())
    for key, item in value.items():
        if not loader or key not in apart:
            _refuse(f'{path}.{key}', item, wrong_kind(target, key, item))
    begin, end = value.get('begin', 0), value.get('end')
    if role == 'param_scheduler' and isinstance(end, int) and 0 < end <= begin:
        _refuse(f'{path}.begin', begin, f'must be below {path}.end, {end}')
    accepted = accepted_arguments(target)
    if accepted is not None:
        keys = [key for key in value if loader or key not in ('type', '_scope_')]
        name = getattr(target, '__name__', kind)
        what = 'a data loader has no setting' if loader else f'{name} takes no argument'
        _known_keys(keys, path, accepted | apart, what)


def _find(kind: str, path: str, role: str) -> Any:
    """The class named ``kind``, in the registry of ``role`` or in all where the role says nothing;
    None where another project's registry must decide."""
    scope, _, bare = kind.rpartition('.')
    if scope not in ('', 'segkit', 'mmengine'):
        return None
    name = REGISTRY_OF.get(role)
    every = [r for r in vars(ours).values() if isinstance(r, Registry)]
    registries = every if name is None else [getattr(ours, name)]
    for registry in registries:
        try:
            found = registry.get(bare)
        except KeyError as error:  # of mmsegmentation: it says what to use
            raise ConfigError(f'{path}.type: {error.args[0]}') from None
        if found is not None:
            return found
    if name is None:
        return None
    known: list[str] = []
    registry = registries[0]
    while registry is not None:
        known += list(registry.module_dict)
        registry = registry.parent
    raise ConfigError(f'{path}.type: there is no {bare!r}.{suggestion(bare, known)}')


# -- signatures ------------------------------------------------------------------------------------

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
# Roots whose own ``**kwargs`` say nothing about what a subclass may be given.
_ROOTS = ('object', 'Module', 'Generic', 'Protocol', 'Dataset', 'Sampler')
# Packages whose constructors hand their ``**kwargs`` to the next one up the MRO, if there is one.
_KNOWN = ('segkit', 'mmengine', 'mmcv', 'torch')


def constructors(target: Callable) -> Iterator[Callable]:
    """The callables that see the arguments: a function, or each ``__init__`` up the MRO."""
    if not inspect.isclass(target):
        yield target
        return
    for cls in target.__mro__:
        if cls.__name__ in _ROOTS:
            return
        if '__init__' in vars(cls):
            yield vars(cls)['__init__']


def accepted_arguments(target: Callable) -> set[str] | None:
    """Names of the keyword arguments ``target`` takes; None if it may take any.

    ``**kwargs`` is taken to go to the next constructor up the MRO. Where there is none, or the
    class is somebody's whose habits are not known, only it can judge what it is given.
    """
    names: set[str] = set()
    found = list(constructors(target))
    for constructor in found:
        parameters = inspect.signature(constructor).parameters.values()
        names |= {p.name for p in parameters if p.kind in _NAMED and p.name != 'self'}
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            return names
        if constructor.__module__.partition('.')[0] not in _KNOWN:
            return None
    return None if found else set()


def hint_of(target: Callable, name: str) -> tuple[object, object]:
    """(hint, default) of an argument, by the first constructor up the MRO that names it."""
    for constructor in constructors(target):
        parameter = inspect.signature(constructor).parameters.get(name)
        if parameter is None:
            continue
        hint = parameter.annotation
        if isinstance(hint, str):  # kept as text; its names need not be there at run time
            try:
                hint = eval(hint, getattr(inspect.unwrap(constructor), '__globals__', {}))
            except Exception:  # of whatever a hint may name
                hint = object
        return (object if hint is inspect.Parameter.empty else hint), parameter.default
    return object, inspect.Parameter.empty


# -- values ----------------------------------------------------------------------------------------

_PLAIN = (str, bytes, int, float, bool, list, tuple)
_UNIONS = (typing.Union, types.UnionType)
_SCALARS = ((bool, bool), (int, Integral), (float, Real), (str, (str, Path)))


def wrong_kind(target: Callable, name: str, value: object) -> str | None:
    """What an argument must be that ``value`` is not, by the hint of ``target``; None if it fits.

    None as a value fits where it is the default, or no default says otherwise.
    """
    if name == 'type':
        return None
    hint, default = hint_of(target, name)
    if value is None and default is None:
        return None
    return None if fits(value, hint) else f'must be {spelled(hint)}'


def _leaves(value: object) -> Iterator[object]:
    """The items of nested lists, or the value that is none."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def wrong_value(name: str, value: object) -> str | None:
    """What a value must be that it is not, by the name of its setting; None if nothing is wrong."""
    if name in KINDS and not fits(value, KINDS[name]):
        return f'must be {spelled(KINDS[name])}'
    rule, leaves = RANGES.get(name), list(_leaves(value))
    if (rule is not None or name in CHOICES) and not leaves:
        return 'must not be empty'
    numbers = [float(x) for x in leaves if isinstance(x, Real) and not isinstance(x, bool)]
    if any(map(math.isnan, numbers)):
        return 'must be a number'
    if rule is not None and not all(map(rule.holds, numbers)):
        return f'must be {rule}'
    if name in CHOICES and not {x for x in leaves if isinstance(x, str)} <= set(CHOICES[name]):
        return f'must be of {", ".join(CHOICES[name])}'
    if name in ORDERED and len(numbers) == 2 and numbers[0] > numbers[1]:
        return 'must have the smaller number first'
    return None


def fits(value: object, hint: object) -> bool:
    """Whether a value of a config can be meant where ``hint`` is asked for."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        return any(fits(value, option) for option in args)
    if origin is typing.Literal:
        return value in args
    if hint is None or hint is type(None):
        return value is None
    scalar: Any = next((kind for one, kind in _SCALARS if one is hint), None)
    if scalar is not None:
        return isinstance(value, scalar) and (hint is bool or not isinstance(value, bool))
    kind = origin or hint
    mapping = inspect.isclass(kind) and issubclass(kind, Mapping)
    if mapping:
        return not isinstance(value, _PLAIN) and value is not None
    listed = (list, tuple, Sequence, AbstractSet)
    if not inspect.isclass(kind) or not (issubclass(kind, listed) or kind in (Iterable, Sized)):
        return True
    if isinstance(value, str):
        return str in args
    if not isinstance(value, (list, tuple, set, frozenset)):  # perhaps an object that is a list
        return value is not None and not isinstance(value, (*_PLAIN, Mapping))
    if args and kind is tuple and args[-1] is not Ellipsis:
        return len(value) == len(args) and all(map(fits, value, args))
    return not args or all(fits(item, args[0]) for item in value)


_WORDS: dict[object, str] = {
    int: 'a whole number', float: 'a number', bool: 'True or False', str: 'text',
    type(None): 'None', dict: 'a dict', Mapping: 'a dict', list: 'a list', tuple: 'a tuple',
    Sequence: 'a list', Iterable: 'a list',
}  # fmt: skip


def spelled(hint: object) -> str:
    """A hint in words."""
    said = []
    for option in typing.get_args(hint) if typing.get_origin(hint) in _UNIONS else (hint,):
        if typing.get_origin(option) is typing.Literal:
            said.append(' or '.join(map(repr, typing.get_args(option))))
        else:
            word = _WORDS.get(typing.get_origin(option) or option)
            said.append(str(word or getattr(option, '__name__', option)))
    return ' or '.join(dict.fromkeys(said))
