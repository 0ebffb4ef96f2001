"""Loops, steps, optimizers and Runners that others wrote for mmengine run under our Runner."""

from collections import Counter

import pytest
import torch
from contract.both_runners import Net, Points, Right, run_both, settings
from helpers.runs import differences, read
from helpers.tiny_config import tiny_config
from mmengine import hooks as mm
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, ValLoop
from mmengine.structures import BaseDataElement
from torch.utils.data import DataLoader

from segkit.compat import does_nothing
from segkit.engine import ConfigError, Runner, stops
from segkit.registry import RUNNERS


@LOOPS.register_module(force=True)
class TwiceLoop(IterBasedTrainLoop):
    """Takes two steps on each batch."""

    def run_iter(self, data_batch):
        self.runner.model.train_step(data_batch, optim_wrapper=self.runner.optim_wrapper)
        super().run_iter(data_batch)


@LOOPS.register_module(force=True)
class TwiceEpochLoop(EpochBasedTrainLoop):
    def run_iter(self, idx, data_batch):
        self.runner.model.train_step(data_batch, optim_wrapper=self.runner.optim_wrapper)
        super().run_iter(idx, data_batch)


@LOOPS.register_module(force=True)
class CountingValLoop(ValLoop):
    """Notes the batches it was given."""

    def run_iter(self, idx, data_batch):
        self.runner.message_hub.update_scalar('val/batches', float(idx))
        super().run_iter(idx, data_batch)


class Signal(Hook):
    """A signal in iteration ``at``, counted from 1."""

    def __init__(self, at: int) -> None:
        self.at = at

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.at:
            stops.ask()


def weights(left) -> dict:
    return dict(left.runner.model.state_dict())


@pytest.mark.parametrize('by_epoch', [False, True])
def test_a_loop_of_others_trains_as_under_mmengines_runner(tmp_path, by_epoch):
    cfg = dict(type='TwiceEpochLoop', max_epochs=2)
    if not by_epoch:
        cfg = dict(type='TwiceLoop', max_iters=8, val_interval=3)
    changed = dict(train_cfg=cfg, val_cfg=dict(type='CountingValLoop'))
    theirs, ours = run_both(tmp_path, lambda folder: [], by_epoch, changed=lambda: changed)
    assert differences(weights(theirs), weights(ours)) == []
    assert theirs.seen == ours.seen
    assert theirs.scalars() == ours.scalars()
    assert any('batches' in line for line in ours.scalars())
    plain, _ = run_both(tmp_path / 'plain', lambda folder: [], by_epoch)
    assert differences(weights(plain), weights(ours))


def test_a_signal_is_heard_with_mmengines_hooks_in_the_place_of_ours(tmp_path):
    given = dict(settings(False), default_hooks=dict(runtime_info=mm.RuntimeInfoHook()))
    runner = Runner(**given, work_dir=str(tmp_path), custom_hooks=[Signal(2)])
    with pytest.raises(SystemExit):
        runner.train()
    assert read(tmp_path / 'iter_2.pth')['meta']['iter'] == 2


@pytest.mark.parametrize('theirs', [None, mm.CheckpointHook(interval=3, by_epoch=False)])
def test_a_signal_saves_without_a_hook_of_ours_that_saves(tmp_path, theirs):
    def runner(*hooks, **more):
        given = dict(settings(False), default_hooks=dict(checkpoint=theirs))
        return Runner(**given, work_dir=str(tmp_path), custom_hooks=hooks, **more)

    with pytest.raises(SystemExit):
        runner(Signal(4)).train()
    assert (tmp_path / 'last_checkpoint').read_text() == 'iter_4.pth'
    resumed, seen = runner(resume=True), []
    resumed.call_hook = lambda name, **given: (
        seen.append(resumed.iter) if name == 'before_train_iter' else None,
        Runner.call_hook(resumed, name, **given),
    )
    resumed.train()
    assert seen == [4, 5, 6, 7]


def test_a_loop_of_others_is_stopped_by_a_signal_saves_and_goes_on(tmp_path, monkeypatch):
    def runner(*hooks, **more):
        given = settings(False)
        given['train_cfg'] = dict(type='TwiceLoop', max_iters=8, val_interval=3)
        return Runner(**given, work_dir=str(tmp_path / 'run'), custom_hooks=hooks, **more)

    with pytest.raises(SystemExit):
        runner(Signal(4)).train()
    assert read(tmp_path / 'run' / 'iter_4.pth')['meta']['iter'] == 4
    resumed, read_again = runner(resume=True), []
    get = Points.__getitem__
    monkeypatch.setattr(Points, '__getitem__', lambda *a: read_again.append(a[1]) or get(*a))
    resumed.train()
    assert resumed.iter == 8
    assert len(read_again) == 4 * 3 + 2 * 12  # four batches, and two validations
    monkeypatch.undo()
    straight, ours = run_both(tmp_path / 'both', lambda folder: [], changed=lambda: dict(
        train_cfg=dict(type='TwiceLoop', max_iters=8, val_interval=3)))  # fmt: skip
    assert differences(weights(ours), dict(resumed.model.state_dict())) == []


