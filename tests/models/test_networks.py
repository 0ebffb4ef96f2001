"""Whole networks, one for each head: they train, predict in every way, compile and go on exactly
where they were stopped.

The networks are those whose numbers are kept (``contract.networks``), so that a head without one
is noticed here.
"""

import copy

import pytest
import torch
from contract.networks import HEADS, MODES, batch, network, picture
from guarantees.test_losses import head_configs
from helpers import found, short_net
from helpers.runs import assert_same_run, train, train_until
from helpers.timm_alone import require_timm

from segkit.apis import inference_model
from segkit.engine.config import load_config

ENCODERS = {
    'MixVisionTransformer': dict(
        _delete_=True, type='MixVisionTransformer', embed_dims=8, num_heads=(1, 2, 4, 8),
        num_layers=(1, 1, 1, 1), drop_path_rate=0.5),
}  # fmt: skip
OF_TINY = {
    'SegformerHead': dict(in_channels=[8, 16, 32, 64], in_index=[0, 1, 2, 3], channels=16),
    'UPerHead': dict(in_channels=[8, 16, 32, 64], in_index=[0, 1, 2, 3], channels=16),
    'ASPPHead': dict(in_channels=64, in_index=3, channels=16, dilations=(1, 2)),
    'DepthwiseSeparableASPPHead': dict(
        in_channels=64, in_index=3, channels=16, dilations=(1, 2), c1_in_channels=8),
}  # fmt: skip


def test_every_head_has_a_network():
    assert set(HEADS) == set(found.heads())
    assert len(HEADS) >= 9


def total(losses):
    return sum(value for name, value in losses.items() if 'loss' in name)


@pytest.mark.parametrize('head', HEADS)
def test_a_few_steps_of_training_lower_the_loss(head):
    model = network(head).train()
    inputs, samples = batch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    history = []
    for step in range(6):
        with torch.autocast('cpu', torch.bfloat16, enabled=step % 2 == 1):
            loss = total(model(inputs, samples, mode='loss'))
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
        history.append(float(loss.detach()))
    assert history == sorted(history, reverse=True)
    assert history[-1] < history[0] - 0.02


@torch.no_grad()
@pytest.mark.parametrize('head', HEADS)
@pytest.mark.parametrize('mode', MODES)
def test_predictions_are_those_of_logits_written_out(head, mode):
    test_cfg, views = MODES[mode]
    model, written = network(head), network(head)
    for net, kept in ((model, False), (written, True)):
        net.test_cfg = dict(test_cfg, keep_logits=kept)
    classes = inference_model(model, picture(), aug_test=views).pred_sem_seg.data
    scores = inference_model(written, picture(), aug_test=views).seg_logits.data
    assert (classes.long() == scores.argmax(0)).float().mean() > 0.999
    assert len(classes.unique()) >= 3


@torch.no_grad()
@pytest.mark.parametrize('head', HEADS)
def test_the_parts_compile_into_one_graph_each(head):
    model = network(head).eval()
    inputs = batch()[0]
    want = model(inputs)
    compiled = copy.deepcopy(model)
    for part in (compiled.backbone, compiled.decode_head):
        part.forward = torch.compile(part.forward, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(inputs), want, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('head', OF_TINY)
def test_a_run_goes_on_where_it_was_stopped(head, tmp_path):
    own = dict(num_classes=13, norm_cfg=dict(type='SyncBN'), **OF_TINY[head])
    options = dict(
        model__decode_head=dict(_delete_=True, type=head, **own),
        optim_wrapper__optimizer=dict(_delete_=True, type='AdamW', lr=1e-3),
    )
    if head == 'SegformerHead':
        options['model__backbone'] = ENCODERS['MixVisionTransformer']
    train(tmp_path / 'straight', **options)
    train_until(tmp_path / 'stopped', 5, **options)
    train(tmp_path / 'stopped', resume=True, **options)
    assert_same_run(tmp_path / 'stopped/iter_8.pth', tmp_path / 'straight/iter_8.pth')


ON_TIMM = {
    'convnext': (
        dict(model_name='test_convnext', drop_path_rate=0.4),
        dict(type='FCNHead', in_channels=64, in_index=3, channels=16, num_convs=1),
    ),
    'plain transformer': (
        dict(model_name='test_vit', pyramid=(8, 16, 32), img_size=32),
        dict(type='UPerHead', in_channels=[64] * 3, in_index=[0, 1, 2], channels=16,
             pool_scales=(1, 2)),
    ),
    'frozen': (
        dict(model_name='test_convnext', frozen=True),
        dict(type='FCNHead', in_channels=64, in_index=3, channels=16, num_convs=1),
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', ON_TIMM)
def test_a_run_on_an_encoder_of_timm_goes_on_where_it_was_stopped(name, tmp_path):
    require_timm()
    backbone, head = ON_TIMM[name]
    options = dict(
        model__backbone=dict(_delete_=True, type='TimmBackbone', **backbone),
        model__decode_head=dict(
            _delete_=True, num_classes=13, norm_cfg=dict(type='SyncBN'), dropout_ratio=0.1, **head
        ),
        model__auxiliary_head=None,
        optim_wrapper__optimizer=dict(_delete_=True, type='AdamW', lr=1e-3),
    )
    train(tmp_path / 'straight', **options)
    train_until(tmp_path / 'stopped', 5, **options)
    train(tmp_path / 'stopped', resume=True, **options)
    assert_same_run(tmp_path / 'stopped/iter_8.pth', tmp_path / 'straight/iter_8.pth')


# Networks that came after the five; what each of them has to do is what is swept in this file, in
# tests/apis (exports) and in the sweeps over all of a kind.
LATER = {'ASPPHead', 'DepthwiseSeparableASPPHead', 'SegformerHead', 'UPerHead'}


def test_each_later_network_is_in_every_sweep():
    """Trained, tested as a whole, in windows and by scales and flips, compiled, resumed, exported
    with the size it has and with open sizes, in every head's sweep of losses, and shipped."""
    assert set(MODES) == {'whole', 'slide', 'ms+flip'}
    assert set(OF_TINY) == LATER
    assert set(found.heads()) >= LATER
    assert set(HEADS) >= LATER
    exported = {head['type'] for head in short_net.HEADS.values()}
    assert exported >= LATER
    shipped = {load_config(path).model.decode_head['type']
               for path in found.configs().values() if path.parent.name == 'demo'}  # fmt: skip
    assert len(shipped & LATER) >= 3
    assert set(found.backbones()) >= {'MixVisionTransformer', 'TimmBackbone'}
    swept = {config['type'] for config in head_configs()}
    assert swept >= LATER
