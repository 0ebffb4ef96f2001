"""Which of a file's tensors are the weights of this model, whoever wrapped them how.

Names are compared from their ends: what stands before a name of the model is a prefix ('model.' of
Lightning, 'module.' of DDP, 'net.', a dict around, or several of them), and all names under one
prefix are a set of weights. The set that fits best is taken; where two fit, a teacher and a student
or a network and its average, none is, and ``key_map`` chooses.
"""

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch

from segkit.errors import CheckpointError

from .segformer_names import of_segformer

KeyMap = Mapping[str, str]
# Put in the middle of names by torch.compile, FSDP and activation checkpointing.
_WRAPPERS = ('_orig_mod', '_fsdp_wrapped_module', '_checkpoint_wrapped_module')
_TRAINING = re.compile(
    r'optimizers?|optimizer_states?|opt|partial_gradients|grads?|gradients|param_schedulers'
    r'|lr_schedulers?|scheduler|message_hub|scaler|grad_scaler|amp|loops|callbacks|hyper_parameters'
)
# Counters that profilers and averaging leave among the weights.
_COUNTERS = re.compile(r'(?:.*\.)?(?:total_ops|total_params|n_averaged|steps)')
_DEEPEST, _MOST_NAMES = 5, 200_000
_SEMSEG = ('layer0.0.weight', 'layer4.0.conv1.weight')


@dataclass
class Chosen:
    """Weights under the names of the model, and what else the file holds."""

    state: dict[str, torch.Tensor]
    aside: list[str] = field(default_factory=list)


def flat_tensors(checkpoint: Mapping) -> dict[str, torch.Tensor]:
    """Dotted name -> tensor, through the dicts of a checkpoint; optimizers and the like left out.

    mmengine's EMAHook keeps the other set of its two under 'ema_state_dict', beside what was
    validated.
    """
    flat: dict[str, torch.Tensor] = {}
    left = _MOST_NAMES

    def walk(node: Mapping, prefix: str, depth: int) -> None:
        nonlocal left
        left -= len(node)
        if left < 0:  # dicts that hold one another a million times
            raise CheckpointError(f'holds more than {_MOST_NAMES} names, more than any network')
        for key, value in node.items():
            name = f'{prefix}{key}'
            if isinstance(value, torch.Tensor):
                flat[name] = value
            elif isinstance(value, Mapping) and depth < _DEEPEST:
                walk(value, f'{name}.', depth + 1)

    left_out = {'ema_state_dict'} if isinstance(checkpoint.get('state_dict'), Mapping) else set()
    for key, value in checkpoint.items():
        if not _TRAINING.fullmatch(str(key)) and key not in left_out:
            walk({key: value}, '', 0)
    return flat


def choose(
    checkpoint: Mapping,
    ours: Mapping[str, torch.Tensor],
    source: str,
    key_map: KeyMap | None = None,
) -> Chosen | None:
    """The weights for the names ``ours``; None if no name of the file ends like one of them.

    Args:
        key_map: beginnings of names in the file -> what the model has in their place. Names that
            begin otherwise are left out.

    Raises:
        CheckpointError: two sets of weights fit, or ``key_map`` fits nothing; says what to type.
    """
    try:
        flat = _with_averages(of_segformer(flat_tensors(checkpoint)), ours)
    except CheckpointError as error:
        raise CheckpointError(f'{source}: {error}') from None
    if key_map:
        return _mapped(flat, ours, source, key_map)
    sets: dict[str, dict[str, torch.Tensor]] = {}
    rest: list[str] = []
    for name, tensor in flat.items():
        prefix, own = _split(name, ours)
        if own is None:
            rest.append(name)
        else:
            sets.setdefault(prefix, {})[own] = tensor
    fitting = {
        prefix: sum(tensor.shape == ours[own].shape for own, tensor in found.items())
        for prefix, found in sets.items()
    }
    if not fitting:
        return None
    best = max(fitting, key=lambda prefix: fitting[prefix])
    rivals = [p for p in fitting if p != best and fitting[p] >= 0.9 * max(fitting[best], 1)]
    averages = [p for p in rivals if p.endswith('ema_.')]
    if len(rivals) > len(averages):
        _refuse_two(source, [best, *(p for p in rivals if p not in averages)])
    chosen = Chosen(sets[best])
    for name in rest:
        own = name.removeprefix(best)
        # A number beside the network is the training's, such as its loss.
        weight = not _COUNTERS.fullmatch(name) and ('.' in own or flat[name].numel() != 1)
        if weight and (own != name or not best):
            chosen.state[own] = flat[name]
        else:
            chosen.aside.append(name)
    chosen.aside += [f'{p}{own}' for p in sets if p != best for own in sets[p]]
    return chosen