def test_the_interval_of_validation_may_change(tmp_path):
    cfg = dict(type='IterBasedTrainLoop', max_iters=12, val_interval=4,
               dynamic_intervals=[(6, 2), (9, 1)])  # fmt: skip
    theirs, ours = run_both(tmp_path, lambda folder: [], changed=lambda: dict(train_cfg=cfg))
    at = [iteration for name, iteration, *_ in ours.seen if name == 'before_val']
    assert at == [iteration for name, iteration, *_ in theirs.seen if name == 'before_val']
    assert at == [4, 6, 8, 9, 10, 11, 12]


def test_half_precision_in_validation(tmp_path):
    both = dict(val_cfg=dict(type='ValLoop', fp16=True), test_cfg=dict(type='TestLoop', fp16=True))
    theirs, ours = run_both(tmp_path, lambda folder: [], changed=lambda: both,
                            way=lambda runner: runner.train() and runner.test())  # fmt: skip
    assert theirs.extra == ours.extra
    exact, _ = run_both(tmp_path / 'exact', lambda folder: [],
                        way=lambda runner: runner.train() and runner.test())  # fmt: skip
    assert exact.extra['margin_acc'] != ours.extra['margin_acc']


class Rivals(Net):
    """Its own step, with an optimizer for each of two layers, the second at every other step."""

    steps = 0

    def train_step(self, data, optim_wrapper):
        first, second = optim_wrapper['first'], optim_wrapper['second']
        data = self.data_preprocessor(data, True)
        for wrapper in (first, second) if self.steps % 2 else (first,):
            with wrapper.optim_context(self):
                loss = self(**data, mode='loss')['loss_ce']
            wrapper.update_params(loss)
        self.steps += 1
        return dict(loss=loss)


def rivals() -> dict:
    net = Rivals()
    optim = {
        name: OptimWrapper(torch.optim.SGD(layer.parameters(), lr=rate, momentum=0.9))
        for name, layer, rate in (('first', net.net[0], 0.1), ('second', net.net[2], 0.05))
    }
    rates = dict(
        first=dict(type='PolyLR', power=0.9, by_epoch=False),
        second=dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=6),
    )
    return dict(model=net, optim_wrapper=optim, param_scheduler=rates)


def test_a_step_of_its_own_and_several_optimizers(tmp_path):
    def changed():
        names = dict(checkpoint=mm.CheckpointHook(interval=4, by_epoch=False))
        return dict(rivals(), default_hooks=names)

    theirs, ours = run_both(tmp_path, lambda folder: [], changed=changed)
    assert differences(weights(theirs), weights(ours)) == []
    assert theirs.seen == ours.seen  # the rates of each step among it
    a = torch.load(theirs.folder / 'iter_4.pth', weights_only=False)
    b = read(ours.folder / 'iter_4.pth')
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        assert differences(a[part], b[part]) == []


def test_several_optimizers_go_on_where_they_stopped(tmp_path):
    def run(folder, *hooks, **more):
        given = {**settings(False), **rivals(), **more}
        return Runner(**given, work_dir=str(tmp_path / folder), custom_hooks=list(hooks))

    straight = run('straight')
    straight.train()
    with pytest.raises(SystemExit):
        run('run', Signal(4)).train()
    resumed = run('run', resume=True)
    resumed.model.steps = 4
    resumed.train()
    one, two = (read(tmp_path / name / 'iter_8.pth') for name in ('straight', 'run'))
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        assert differences(one[part], two[part]) == []


class Judged(Net):
    """Gives its losses as the last of its predictions."""

    def val_step(self, data):
        loss = self(**self.data_preprocessor(data), mode='loss')['loss_ce'].detach()
        return [*super().val_step(data), BaseDataElement(loss=dict(loss_ce=loss))]


def test_losses_among_the_predictions_are_averaged(tmp_path):
    theirs, ours = run_both(tmp_path, lambda folder: [], changed=lambda: dict(model=Judged()))
    last = [line for line in ours.scalars() if 'val_loss' in line][-1]
    wanted = [line for line in theirs.scalars() if 'val_loss' in line][-1]
    assert set(last) == set(wanted)
    assert last['val_loss'] == pytest.approx(wanted['val_loss'], rel=1e-6)


@RUNNERS.register_module(force=True)
class ShoutingRunner(Runner):
    def _init_model_weights(self):
        self.shouted = True
        super()._init_model_weights()


def test_a_config_may_name_its_runner(tmp_path):
    cfg = tiny_config(tmp_path, runner_type='ShoutingRunner', train_cfg__max_iters=2)
    runner = Runner.from_cfg(cfg)
    assert type(runner) is ShoutingRunner
    runner.train()
    assert runner.shouted
    assert type(RUNNERS.build(cfg)) is ShoutingRunner


