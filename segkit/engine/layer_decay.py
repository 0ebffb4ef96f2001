"""Rates that fall towards the input of a pretrained encoder (arXiv:2106.08254, appendix; ELECTRA).

What lies near the image is general and needs little change; what lies near the head learns at the
full rate. Block i of L learns at ``lr * decay_rate ** (L + 1 - i)``, what comes before the first
block as block 0, heads at ``lr``. Norms, biases and embeddings of positions get no weight decay.

    optim_wrapper = dict(
        constructor='LearningRateDecayOptimizerConstructor',
        paramwise_cfg=dict(decay_rate=0.9, decay_type='layer_wise'),
        optimizer=dict(type='AdamW', ...))
"""

import re

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from segkit.errors import UserError
from segkit.registry import OPTIM_WRAPPER_CONSTRUCTORS

# A stage's number, and a block's in it, in the names of backbones: of the Mix Transformer, of
# ResNets, of timm's plain transformers (whose blocks lie in one stage) and of timm's stages.
_BLOCKS = tuple(
    re.compile(pattern)
    for pattern in (
        r'backbone\.layers\.(?P<stage>\d+)\.1\.(?P<block>\d+)\.',
        r'backbone\.layer(?P<stage>\d+)\.(?P<block>\d+)\.',
        r'backbone\.timm_model\.(?:model\.)?blocks\.(?P<block>\d+)\.(?!\d)',
        r'backbone\.timm_model\.(?:model\.)?(?:stages|layers|layer|blocks)[._]?(?P<stage>\d+)\.'
        r'(?:blocks\.)?(?P<block>\d+)\.',
    )
)
_NO_DECAY = ('pos_embed', 'cls_token', 'reg_token')


def layer_numbers(names: list[str], decay_type: str) -> tuple[dict[str, int], int]:
    """(parameter name of a backbone -> its layer, number of layers); layer 0 is the stem.

    What lies between blocks belongs to the next one, and after the last to that.

    Args:
        names: in the order of the network.
        decay_type: 'layer_wise' counts blocks, 'stage_wise' stages.
    """
    found: dict[str, int] = {}
    order: list[tuple[str, ...]] = []
    waiting: list[str] = []
    for name in names:
        match = next((m for m in (p.match(name) for p in _BLOCKS) if m), None)
        if match is None:
            waiting.append(name)
            continue
        parts = match.groupdict()
        stage = str(parts.get('stage', ''))
        unit = (stage,) if decay_type == 'stage_wise' else (stage, parts['block'])
        if unit not in order:
            order.append(unit)
        found |= dict.fromkeys(waiting, 0 if len(order) == 1 else len(order))
        found[name], waiting = len(order), []
    return found | dict.fromkeys(waiting, len(order)), len(order)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LearningRateDecayOptimizerConstructor(DefaultOptimWrapperConstructor):
    """The default constructor with ``paramwise_cfg=dict(decay_rate, decay_type, num_layers)``.

    decay_rate: of the rate, from each layer to the one before it; 1 keeps all equal.
    decay_type: 'layer_wise' (by default) or 'stage_wise'.
    num_layers: steps the layers are spread over; by default one for each.
    """

    def add_params(self, params: list, module: nn.Module, **kwargs: object) -> None:
        """Groups of parameters that share a rate and a weight decay, into ``params``."""
        settings = dict(self.paramwise_cfg)
        rate, kind = settings.pop('decay_rate', None), settings.pop('decay_type', 'layer_wise')
        wanted = settings.pop('num_layers', None)
        if rate is None or kind not in ('layer_wise', 'stage_wise') or settings:
            raise UserError(
                'optim_wrapper.paramwise_cfg: LearningRateDecayOptimizerConstructor takes '
                "decay_rate (0.9, say), decay_type ('layer_wise' or 'stage_wise') and num_layers, "
                f'got {dict(self.paramwise_cfg)}.'
            )
        trained = {n: p for n, p in module.named_parameters() if p.requires_grad}
        layers, count = layer_numbers([n for n in trained if n.startswith('backbone.')], kind)
        if count == 0:
            raise UserError(
                'optim_wrapper.constructor: no blocks are known by the names of this backbone, '
                f'which begin with {", ".join(list(trained)[:2])}. Set rates with '
                'paramwise_cfg=dict(custom_keys=...) instead.'
            )
        top = wanted or count
        groups: dict[tuple[int, bool], dict] = {}
        for name, parameter in trained.items():
            layer = -(-layers[name] * top // count) if name in layers else top + 1
            bare = parameter.dim() <= 1 or name.rpartition('.')[2] in _NO_DECAY
            if (layer, bare) not in groups:
                scale = rate ** (top + 1 - layer)
                groups[layer, bare] = {
                    'params': [], 'lr': scale * self.base_lr, 'lr_scale': scale,
                    'weight_decay': 0.0 if bare else self.base_wd,
                }  # fmt: skip
            groups[layer, bare]['params'].append(parameter)
        params.extend(
            {k: v for k, v in group.items() if v is not None} for group in groups.values()
        )