def _split(name: str, ours: Mapping[str, torch.Tensor]) -> tuple[str, str | None]:
    """(prefix with its dot, name in the model), or ('', None)."""
    if name in ours:
        return '', name
    parts = [part for part in name.split('.') if part not in _WRAPPERS]
    for start in range(len(parts)):
        own = '.'.join(parts[start:])
        if own in ours:
            return ''.join(f'{part}.' for part in parts[:start]), own
    without = [part for part in parts if part != 'module']
    return _split('.'.join(without), ours) if len(without) < len(parts) else ('', None)


def _with_averages(
    flat: dict[str, torch.Tensor], ours: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The hook of 0.x kept the other set as buffers, 'ema_' and the name with '_' for '.'."""
    if not any('ema_' in name.rpartition('.')[2] for name in flat):
        return flat
    plain = {own.replace('.', '_'): own for own in ours}
    renamed = {}
    for name, tensor in flat.items():
        prefix, _, last = name.rpartition('.')
        own = plain.get(last.removeprefix('ema_')) if last.startswith('ema_') else None
        renamed[f'{prefix}{"." * bool(prefix)}ema_.{own}' if own else name] = tensor
    return renamed


def _mapped(
    flat: Mapping[str, torch.Tensor], ours: Mapping[str, torch.Tensor], source: str, key_map: KeyMap
) -> Chosen:
    chosen = Chosen({})
    for name, tensor in flat.items():
        short = name.removeprefix('state_dict.')
        for old in sorted(key_map, key=len, reverse=True):
            given = next((n for n in (name, short) if n.startswith(old)), None)
            own = key_map[old] + given[len(old) :] if given is not None else ''
            if own in ours or (own and old):
                chosen.state[own] = tensor
                break
        else:
            chosen.aside.append(name)
    if not chosen.state:
        raise CheckpointError(
            f'{source}: no name in it begins with {" or ".join(map(repr, key_map))}; they begin '
            f'with {", ".join(_beginnings(flat))}.'
        )
    return chosen


def _beginnings(names: Iterable[str]) -> list[str]:
    found = dict.fromkeys('.'.join(name.split('.')[:2]) for name in names)
    return [repr(name) for name in found][:8] or ['nothing']


def _refuse_two(source: str, prefixes: list[str]) -> None:
    shown = ' and '.join(repr(prefix) for prefix in prefixes)
    options = ' or '.join(f'--key-map {shlex.quote(prefix)}=' for prefix in prefixes)
    raise CheckpointError(
        f'{source}: holds {len(prefixes)} sets of weights that fit, under {shown}, and cannot say '
        f'which one is meant. Choose with {options}; in Python with key_map={{{prefixes[0]!r}: '
        "''}."
    )


def of_semseg(names: Iterable[str]) -> bool:
    """Whether the names are those of the PSPNet and PSANet authors' own code."""
    found = list(names)
    return all(any(name.endswith(end) for name in found) for end in _SEMSEG) and any(
        'ppm.' in name or 'psa.' in name for name in found
    )


def wanted_key_map() -> dict[str, str]:
    """What ``--key-map`` gave, which hands it on to the ranks of a job by the environment.

    Raises:
        CheckpointError: a pair without '='.
    """
    found = {}
    for pair in os.environ.get('SEGKIT_KEY_MAP', '').split():
        old, sign, new = pair.partition('=')
        if not sign:
            raise CheckpointError(
                f'--key-map {pair}: write OLD=NEW, the beginning of the names in the file and '
                'what the model has in its place, e.g. model_ema.='
            )
        found[old] = new
    return found
