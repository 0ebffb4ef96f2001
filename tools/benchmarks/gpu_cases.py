"""Every network, loss, pixel sampler and operator that the registries hold, each as a small case.

What parity with the CPU, repeated bits and the list of nondeterministic operations sweep over. A
network is that of the first config in each folder of configs/, with an eighth of its channels;
``uncovered`` names what no case shows.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor, nn

from segkit import ops
from segkit.engine.config import load_config
from segkit.engine.config_files import shipped_home
from segkit.models.backbones.timm_backbone import import_timm
from segkit.models.decode_heads.pixel_attention import pixel_attention
from segkit.models.layers import revert_sync_bn
from segkit.ops import psa_softmax
from segkit.ops.psa_window import PSA_TYPES
from segkit.registry import MODELS, TABLE
from segkit.structures import PixelData, SegDataSample

# What no config shows, or what should be seen with other arguments too. A backbone takes the place
# of the FCN's; {} is the FCN's own with another type.
TIMM = {'type': 'TimmBackbone', 'model_name': 'resnet18'}
BACKBONES = {'ResNet': {}, 'ResNetV1d': {}, 'TimmBackbone': TIMM}
LOSSES = {
    'CrossEntropyLoss': [
        {}, {'class_weight': [0.5, 1.0, 2.0, 0.1, 3.0]}, {'avg_non_ignore': True},
        {'use_sigmoid': True},
    ],
    'DiceLoss': [{}, {'use_sigmoid': False}],
    'LovaszLoss': [{}, {'loss_type': 'binary', 'per_image': True}],
}  # fmt: skip
BINARY = {'num_classes': 2, 'out_channels': 1, 'threshold': 0.4}
SAMPLERS = {'OHEMPixelSampler': [{'min_kept': 100}, {'thresh': 0.3, 'min_kept': 100}]}
IMAGE, MAP, CLASSES, IGNORED = (72, 88), (9, 11), 5, 255
Answers = dict[str, Tensor]


FORMS = {  # how psa_attention is evaluated: what is changed for it
    'grouped, Triton': {'SEGKIT_TRITON': 'auto'},
    'grouped': {'SEGKIT_TRITON': '0'},
    'patches': {'SEGKIT_TRITON': '0', 'patches': True},
}


def in_form(form: str, call: Callable[[], Any]) -> Any:
    """``call()`` with attention evaluated in one of FORMS; a CPU has patches alone."""
    chosen = dict(FORMS[form])
    with ExitStack() as stack:
        if chosen.pop('patches', False):
            stack.enter_context(patch.object(psa_softmax, 'use_grouped', lambda *_: False))
        stack.enter_context(patch.dict('os.environ', chosen))
        return call()


class Case(NamedTuple):
    """``call(module, *inputs)`` gives tensors by name; 'loss' is what is differentiated."""

    name: str
    module: nn.Module
    inputs: tuple[Tensor, ...]
    call: Callable[..., Answers]
    swept: frozenset[str]  # names in the registries, or of segkit.ops
    form: str = 'grouped, Triton'  # forward and backward

    def to(self, device: str) -> 'Case':
        """A copy on a device."""
        inputs = tuple(x.detach().to(device).requires_grad_(x.requires_grad) for x in self.inputs)
        return self._replace(module=copy.deepcopy(self.module).to(device), inputs=inputs)

    def answers(self, scale: float = 1.0) -> Answers:
        """Outputs, and all gradients in one; ``scale`` keeps those of half precision above zero."""
        return in_form(self.form, partial(self._answers, scale))

    def _answers(self, scale: float) -> Answers:
        torch.manual_seed(0)
        found = self.call(self.module, *self.inputs)
        wanted = [x for x in (*self.inputs, *self.module.parameters()) if x.requires_grad]
        grads = torch.autograd.grad(found['loss'] * scale, wanted, allow_unused=True)
        flat = [grad.float().flatten() / scale for grad in grads if grad is not None]
        return {name: out.detach() for name, out in found.items()} | {'gradient': torch.cat(flat)}


def cases() -> Iterator[Case]:
    """All of them, on the CPU in float32, from fixed seeds."""
    for make in (networks, losses, attention, operators):
        yield from make()


def uncovered(swept: set[str]) -> list[str]:
    """Names of the registries and of segkit.ops that none of the swept cases shows."""
    held = {name for table in TABLE.values() for name in table}
    held |= {name for name in ops.__all__ if callable(getattr(ops, name))}
    return sorted(held - swept - {*not_here()})


def samples_of(labels: Tensor) -> list[SegDataSample]:
    """Data samples of labels (N, 1, H, W)."""
    return [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]


def random_labels(size: tuple[int, int], classes: int, batch: int = 2) -> Tensor:
    """(batch, 1, H, W) uint8, a tenth of them ignored."""
    labels = torch.randint(0, classes, (batch, 1, *size), dtype=torch.uint8)
    return labels.masked_fill_(torch.rand(labels.shape) < 0.1, IGNORED)


def network_configs() -> dict[str, dict[str, Any]]:
    """Name of a folder of configs -> the model of its first config with a backbone of ours; then
    other backbones of FCN."""
    folders = (path for path in sorted(shipped_home().iterdir()) if path.name[0] not in '_.')
    firsts = {folder.name: min(folder.glob('*_[rm]*.py'), default=None) for folder in folders}
    found = {name: small(load_config(path).model) for name, path in firsts.items() if path}
    for kind, own in BACKBONES.items():
        if kind not in not_here():
            own = own or {**found['fcn']['backbone'], 'type': kind}
            found[kind] = {**found['fcn'], 'backbone': own}
    return found


def not_here() -> list[str]:
    """What needs a package that cannot be imported."""
    try:
        import_timm()
    except ImportError:
        return ['TimmBackbone']
    return []


def small(model: Mapping[str, Any]) -> dict[str, Any]:
    """Without weights to load; with an eighth of the channels where the backbone is a ResNet."""
    made = {**copy.deepcopy(dict(model)), 'pretrained': None}
    made['backbone'] = {**made['backbone'], 'init_cfg': None}
    if made['backbone']['type'].startswith('ResNet'):
        widths = ('base_channels', 'stem_channels')
        made['backbone'] |= {key: made['backbone'].get(key, 64) // 8 for key in widths}
        for key in ('decode_head', 'auxiliary_head'):
            heads = made.get(key) or []
            several = isinstance(heads, list | tuple)
            narrow = [_narrow(head) for head in (heads if several else [heads])]
            made[key] = narrow if several else narrow[0]
    return made


def _narrow(head: Mapping[str, Any]) -> dict[str, Any]:
    def eighth(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [eighth(v) for v in value]
        return max(value // 8, 4) if isinstance(value, int) and value >= 32 else value

    narrow = {k: eighth(v) if k.endswith('channels') else v for k, v in head.items()}
    return narrow | ({'mask_size': (7, 9)} if 'mask_size' in head else {})


def _names_in(cfg: object) -> set[str]:
    """Every ``type`` in a config."""
    parts = [*cfg.values()] if isinstance(cfg, Mapping) else cfg if isinstance(cfg, list) else []
    own = {str(cfg['type'])} if isinstance(cfg, Mapping) and 'type' in cfg else set()
    return own.union(*map(_names_in, parts))


def _segmentor(model: nn.Module, images: Tensor, labels: Tensor) -> Answers:
    losses = model(images, samples_of(labels), mode='loss')
    loss = sum(value.sum() for name, value in losses.items() if 'loss' in name)
    logits = model(images)
    return {'logits': logits if isinstance(logits, Tensor) else logits[0], 'loss': loss}


def networks() -> Iterator[Case]:
    """Statistics of the batch norms of the backbone are those of the images, so that maps stay
    alike in size; factors that start at 0 would hide their branch."""
    for name, cfg in network_configs().items():
        torch.manual_seed(0)
        model = revert_sync_bn(MODELS.build(copy.deepcopy(cfg)))
        model.init_weights()
        images = torch.randn(2, 3, *IMAGE)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
            if hasattr(module, 'scale') and isinstance(module.scale, nn.Parameter):
                nn.init.constant_(module.scale, 0.5)
        nn.init.normal_(model.decode_head.conv_seg.weight, std=0.1)
        with torch.no_grad():
            model.train().extract_feat(images)
        labels = random_labels(IMAGE, model.decode_head.num_classes)
        swept = frozenset(_names_in(cfg))
        yield Case(f'network {name}', model.eval(), (images, labels), _segmentor, swept)


def _head_loss(head: nn.Module, x: Tensor, labels: Tensor) -> Answers:
    losses = head.loss([x], samples_of(labels))
    return {'loss': sum(value.sum() for name, value in losses.items() if 'loss' in name)}


def losses() -> Iterator[Case]:
    """Every loss, and every pixel sampler, in a head."""
    made = [name for name, home in TABLE['MODELS'].items() if home.startswith('losses.')]
    choices = [{'loss_decode': {'type': n, **o}} for n in made for o in LOSSES.get(n, [{}])]
    samplers = [(name, options) for name in TABLE['TASK_UTILS'] for options in SAMPLERS[name]]
    choices += [{'sampler': {'type': name, **options}} for name, options in samplers]
    common = {'in_channels': 8, 'channels': 8, 'num_convs': 1, 'num_classes': CLASSES}
    for choice in choices:
        torch.manual_seed(0)
        loss = choice.get('loss_decode', {'type': ''})
        one = loss['type'] == 'BoundaryLoss' or loss.get('loss_type') == 'binary'
        args = {**common, **(BINARY if one else {}), **copy.deepcopy(choice)}
        head = MODELS.build({'type': 'FCNHead', **args})
        labels = random_labels(IMAGE, 2 if one else CLASSES)
        inputs = torch.randn(2, 8, *MAP, requires_grad=True), labels
        swept = frozenset(_names_in(choice))
        yield Case(f'loss {choice}', head.eval(), inputs, _head_loss, swept)


def _squared(out: Tensor) -> Answers:
    return {'out': out, 'loss': out.float().square().mean()}


def attention() -> Iterator[Case]:
    """psa_attention in all its forms; the same calls on a CPU are its patches."""
    settings = [{'save_attention': True}, {'save_attention': False}, {'softmax': False}]
    for psa_type in PSA_TYPES:
        for mask in ((17, 21), (7, 8)):
            for form in FORMS:
                for options in settings:
                    yield _attention(psa_type, mask, form, options)
            yield _attention(psa_type, mask, 'patches', {'backend': 'composite'})


def _attention(psa_type: str, mask: tuple[int, int], form: str, options: dict[str, Any]) -> Case:
    torch.manual_seed(0)
    value, feat = (torch.randn(2, 24, *MAP, requires_grad=True) for _ in range(2))
    weight = (torch.randn(mask[0] * mask[1], 24) * 24**-0.5).requires_grad_()

    def call(_: nn.Module, *inputs: Tensor) -> Answers:
        return _squared(ops.psa_attention(*inputs, psa_type, mask, **options))

    name = f'attention {psa_type} {mask} {form} {options}'
    return Case(
        name, nn.Identity(), (value, feat, weight), call, frozenset({'psa_attention'}), form
    )


def operators() -> Iterator[Case]:
    """The rest of segkit.ops, and the attention of DANet."""
    torch.manual_seed(0)
    x, low = torch.randn(2, 24, *MAP), torch.randn(2, 8, 3, 4)
    windows, weight = torch.randn(2, 63, *MAP), torch.randn(63, 24) / 5
    query, key, value = (torch.randn(2, c, 99) for c in (8, 8, 16))
    conv = nn.Conv2d(32, 8, 3, padding=1)
    collect, layer = ops.PointwiseSpatialAttention(24, (7, 9)), ops.PSAMask('collect', (7, 9))
    made = {
        'conv_cat_upsampled': (
            conv, (x, low), lambda m, a, b: ops.conv_cat_upsampled(m, a, [b], MAP)),
        'psa_logits': (nn.Identity(), (x, weight), lambda _, a, b: ops.psa_logits(a, b, (7, 9))),
        'psa_mask': (nn.Identity(), (windows,), lambda _, a: ops.psa_mask(a, 'distribute', (7, 9))),
        'PSAMask': (layer, (windows,), lambda m, a: m(a)),
        'PointwiseSpatialAttention': (collect, (x,), lambda m, a: m(a)),
        'pixel_attention': (nn.Identity(), (query, key, value), lambda _, *t: pixel_attention(*t)),
    }  # fmt: skip
    for name, (module, inputs, call) in made.items():
        given = tuple(t.clone().requires_grad_() for t in inputs)
        yield Case(
            f'operator {name}', module, given, lambda m, *t, c=call: _squared(c(m, *t)),
            frozenset({name}),
        )  # fmt: skip
