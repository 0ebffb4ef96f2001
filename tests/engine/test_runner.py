"""What a run leaves behind, what it costs, and the switches of the Runner."""

import copy
import json
import logging
import math
import sys
import time

import pytest
import torch
from helpers.runs import differences, read, train
from helpers.tiny_config import NO_VALIDATION, tiny_config
from mmengine.config import Config
from mmengine.hooks import Hook

from segkit.engine import ConfigError, Runner, stops
from segkit.engine.hooks.watched_score import better_rule
from segkit.engine.model_setup import compile_network


def log_of(runner: Runner) -> str:
    for handler in runner.logger.handlers:
        handler.flush()
    name = next(h.baseFilename for h in runner.logger.handlers
                if isinstance(h, logging.FileHandler))  # fmt: skip
    with open(name) as file:
        return file.read()


def test_a_run_leaves_checkpoints_a_pointer_a_card_and_a_config(tmp_path):
    train(tmp_path)
    files = {path.name for path in tmp_path.iterdir() if path.is_file()}
    best = {name for name in files if name.startswith('best_mIoU_iter_')}
    assert len(best) == 1
    config = {name for name in files if name.endswith('.py')}
    assert len(config) == 1
    assert files - best - config == {'iter_6.pth', 'iter_8.pth', 'last_checkpoint', 'run.json'}
    assert (tmp_path / 'last_checkpoint').read_text() == 'iter_8.pth'


def test_the_card_tells_what_the_run_was(tmp_path):
    train(tmp_path)
    card = json.loads((tmp_path / 'run.json').read_text())
    assert card['iteration'] == 8
    assert card['seed'] == 7
    assert card['world_size'] == 1
    assert card['effective_batch'] == 2
    assert card['data']['dataset'] == 'ShapesDataset'
    assert card['data']['samples'] == 11
    assert card['config']['train_cfg']['max_iters'] == 8
    assert card['environment']['torch'] == torch.__version__
    assert card['images_per_s'] > 0
    assert card['peak_memory_mb'] > 50
    assert len(card['config_sha256']) == 16


def test_the_size_of_a_checkpoint_does_not_grow(tmp_path):
    train(
        tmp_path, train_cfg__max_iters=36, default_hooks__checkpoint__max_keep_ckpts=-1,
        default_hooks__checkpoint__interval=12, **NO_VALIDATION,
    )  # fmt: skip
    sizes = [(tmp_path / f'iter_{n}.pth').stat().st_size for n in (12, 24, 36)]
    assert max(sizes) - min(sizes) <= 64  # one more digit, and the zip's alignment


def test_all_best_scores_are_kept_apart(tmp_path):
    runner = train(tmp_path, default_hooks__checkpoint__save_best=['mIoU', 'val_loss'],
                   val_cfg__val_loss=True)  # fmt: skip
    best = runner.message_hub.get_info('best_checkpoints')
    assert set(best) == {'mIoU', 'val_loss'}
    for record in best.values():
        assert (tmp_path / record['file']).is_file()
    assert len(list(tmp_path.glob('best_*.pth'))) == 2


def test_early_stopping_stops_and_remembers(tmp_path):
    stopper = dict(type='EarlyStoppingHook', monitor='mIoU', min_delta=1000.0, patience=2)
    runner = train(tmp_path, custom_hooks=[stopper], train_cfg__val_interval=2)
    # The first validation sets the best; the second and the third do not reach it by 1000.
    assert runner.iter == 6
    assert 'Training stops at iteration 6' in log_of(runner)


def test_early_stopping_on_a_name_that_is_not_there(tmp_path):
    stopper = dict(type='EarlyStoppingHook', monitor='mDice')
    with pytest.raises(ConfigError, match=r"custom_hooks\.0\.monitor='mDice'.*mIoU"):
        train(tmp_path, custom_hooks=[stopper])


