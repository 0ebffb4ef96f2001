"""Models about to be filled from a file: their weights are neither drawn nor, so far, in memory.

Drawing the 50 to 90 million weights of a network takes longer than reading the file that then
replaces them. Left undrawn they are memory that no page was given to yet.
"""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_DRAWS = {
    torch.Tensor.normal_,
    torch.Tensor.uniform_,
    nn.init.normal_,
    nn.init.uniform_,
    nn.init.kaiming_uniform_,
}


class Undrawn(TorchFunctionMode):
    """Within it, drawing random values leaves a parameter as it is; constants are written.

    For building a model whose every parameter then comes from a file. Other tensors are drawn as
    ever: what no checkpoint holds may have been derived from them.
    """

    def __torch_function__(
        self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        kwargs = kwargs or {}
        if func in _DRAWS:
            tensor = args[0] if args else kwargs['tensor']
            if isinstance(tensor, nn.Parameter):
                return tensor
        return func(*args, **kwargs)


def without_pretrained(cfg: Mapping[str, object]) -> dict[str, object]:
    """A model config that names no weights to start from: a file that brings all is read later."""
    cfg = {key: value for key, value in cfg.items() if key != 'pretrained'}
    backbone = cfg.get('backbone')
    if isinstance(backbone, Mapping):
        named = {'pretrained': None, 'checkpoint_path': ''}
        cfg['backbone'] = {k: named.get(k, v) if v else v for k, v in backbone.items()}
    return cfg


def build_undrawn(cfg: Mapping[str, object]) -> nn.Module:
    """Build a model config for ``load_into(model, file)`` to fill.

    ``initialise(model, report.missing)`` then draws what the file did not hold.
    """
    from segkit.registry import build_ours

    with Undrawn():
        return build_ours(without_pretrained(cfg))


def initialise(model: nn.Module, names: Iterable[str]) -> None:
    """Draw the tensors of these state-dict names as their layers do, and leave the others alone.

    A tensor of a layer that cannot ``reset_parameters`` becomes zero.
    """
    by_layer: dict[str, set[str]] = {}
    for name in names:
        path, _, own = name.rpartition('.')
        by_layer.setdefault(path, set()).add(own)
    for path, missing in by_layer.items():
        layer = model.get_submodule(path)
        held = {n: t.clone() for n, t in _own(layer).items() if n not in missing}
        reset_parameters = getattr(layer, 'reset_parameters', None)
        if reset_parameters is not None:
            reset_parameters()
        else:
            for own in missing:
                _own(layer)[own].zero_()
        for name, tensor in held.items():
            _own(layer)[name].copy_(tensor)


def _own(layer: nn.Module) -> dict[str, torch.Tensor]:
    """The layer's parameters and buffers, not those of its children, outside the graph."""
    tensors = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
    return {name: tensor.detach() for name, tensor in tensors}
