"""Whether a network's way of predicting can be that of an exported network.

An engine is one function from pictures to logits. What a network does within it otherwise is
refused by name, never left out: a step written anew, or a hook that watches a layer.
"""

from collections.abc import Callable, Iterator
from inspect import unwrap

from torch import nn

from segkit.models.decode_heads import BaseDecodeHead
from segkit.models.layers import is_replaced
from segkit.models.segmentors import EncoderDecoder

from .settings import BackendError, Settings

# Steps that an engine takes the place of, and those around it, which stay, and see no layer.
_WITHIN = ('extract_feat', 'encode_decode')
_AROUND = (
    'predict',
    'inference',
    'whole_inference',
    'slide_inference',
    'postprocess_result',
)
_LAYERS = {'backbone', 'neck', 'extract_feat'}  # what there is no more


def refuse_steps(model: EncoderDecoder, settings: Settings) -> None:
    """Raise BackendError for what an exported network does not hold."""
    head = model.decode_head
    steps = [(model, EncoderDecoder, name) for name in _WITHIN] + [
        (head, BaseDecodeHead, 'predict')
    ]
    for part, cls, name in steps:
        if _own(part, cls, name):
            _refuse(settings, f'{type(part).__name__}.{name} is written anew')
    for name in _AROUND:
        used = sorted(_LAYERS & {*_names(_own(model, EncoderDecoder, name))})
        if used:
            _refuse(settings, f'{type(model).__name__}.{name} is written anew and uses {used[0]}')
    for name, hook in _hooks(model):
        _refuse(settings, f'{name} is watched by a forward hook ({hook})')


def _refuse(settings: Settings, what: str) -> None:
    raise BackendError(
        f'backend={settings.backend!r}: {what}, which an exported network does not hold; use '
        "backend='torch'."
    )


def _own(part: nn.Module, cls: type, name: str) -> Callable | None:
    """A step that a subclass or the instance has of its own."""
    return getattr(part, name) if is_replaced(part, cls, name) else None


def _names(method: Callable | None) -> tuple[str, ...]:
    """What the code of a function names: attributes and globals."""
    method = unwrap(method) if method is not None else None
    code = getattr(getattr(method, '__func__', method), '__code__', None)
    return code.co_names if code is not None else ()


def _hooks(model: EncoderDecoder) -> Iterator[tuple[str, str]]:
    """(layer, hook) of the network; those of torch's own, such as of weight_norm, are part of what
    a layer computes."""
    for part in ('backbone', 'neck', 'decode_head'):
        network = getattr(model, part, None)
        for name, module in network.named_modules(prefix=part) if network is not None else ():
            for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values()):
                place = getattr(hook, '__module__', None) or type(hook).__module__
                if place.partition('.')[0] != 'torch':
                    yield name, getattr(hook, '__qualname__', type(hook).__name__)
