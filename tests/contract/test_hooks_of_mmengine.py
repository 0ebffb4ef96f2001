"""Each hook of mmengine does under our Runner what it does under mmengine's.

The same training is run under both. What a hook can change is compared: weights, momentum, the
rate of each step, averaged weights, files, the scalar log, scores, the iteration of the stop; and
what hooks are shown, at which points.
"""

import inspect
import json
from pathlib import Path

import pytest
import torch
from contract.both_runners import Left, Net, Points, run_both, state
from helpers.runs import differences
from mmengine import hooks as mm
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel


class Tta(BaseTTAModel):
    """Turns the answers round, so that a test without it is told apart."""

    def test_step(self, data):
        return [-logits for logits in self.module.test_step(data)]

    def merge_preds(self, data_samples_list):
        return data_samples_list


def profiled(folder):
    return [mm.ProfilerHook(by_epoch=False, profile_times=2, json_trace_path=f'{folder}.json')]


# Name -> (hooks to add, changes of the settings, whether to test afterwards)
CASES = {
    'CheckpointHook': [
        (lambda folder: [], dict(default_hooks=dict(checkpoint=lambda by: mm.CheckpointHook(
            interval=1 if by else 2, by_epoch=by, max_keep_ckpts=2, save_best='mIoU'))), False),
        (lambda folder: [], dict(default_hooks=dict(checkpoint=lambda by: mm.CheckpointHook(
            interval=3, by_epoch=False, save_best=['mIoU', 'margin_acc']))), False),
    ],
    'DistSamplerSeedHook': [(lambda folder: [], {}, False)],
    'EMAHook': [
        (lambda folder: [mm.EMAHook(momentum=0.1)], {}, True),
        (lambda folder: [mm.EMAHook(momentum=0.1, update_buffers=True, begin_iter=3)], {}, True),
        (lambda folder: [mm.EMAHook(ema_type='StochasticWeightAverage')], {}, False),
    ],
    'EarlyStoppingHook': [
        (lambda folder: [mm.EarlyStoppingHook('mIoU', min_delta=10.0, patience=1)],
         dict(train_cfg=lambda by: dict(type='EpochBasedTrainLoop', max_epochs=4) if by else
              dict(type='IterBasedTrainLoop', max_iters=9, val_interval=2)), False),
    ],
    'EmptyCacheHook': [
        (lambda folder: [mm.EmptyCacheHook(before_epoch=True, after_iter=True)], {}, False),
    ],
    'IterTimerHook': [(lambda folder: [], {}, True)],
    'LoggerHook': [
        (lambda folder: [], dict(default_hooks=dict(logger=lambda by: mm.LoggerHook(
            interval=2, ignore_last=False))), True),
        (lambda folder: [], dict(default_hooks=dict(logger=lambda by: mm.LoggerHook(
            interval=3, out_dir='logs', keep_local=True))), False),
    ],
    'NPUProfilerHook': [],  # asks for a device that is not here: it cannot be built
    'NaiveVisualizationHook': [(lambda folder: [mm.NaiveVisualizationHook()], {}, False)],
    'ParamSchedulerHook': [
        (lambda folder: [], dict(param_scheduler=lambda by: [
            dict(type='ReduceOnPlateauLR', monitor='mIoU', rule='greater', patience=0, by_epoch=by),
            dict(type='ConstantLR', factor=0.5, by_epoch=False, end=3),
        ] if by else dict(type='PolyLR', by_epoch=False, power=0.9)), False),
        (lambda folder: [], dict(param_scheduler=lambda by: [
            dict(type='CosineAnnealingLR', T_max=2, by_epoch=True, convert_to_iter_based=True),
            dict(type='CosineAnnealingMomentum', T_max=4, by_epoch=False, eta_min=0.5)]), False),
    ],
    'PrepareTTAHook': [(lambda folder: [mm.PrepareTTAHook(dict(type=Tta))], {}, True)],
    'ProfilerHook': [(profiled, {}, False)],
    'RuntimeInfoHook': [(lambda folder: [], {}, True)],
    'SyncBuffersHook': [(lambda folder: [mm.SyncBuffersHook()], {}, False)],
}  # fmt: skip


def test_every_hook_of_mmengine_is_here():
    found = {
        name for name, kind in vars(mm).items()
        if inspect.isclass(kind) and issubclass(kind, Hook) and kind is not Hook
    }  # fmt: skip
    assert found == set(CASES)
    assert len(found) == 14
    with pytest.raises(ImportError):
        mm.NPUProfilerHook()


@pytest.mark.parametrize('by_epoch', [False, True], ids=['iterations', 'epochs'])
@pytest.mark.parametrize(
    ('name', 'number'), [(name, i) for name, cases in CASES.items() for i in range(len(cases))]
)
def test_it_has_the_same_effect(tmp_path, monkeypatch, name, number, by_epoch):
    monkeypatch.chdir(tmp_path)
    hooks, changes, tested = CASES[name][number]

    def settled(value):
        if isinstance(value, dict):
            return {key: settled(part) for key, part in value.items()}
        return value(by_epoch) if callable(value) else value

    def way(runner):
        runner.train()
        return dict(runner.test()) if tested else None

    theirs, ours = run_both(tmp_path, hooks, by_epoch, way, lambda: settled(changes))
    one, two = state(theirs), state(ours)
    found = differences(one, two)
    assert not found, found[:10]
    assert one['seen']
    if name == 'CheckpointHook':
        assert len(one['files']) >= 2
        _same_checkpoints(theirs, ours)
    if name == 'EarlyStoppingHook':
        assert ours.runner.iter < ours.runner.max_iters
    if name == 'ProfilerHook':
        for side in ('theirs', 'ours'):
            assert json.loads((tmp_path / f'{side}.json').read_text())['traceEvents']
    if (name, number) == ('LoggerHook', 1):
        assert {path.name for path in Path('logs').iterdir()} == {'theirs', 'ours'}