def by_epoch() -> dict:
    return dict(
        train_cfg=dict(_delete_=True, by_epoch=True, max_epochs=2, val_interval=1),
        train_dataloader__sampler=dict(type='DefaultSampler', shuffle=True),
        train_dataloader__dataset__num_images=6,
        param_scheduler=[],
        default_hooks__checkpoint__by_epoch=True,
        default_hooks__checkpoint__interval=1,
    )


def test_files_of_a_run_by_epoch_are_named_after_epochs(tmp_path):
    best = dict(optim_wrapper__optimizer__lr=0.0, default_hooks__checkpoint__save_best='aAcc')
    runner = train(tmp_path, **by_epoch(), **best)
    epoch = next(path.stem for path in tmp_path.glob('best_*')).removeprefix('best_aAcc_')
    assert epoch in ('epoch_1', 'epoch_2')
    assert {path.name for path in tmp_path.glob('epoch_*')} == {'epoch_1.pth', 'epoch_2.pth'}
    saved = read(tmp_path / f'{epoch}.pth')['message_hub']['runtime_info']['best_checkpoints']
    assert saved == runner.message_hub.get_info('best_checkpoints')


class AskToStop(Hook):
    """A signal in the first iteration."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        stops.ask()


def test_a_run_by_epoch_that_is_stopped_saves_under_its_iteration(tmp_path):
    runner = Runner.from_cfg(tiny_config(tmp_path, **by_epoch()))
    runner.register_hook(AskToStop())
    with pytest.raises(SystemExit):
        runner.train()
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_1.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == 'iter_1.pth'


@pytest.mark.parametrize(('metrics', 'name'), [('mIoU', 'mIoU'), ('mDice', 'aAcc')])
def test_the_scalar_of_the_best_can_be_left_to_the_toolbox(tmp_path, metrics, name):
    runner = train(tmp_path, default_hooks__checkpoint__save_best='auto',
                   val_evaluator__iou_metrics=[metrics])  # fmt: skip
    assert list(runner.message_hub.get_info('best_checkpoints')) == [name]
    assert len(list(tmp_path.glob(f'best_{name}_iter_*.pth'))) == 1


@pytest.mark.parametrize(
    ('name', 'rule'),
    [('mIoU', 'greater'), ('val_loss', 'less'), ('val_decode.acc_seg', 'greater')],
)
def test_the_better_direction_is_told_from_the_name(name, rule):
    assert better_rule(name) == rule


def test_an_unclear_direction_asks():
    with pytest.raises(ValueError, match="set rule='greater' or 'less'"):
        better_rule('score')


def test_channels_last_trains_to_the_same_weights(tmp_path):
    runner = train(tmp_path / 'last', channels_last=True, train_cfg__max_iters=1)
    weight = runner.model.backbone.layer4[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    train(tmp_path / 'first', train_cfg__max_iters=1)
    last, first = (read(tmp_path / n / 'iter_1.pth')['state_dict'] for n in ('last', 'first'))
    for name, tensor in first.items():
        torch.testing.assert_close(last[name].contiguous(), tensor, rtol=2e-3, atol=2e-4, msg=name)


def test_only_the_parts_of_the_network_are_compiled(tmp_path, monkeypatch):
    compiled = []

    def fake_compile(function, **options):
        compiled.append((function.__self__.__class__.__name__, options))
        return function

    monkeypatch.setattr(torch, 'compile', fake_compile)
    train(tmp_path, compile=dict(mode='max-autotune'), train_cfg__max_iters=2)
    options = dict(mode='max-autotune')
    assert compiled == [(name, options) for name in ('ResNetV1c', 'PSPHead', 'FCNHead')]


def test_a_copy_of_a_compiled_network_has_its_own_weights(tmp_path):
    network = Runner.from_cfg(tiny_config(tmp_path)).model
    compile_network(network, dict(backend='eager'))
    copied = copy.deepcopy(network)
    torch.nn.init.zeros_(copied.decode_head.conv_seg.weight)
    torch.nn.init.zeros_(copied.decode_head.conv_seg.bias)
    pictures = torch.rand(2, 3, 32, 32)
    assert copied(pictures).eq(0).all()
    assert not network(pictures).eq(0).all()


def test_activation_checkpointing_trains_to_the_same_weights(tmp_path):
    """Not the same running statistics: recomputing a block shows it the batch a second time."""
    runner = train(tmp_path / 'with', model__backbone__with_cp=True)
    train(tmp_path / 'without')
    one, two = (read(tmp_path / n / 'iter_8.pth')['state_dict'] for n in ('with', 'without'))
    for name, _ in runner.model.named_parameters():
        assert torch.equal(one[name], two[name]), name


def test_clipping_is_logged(tmp_path):
    runner = train(tmp_path, optim_wrapper__clip_grad=dict(max_norm=1.0))
    assert runner.message_hub.get_scalar('train/grad_norm').current() > 0


def test_hooks_can_be_dropped(tmp_path):
    runner = Runner.from_cfg(
        tiny_config(tmp_path, default_hooks__run_card=None, default_hooks__preemption=None)
    )
    names = {type(hook).__name__ for hook in runner.hooks}
    assert not names & {'RunCardHook', 'PreemptionHook'}
    assert {'CheckpointHook', 'NonFiniteLossHook', 'RuntimeInfoHook'} <= names


def test_a_broken_torchvision_does_not_stop_a_run(tmp_path, monkeypatch):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name.split('.')[0] == 'torchvision':
                raise RuntimeError('operator torchvision::nms does not exist')

    monkeypatch.setattr(sys, 'meta_path', [Broken(), *sys.meta_path])
    train(tmp_path, train_cfg__max_iters=2)


def test_two_runs_in_one_process_write_into_their_own_folders(tmp_path):
    for name in ('a', 'b'):
        train(tmp_path / name, train_cfg__max_iters=2)
        scalars = list((tmp_path / name).glob('*/vis_data/scalars.json'))
        assert len(scalars) == 1
        assert scalars[0].read_text().count('"iter": 2') >= 1


class Clock(Hook):
    """Notes the processor time at chosen iterations."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.at: dict[int, float] = {}

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self.at[batch_idx] = time.process_time()