@pytest.mark.parametrize(
    ('name', 'why'),
    [
        ('NoSuchRunner', 'is not registered in RUNNERS'),
        ('mmengine.Runner', r'is no subclass of segkit\.engine\.Runner'),
    ],
)
def test_a_runner_that_is_none_of_ours_is_refused(tmp_path, name, why):
    with pytest.raises(ConfigError, match=f'runner_type: .{name}. {why}'):
        Runner.from_cfg(tiny_config(tmp_path, runner_type=name))


def test_a_checkpoint_is_written_once_for_a_validation_and_has_its_scores(tmp_path, monkeypatch):
    written = []
    save = Runner.save_checkpoint

    def note(self, out_dir, name, *args, **kwargs):
        written.append(name)
        save(self, out_dir, name, *args, **kwargs)

    monkeypatch.setattr(Runner, 'save_checkpoint', note)
    Runner.from_cfg(tiny_config(tmp_path)).train()
    periodic = [name for name in written if not name.startswith('best')]
    assert periodic == ['iter_2.pth', 'iter_4.pth', 'iter_6.pth', 'iter_8.pth']
    info = read(tmp_path / 'iter_8.pth')['message_hub']['runtime_info']
    assert info['last_val_iter'] == 8
    assert info['best_checkpoints']


class Broken(Right):
    """Cannot score the second validation."""

    def __init__(self) -> None:
        super().__init__()
        self.validations = 0

    def compute_metrics(self, results):
        self.validations += 1
        if self.validations == 2:
            raise ValueError('a score that cannot be')
        return super().compute_metrics(results)


@pytest.mark.parametrize('hooks', [[], [dict(type='EMAHook', momentum=0.1)]], ids=['plain', 'ema'])
def test_a_validation_that_fails_does_not_cost_what_was_trained(tmp_path, hooks):
    def run(folder, metric, **more):
        given = {**settings(False), 'val_evaluator': [metric], **more}
        saving = dict(checkpoint=dict(type='CheckpointHook', interval=3, save_best='mIoU'))
        return Runner(**given, work_dir=str(tmp_path / folder), custom_hooks=hooks,
                      default_hooks=saving)  # fmt: skip

    run('straight', Right()).train()
    with pytest.raises(ValueError, match='a score that cannot be'):
        run('run', Broken()).train()
    stopped = read(tmp_path / 'run' / 'iter_6.pth')
    assert 'last_val_iter' not in stopped['message_hub']['runtime_info']
    run('run', Right(), resume=True).train()
    one, two = (read(tmp_path / name / 'iter_8.pth') for name in ('straight', 'run'))
    for part in ('state_dict', 'optimizer'):
        assert differences(one[part], two[part]) == []
    best = [c['message_hub']['runtime_info']['best_checkpoints'] for c in (one, two)]
    assert best[0] == best[1]


def test_batches_of_an_epoch_may_be_limited():
    sampler = dict(type=DefaultSampler, shuffle=False)
    parts = dict(dataset=Points(), sampler=sampler, batch_size=3, collate_fn=pseudo_collate)
    loader = Runner.build_dataloader(dict(parts, num_batch_per_epoch=2), seed=0)
    assert isinstance(loader, DataLoader)
    assert len(loader.dataset) == 6
    assert loader.dataset.metainfo == Points.metainfo
    assert len(list(loader)) == 2


class _Generic(Hook):
    """Says all it does in the four methods that mmengine's stages pass on to."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def _before_epoch(self, runner, mode='train'):
        self.said.append(f'before {mode} epoch')

    def _after_iter(self, runner, batch_idx, data_batch=None, outputs=None, mode='train'):
        self.said.append(f'after {mode} iter')


class _NoHook:
    """Has a stage, and is no subclass of anything."""

    priority = 'NORMAL'

    def __init__(self) -> None:
        self.said: list[str] = []

    def before_run(self, runner):
        self.said.append('before run')


def test_hooks_are_called_for_what_they_do_themselves(tmp_path):
    runner = Runner.from_cfg(tiny_config(tmp_path))
    generic, duck, empty, patched = _Generic(), _NoHook(), Hook(), Hook()
    patched.said = []
    patched.after_train = lambda runner: patched.said.append('after train')
    for hook in (generic, duck, empty, patched):
        runner.register_hook(hook)
    runner.train()
    counts = Counter(generic.said)
    validations = counts['before val epoch']
    assert validations > 0
    assert counts == {
        'before train epoch': 1, 'after train iter': runner.max_iters,
        'before val epoch': validations, 'after val iter': 3 * validations,
    }  # fmt: skip
    assert duck.said == ['before run']
    assert patched.said == ['after train']
    stages = [stage for stage in Hook.stages if not does_nothing(empty, stage)]
    assert stages == []
    assert len(Hook.stages) >= 22
