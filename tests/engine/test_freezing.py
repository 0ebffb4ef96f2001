"""Parts of a network that a run leaves as they are."""

import copy

import pytest
import torch
from helpers.runs import read, train
from helpers.tiny_config import tiny_config
from torch import nn

from segkit.engine import Runner
from segkit.engine.freezing import freeze
from segkit.errors import ConfigError
from segkit.registry import MODELS
from segkit.weights import CheckpointError

FROZEN = ['backbone.*', 'decode_head.conv_seg', 'auxiliary_head.convs.0.bn.*']


def network():
    model = MODELS.build(tiny_config('x').model)
    freeze(model, FROZEN)
    return model


def is_frozen(name):
    return name.startswith(('backbone.', 'decode_head.conv_seg.', 'auxiliary_head.convs.0.bn.'))


def test_what_is_frozen_stays_and_all_else_learns(tmp_path):
    runner = Runner.from_cfg(tiny_config(tmp_path, freeze=FROZEN, train_cfg__max_iters=3))
    start = {}
    ready = runner._init_model_weights

    def note():
        ready()
        start.update(copy.deepcopy(runner.model.state_dict()))

    runner._init_model_weights = note
    runner.train()
    end = runner.model.state_dict()
    moved = {name for name in end if not torch.equal(end[name], start[name])}
    assert moved
    assert not {name for name in moved if is_frozen(name)}
    weights = {name for name, _ in runner.model.named_parameters()}
    assert {name for name in weights if not is_frozen(name)} <= moved
    state = read(tmp_path / 'iter_3.pth')['optimizer']['state']
    assert len(state) == sum(not is_frozen(name) for name in weights)
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'weights stay as they are' in log


def test_modules_at_rest_keep_their_statistics_in_training_mode():
    model = network().train()
    resting = {name for name, module in model.named_modules() if name and not module.training}
    assert 'backbone' in resting
    assert 'backbone.layer1.0.bn1' in resting
    assert 'decode_head.conv_seg' in resting
    assert 'auxiliary_head.convs.0.bn' in resting
    assert {name.partition('.')[0] for name in resting} == {
        'backbone', 'decode_head', 'auxiliary_head'}  # fmt: skip
    assert model.decode_head.training
    assert model.decode_head.dropout.training
    assert copy.deepcopy(model).eval().train().decode_head.training
    again = copy.deepcopy(model).train()
    assert not again.backbone.training
    assert model.eval().train() is model


def test_a_run_is_not_resumed_with_other_weights_frozen(tmp_path):
    groups = dict(optim_wrapper__paramwise_cfg=dict(custom_keys={'head': dict(lr_mult=10.0)}))
    train(tmp_path, freeze=['backbone.*', '*_head.*.bn.*'], train_cfg__max_iters=1, **groups)
    with pytest.raises(CheckpointError, match=r'iter_1.pth: its optimizer .* --load-from .*iter_1'):
        train(tmp_path, train_cfg__max_iters=2, resume='auto', **groups)


def test_nothing_waits_for_a_frozen_weight():
    """DDP looks at each weight that takes a gradient: all of those get one."""
    model = network().train()
    for part in (model.decode_head, model.auxiliary_head):
        part.loss_by_feat = lambda logits, samples: {'loss': logits.square().mean()}
    losses = model.loss(torch.rand(2, 3, 32, 32), [])
    sum(losses.values()).backward()
    for name, weight in model.named_parameters():
        assert (weight.grad is None) == is_frozen(name), name


@pytest.mark.parametrize('pattern', ['backbone', 'backbone.*', 'backb*', ['backbone']])
def test_a_module_is_named_with_or_without_what_it_holds(pattern):
    model = MODELS.build(tiny_config('x').model)
    said = freeze(model, pattern)
    assert not any(weight.requires_grad for weight in model.backbone.parameters())
    assert all(weight.requires_grad for weight in model.decode_head.parameters())
    assert 'weights stay as they are' in said


@pytest.mark.parametrize(
    ('patterns', 'said'),
    [
        (['backbone.*', 'decode_haed.*'], "freeze: 'decode_haed.*' names no weight .* decode_head"),
        (['decode_head.convseg'], r"'decode_head.convseg' names no .*decode_head.conv_seg"),
        (['x'], "'x' names no weight and no module. Near it: .*backbone"),
        (['*'], 'leaves nothing to train'),
    ],
)
def test_what_names_nothing_or_all_is_refused(tmp_path, patterns, said):
    with pytest.raises(ConfigError, match=said):
        train(tmp_path, freeze=patterns)


def test_a_norm_of_which_a_part_is_frozen_goes_on():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    freeze(model, ['1.weight'])
    assert model.train()[1].training
    assert not model[1].weight.requires_grad
    assert model[1].bias.requires_grad