def test_the_last_iterations_cost_what_the_first_did(tmp_path):
    """An empty train step: what is left is the Runner's own work. Here 4,000 of them."""
    runner = Runner.from_cfg(tiny_config(
        tmp_path, **NO_VALIDATION, train_cfg__max_iters=4_000, default_hooks__run_card=None,
        default_hooks__checkpoint=None, default_hooks__logger__interval=100_000,
        param_scheduler=[], default_hooks__first_batches=None,
    ))  # fmt: skip
    clock = Clock()
    runner.register_hook(clock)
    losses = {f'loss_{i}': torch.tensor(1.0) for i in range(8)}
    runner.model.train_step = lambda data, optim_wrapper: losses
    batch = dict(inputs=torch.zeros(1), data_samples=[])
    loop = runner.train_loop
    loop._open = lambda: iter(lambda: batch, None)
    runner.train()

    def cost(first: int, last: int) -> float:
        steps = range(first, last, 100)
        return min(clock.at[i + 100] - clock.at[i] for i in steps)

    early, late = cost(100, 1000), cost(3000, 3900)
    assert late < 1.5 * early
    assert math.isfinite(early)


def test_the_config_text_reads_back(tmp_path):
    runner = Runner.from_cfg(tiny_config(tmp_path))
    (tmp_path / 'again.py').write_text(runner.cfg.pretty_text)
    again = Config.fromfile(tmp_path / 'again.py')
    assert differences(again.to_dict(), runner.cfg.to_dict()) == []
    assert max(len(line) for line in runner.cfg.pretty_text.splitlines()) <= 101