def _same_checkpoints(theirs: Left, ours: Left) -> None:
    for name in theirs.files:
        a = torch.load(theirs.folder / name, weights_only=False)
        b = torch.load(ours.folder / name, weights_only=True)
        assert differences(a['state_dict'], b['state_dict']) == []
        assert differences(a.get('optimizer'), b.get('optimizer')) == []
        assert [a['meta'][k] for k in ('iter', 'epoch', 'seed')] == [
            b['meta'][k] for k in ('iter', 'epoch', 'seed')
        ]
        assert set(a) == set(b)


# What hooks, loops and schedulers of mmengine ask of a Runner, and what else projects' hooks do.
ASKED = """
    message_hub.update_info logger.info iter param_schedulers epoch work_dir max_iters
    train_loop.dataloader model message_hub max_epochs message_hub.update_scalar
    message_hub.get_info visualizer.add_scalars message_hub.runtime_info
    log_processor.get_log_after_iter _train_loop train_dataloader message_hub.pop_info log_dir
    _log_dir work_dir.rstrip val_dataloader train_loop train_dataloader.dataset test_dataloader
    save_checkpoint optim_wrapper.get_lr model.buffers log_processor.get_log_after_epoch
    experiment_name _resume visualizer.close visualizer.add_graph visualizer.add_datasample
    train_loop.stop_training train timestamp seed register_hook message_hub.update_info_dict
    logger.warning logger.warn logger.handlers cfg.pretty_text call_hook visualizer.dataset_meta
    val_loop message_hub.log_scalars visualizer val_loop.run optim_wrapper model.train_step
    model.train model.eval build_evaluator test_loop model.val_step model.test_step hooks
    val_evaluator test_evaluator distributed launcher rank world_size deterministic
    default_scope model_name val_interval val_begin auto_scale_lr build_dataloader build_model
    build_optim_wrapper build_param_scheduler build_train_loop build_val_loop build_test_loop
    build_log_processor build_logger build_message_hub build_visualizer wrap_model
    load_checkpoint resume load_or_resume val test from_cfg setup_env set_randomness scale_lr
    register_hooks register_default_hooks register_custom_hooks dump_config _hooks _val_loop
    _test_loop
"""
NAMES = ASKED.split()
PLAIN = (int, str, bool, float, list, tuple, dict, type(None))


class Ask(Hook):
    """Reads each name at each point of a run; calls nothing."""

    def __init__(self) -> None:
        self.found: dict[str, set] = {}

    def before_run(self, runner):
        self.look(runner)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.look(runner)

    after_val = after_train = before_run

    def look(self, runner):
        for name in NAMES:
            value = runner
            for part in name.split('.'):
                value = getattr(value, part)
            kind = 'callable' if callable(value) and not isinstance(value, torch.nn.Module) else ''
            shown = repr(value) if isinstance(value, PLAIN) and not _of_the_run(value) else ''
            self.found.setdefault(name, set()).add((kind, shown))


def _of_the_run(value) -> bool:
    """Paths, times and objects, which no two runs share."""
    return not isinstance(value, (int, bool, type(None)))


def test_a_runner_has_the_names_that_hooks_ask_for(tmp_path):
    theirs, ours = run_both(tmp_path, lambda folder: [Ask()])
    assert len(NAMES) == len(set(NAMES)) >= 90
    one, two = (side.hooks[0].found for side in (theirs, ours))
    assert {name: (one[name], two[name]) for name in NAMES if one[name] != two[name]} == {}


def test_the_singletons_are_those_of_the_run_that_goes_on(tmp_path):
    """With two Runners in a program, each finds its own while it runs."""
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.registry import DefaultScope
    from mmengine.visualization import Visualizer

    from segkit.engine import Runner

    kinds, seen = (MessageHub, MMLogger, Visualizer, DefaultScope), []

    class Current(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            own = (runner.message_hub, runner.logger, runner.visualizer, runner.default_scope)
            seen.append([kind.get_current_instance() is it for kind, it in zip(kinds, own)])

    from contract.both_runners import settings

    runners = [
        Runner(**settings(False), work_dir=str(tmp_path / name), custom_hooks=[Current()])
        for name in 'ab'
    ]
    for runner in runners:
        runner.train()
    assert seen == [[True] * 4] * 16


def test_the_points_are_told_apart():
    """What the net answers depends on its input, or nothing above would show anything."""
    net, points = Net().eval(), Points()
    answers = {tuple(net([points[i]['inputs']])[0].tolist()) for i in range(len(points))}
    assert len(answers) == len(points)
