"""Every layer of a network may be watched, changed by a hook, or replaced: what is spared for speed
where nobody looks is computed where somebody does."""

import pytest
import torch
from helpers import found
from helpers.heads import SMALL, random_labels, samples_of, with_random_state
from torch import nn

from segkit.models.decode_heads import FCNHead

TWO = dict(in_channels=[16, 16], in_index=[0, 1])
ARGS = {
    'DAHead': dict(pam_channels=4), 'ISAHead': dict(isa_channels=4), 'UPerHead': TWO,
    'PSAHead': dict(mask_size=(9, 9)), 'SegformerHead': TWO,
    'DepthwiseSeparableASPPHead': dict(c1_in_channels=16, c1_channels=4),
}  # fmt: skip
# In testing nobody asks for what these say (docs of DAHead).
NOT_IN_TESTING = {'pam_conv_seg', 'cam_conv_seg'}
HEADS = [name for name in found.heads() if name != 'BaseDecodeHead']
PSA = [{}, dict(shrink_factor=1), dict(mask_size=(5, 4)), dict(mask_size=(9, 9), compact=True)]
CASES = [(name, {}) for name in HEADS if name != 'PSAHead'] + [('PSAHead', args) for args in PSA]


def built(name, args, training):
    torch.manual_seed(0)
    head = found.heads()[name](**{**SMALL, 'dropout_ratio': 0, **ARGS.get(name, {}), **args})
    return with_random_state(head).train(training)


def maps(name):
    torch.manual_seed(1)
    fine = torch.randn(2, 16, 17, 17)
    return [fine, torch.randn(2, 16, 9, 9) if ARGS.get(name) is TWO else fine]


def first(out):
    return out[0] if isinstance(out, tuple) else out


def layers(head, training):
    """What is called in a forward pass, by name."""
    return {
        name: module
        for name, module in head.named_modules()
        if name
        and type(module) is not nn.ModuleList
        and not name.startswith('loss_decode')
        and (training or name not in NOT_IN_TESTING)
    }


def doubled(module, args, out):
    return tuple(2 * part for part in out) if isinstance(out, tuple | list) else 2 * out


def test_the_sweep_is_over_all_heads():
    assert len(HEADS) == 9
    assert sum(len(layers(built(*case, True), True)) for case in CASES) > 250


@torch.no_grad()
@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize(('name', 'args'), CASES)
def test_hooks_of_every_layer_fire_and_count(name, args, training):
    head, inputs = built(name, args, training), maps(name)
    want = first(head(inputs))
    idle = []
    for layer, module in layers(head, training).items():
        seen = []
        handles = [
            module.register_forward_pre_hook(lambda m, a, s=seen: s.append('before')),
            module.register_forward_hook(lambda m, a, out, s=seen: s.append('after')),
        ]
        got = first(head(inputs))
        for handle in handles:
            handle.remove()
        if {*seen} != {'before', 'after'}:
            idle.append(layer)
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    assert not idle


@torch.no_grad()
@pytest.mark.parametrize(('name', 'args'), CASES)
def test_convolutions_that_are_changed_change_the_logits(name, args):
    head, inputs = built(name, args, False), maps(name)
    want, same, changed = first(head(inputs)), [], 0
    for layer, module in layers(head, False).items():
        if not isinstance(module, nn.Conv2d):
            continue
        changed += 1
        with module.register_forward_hook(doubled):
            by_hook = first(head(inputs))
        module.forward = lambda x, m=module: 2 * type(m).forward(m, x)
        by_forward = first(head(inputs))
        del module.forward
        torch.testing.assert_close(by_hook, by_forward, rtol=1e-4, atol=1e-4)
        if torch.equal(by_hook, want):
            same.append(layer)
    assert changed >= 2
    assert not same


@torch.no_grad()
def test_a_layer_put_between_those_of_the_attention_counts():
    head, inputs = built('PSAHead', {}, False), maps('PSAHead')
    want = head(inputs)
    head.attention.insert(1, nn.Identity())
    torch.testing.assert_close(head(inputs), want, rtol=1e-4, atol=1e-4)
    head.attention[1] = nn.Tanh()
    assert not torch.allclose(head(inputs), want, rtol=1e-3, atol=1e-3)


LOSSES = {name: loss for name, loss in found.losses().items() if name != 'Accuracy'}


def by_subclass(loss, kind, seen):
    def forward(self, *args, **kwargs):
        seen.append(1)
        return 2 * kind.forward(self, *args, **kwargs)

    return type(f'My{kind.__name__}', (kind,), {'forward': forward})()


def by_object(loss, kind, seen):
    forward = loss.forward
    loss.forward = lambda *args, **kwargs: (seen.append(1), 2 * forward(*args, **kwargs))[1]
    return loss


def by_hook(loss, kind, seen):
    loss.register_forward_hook(lambda module, args, out: (seen.append(1), 2 * out)[1])
    return loss


def test_the_sweep_is_over_all_losses():
    assert len(LOSSES) == 6, sorted(LOSSES)


@pytest.mark.parametrize('way', [by_subclass, by_object, by_hook])
@pytest.mark.parametrize('name', LOSSES)
def test_a_loss_with_a_forward_of_its_own_is_trained_by_it(name, way):
    torch.manual_seed(0)
    kind, one = LOSSES[name], LOSSES[name].one_channel
    classes = dict(num_classes=2, out_channels=1, threshold=0.5) if one else {}
    head = FCNHead(**{**SMALL, 'dropout_ratio': 0, **classes}, loss_decode=dict(type=name))
    x, samples = torch.randn(2, 16, 8, 8), samples_of(random_labels(2, (64, 64), 2 if one else 5))
    want, seen = head.loss([x], samples), []
    head.loss_decode = way(kind(), kind, seen)
    got = head.loss([x], samples)
    assert seen == [1]
    loss_name = head.loss_decode.loss_name
    torch.testing.assert_close(got[loss_name], 2 * want[loss_name], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(got['acc_seg'], want['acc_seg'])
