"""Methods of a Runner that scripts call and Runners of others override: what they take, and that
each is called."""

import inspect

import pytest
import torch
from contract.both_runners import Net, Points, Right, default_hooks, settings
from helpers.runs import differences, read
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, PolyLR
from mmengine.registry import MODEL_WRAPPERS
from mmengine.runner import LogProcessor
from mmengine.runner import Runner as TheirRunner

from segkit.engine import ConfigError, Runner
from segkit.engine.model_setup import ready, wrap

METHODS = [name for name, value in vars(TheirRunner).items()
           if (inspect.isfunction(value) or isinstance(value, staticmethod))
           and not name.startswith('__')]  # fmt: skip


def runner(folder, kind=Runner, **more):
    return kind(**{**settings(False), **more}, work_dir=str(folder))


@pytest.fixture
def trained(tmp_path):
    """A run that ended, and its Runner."""
    made = runner(tmp_path / 'run')
    made.train()
    return made


def scores_of(made) -> dict:
    return {'mIoU': made['mIoU'], 'margin_acc': made['margin_acc']}


# Of mmengine's alone: a check of the type of schedules, which ours does where it builds them.
NOT_CALLED = {'_check_scheduler_cfg'}


def test_methods_of_mmengines_runner_are_here_and_called_when_overridden(tmp_path, monkeypatch):
    """In a subclass that does as before and notes it."""
    assert len(METHODS) >= 35
    called = set()

    def noting(name):
        def method(self, *args, **given):
            called.add(name)
            return getattr(Runner, name)(self, *args, **given)

        return method

    here = [name for name in METHODS if name not in NOT_CALLED]
    assert [name for name in here if not hasattr(Runner, name)] == []
    own = {name: noting(name) for name in here if name != 'build_dataloader'}
    kind = type('NotingRunner', (Runner,), own)
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=4))
    monkeypatch.setattr('segkit.engine.model_setup.compile_network', lambda *given: 1)
    for resume in (False, True):
        made = runner(tmp_path, kind, default_hooks=hooks, resume=resume, cfg=dict(compile=True))
        made.train()
    made.val()
    made.test()
    made.load_checkpoint(str(tmp_path / 'iter_4.pth'))
    assert set(own) - called == {'get_hooks_info'}


def test_signatures_take_what_mmengines_take():
    lacking = {}
    for name in METHODS:
        theirs, ours = getattr(TheirRunner, name), getattr(Runner, name, None)
        if ours is not None:
            given = set(inspect.signature(theirs).parameters) - {'kwargs'}
            lacking[name] = given - set(inspect.signature(ours).parameters)
    assert {name: some for name, some in lacking.items() if some} == {}


@pytest.mark.parametrize('way', ['val', 'test'])
@pytest.mark.parametrize('trains', [True, False])
def test_a_run_that_is_resumed_is_what_is_scored(tmp_path, trained, way, trains):
    wanted = scores_of(trained.test())
    none = dict.fromkeys(('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'))
    more = {} if trains else none
    fresh = scores_of(getattr(runner(tmp_path / 'fresh'), way)())
    assert fresh != wanted
    for given in (dict(resume=True), dict(load_from=str(tmp_path / 'run' / 'iter_8.pth')),
                  dict(resume=True, load_from=str(tmp_path / 'run' / 'iter_8.pth'))):  # fmt: skip
        made = runner(tmp_path / 'run', **given, **more)
        assert scores_of(getattr(made, way)()) == wanted


class Initialised(Net):
    """Its weights are drawn in ``init_weights``."""

    def init_weights(self):
        self.drawn = getattr(self, 'drawn', 0) + 1
        torch.nn.init.constant_(self.net[0].weight, 0.25)


def test_weights_are_drawn_once_and_after_a_validation_too(tmp_path):
    made = runner(tmp_path, model=Initialised())
    made.val()
    made.train()
    weights = dict(made.model.state_dict())
    made.train()
    assert made.model.drawn == 1
    assert differences(weights, dict(made.model.state_dict())) == []
    straight = runner(tmp_path / 'straight', model=Initialised())
    straight.train()
    assert differences(weights, dict(straight.model.state_dict())) == []


def test_a_run_goes_on_after_its_state_was_validated(tmp_path):
    straight = runner(tmp_path / 'straight')
    straight.train()
    half = dict(type='IterBasedTrainLoop', max_iters=4, val_interval=3)
    end = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=4)]
    runner(tmp_path / 'run', train_cfg=half, param_scheduler=end).train()
    made = runner(tmp_path / 'run', resume=True)
    made.val()
    made.train()
    assert made.iter == 8
    assert differences(dict(straight.model.state_dict()), dict(made.model.state_dict())) == []


def test_names_of_a_file_are_revised_and_strictness_is_heard(tmp_path, trained):
    state = {f'net.{k}'.replace('net.net', 'old'): v for k, v in trained.model.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'old.pth')
    for revise, fits in (([(r'^old\.', 'net.')], True), ((), False)):
        made = runner(tmp_path / 'new')
        if not fits:
            with pytest.raises(RuntimeError, match='old.pth'):
                made.load_checkpoint(str(tmp_path / 'old.pth'), strict=True, revise_keys=revise)
            continue
        made.load_checkpoint(str(tmp_path / 'old.pth'), strict=True, revise_keys=revise)
        assert differences(dict(made.model.state_dict()), dict(trained.model.state_dict())) == []


@pytest.mark.parametrize('optimizer', [True, False])
@pytest.mark.parametrize('schedules', [True, False])
def test_parts_of_a_state_may_be_left_out(tmp_path, trained, optimizer, schedules):
    made = runner(tmp_path / 'new')
    made.resume(str(tmp_path / 'run' / 'iter_8.pth'), resume_optimizer=optimizer,
                resume_param_scheduler=schedules, map_location='default')  # fmt: skip
    assert made.iter == 8
    assert bool(made.optim_wrapper.state_dict()['state']) is optimizer
    assert (made.param_schedulers[0].last_step > 0) is schedules


class Stored(LocalBackend):
    """A backend of somebody's, which notes what it is given."""

    put_to: list = []

    def put(self, obj, filepath):
        self.put_to.append(str(filepath))
        super().put(obj, filepath)


register_backend('stored', Stored, force=True)


@pytest.mark.parametrize('given', [dict(backend_args=dict(backend='local')),
                                   dict(file_client_args=dict(backend='disk')),
                                   dict(backend_args=dict(backend='stored'))])  # fmt: skip
def test_a_checkpoint_goes_where_the_backend_puts_it(tmp_path, trained, given):
    trained.save_checkpoint(str(tmp_path), 'own.pth', by_epoch=False, **given)
    assert differences(read(tmp_path / 'own.pth')['state_dict'],
                       dict(trained.model.state_dict())) == []  # fmt: skip


def test_hooks_may_be_exchanged_as_a_list(tmp_path):
    class Once(Hook):
        count = 0

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            self.count += 1
            runner._hooks = [hook for hook in runner._hooks if hook is not self]

    once = Once()
    made = runner(tmp_path, custom_hooks=[once])
    assert 'after_train_iter' in made.get_hooks_info()
    assert 'Once' in made.get_hooks_info()
    made.train()
    assert once.count == 1
    assert once not in made.hooks


def test_the_priority_of_a_call_goes_before_that_of_a_config(tmp_path):
    made = runner(tmp_path)
    made.register_hook(dict(type='EmptyCacheHook', priority='HIGHEST'))
    made.register_hook(dict(type='SyncBuffersHook', priority=1), priority=100)
    names = [type(hook).__name__ for hook in made.hooks]
    assert names.index('EmptyCacheHook') <= 1
    assert names[-1] == 'SyncBuffersHook'
    with pytest.raises(ConfigError, match='custom_hooks: 3 is neither a Hook'):
        made.register_hook(3)


def test_built_schedules_are_not_scaled_past(tmp_path):
    net = Net()
    wrapper = OptimWrapper(torch.optim.SGD(net.parameters(), lr=0.1))
    given = dict(model=net, optim_wrapper=wrapper, param_scheduler=[PolyLR(wrapper, end=8)])
    made = runner(tmp_path, **given, auto_scale_lr=dict(enable=True, base_batch_size=12))
    with pytest.raises(ConfigError, match=r'auto_scale_lr\.enable: .* built already'):
        made.train()


def test_a_schedule_that_is_none_is_named(tmp_path):
    with pytest.raises(ConfigError, match="param_scheduler: 'PolyLR' is neither"):
        runner(tmp_path, param_scheduler=['PolyLR']).train()


def test_a_line_of_the_log_averages_as_many_values_as_it_asks_for(tmp_path, monkeypatch):
    monkeypatch.setattr('segkit.engine.components.KEPT_VALUES', 3)
    line = dict(data_src='loss', log_name='loss_of_all', method_name='mean', window_size='global')
    for size, kept in (('global', 8), (5, 5), (2, 3)):
        own = dict(line, window_size=size)
        lines = LogProcessor(window_size=1, by_epoch=False, custom_cfg=[own])
        made = runner(tmp_path / str(size), log_processor=lines, default_hooks=default_hooks(False))
        made.train()
        assert len(made.message_hub.get_scalar('train/loss').data[0]) == kept


@MODEL_WRAPPERS.register_module(force=True)
class Plain(torch.nn.Module):
    """A wrapper that is no DistributedDataParallel."""

    def __init__(self, module, own=0) -> None:
        super().__init__()
        self.module, self.own = module, own


def test_wrappers_of_others_are_given_their_options_alone():
    wrapped = wrap(Net(), dict(type='Plain', own=3), find_unused=True)
    assert (type(wrapped), wrapped.own) == (Plain, 3)
    assert type(wrap(Net(), dict(type=Plain))) is Plain
    with pytest.raises(ConfigError, match="model_wrapper_cfg.type: 'NoSuch' is not registered"):
        wrap(Net(), dict(type='NoSuch'))


def test_a_wrapped_model_has_no_settings_of_a_wrapper(tmp_path):
    cfg = dict(model_wrapper_cfg=dict(type='Plain'))
    with pytest.raises(ConfigError, match='model_wrapper_cfg: the model is a Plain'):
        runner(tmp_path, model=Plain(Net()), cfg=cfg)


def test_points_and_scores_tell_runs_apart(tmp_path, trained):
    """Or the comparisons above would show nothing."""
    assert len(Points()) == 12
    assert isinstance(trained.test_evaluator.metrics[0], Right)
    assert scores_of(trained.test()) != scores_of(runner(tmp_path / 'fresh').test())


@pytest.mark.parametrize(('on_cpu', 'kind'), [(False, torch.nn.SyncBatchNorm),
                                              (True, torch.nn.BatchNorm1d)])  # fmt: skip
def test_batch_norms_become_synchronised_where_a_config_says_so(monkeypatch, on_cpu, kind):
    """torch's refuses the CPU, where they stay what they are."""
    monkeypatch.setattr('segkit.engine.model_setup.ON_CPU', on_cpu)
    wrapped, _ = ready(Net(), dict(type='Plain'), dict(sync_bn='torch'), distributed=True)
    assert type(wrapped.module.net[1]) is kind
    alone, _ = ready(Net(), None, dict(sync_bn='torch'), distributed=False)
    assert type(alone.net[1]) is torch.nn.BatchNorm1d
    with pytest.raises(ConfigError, match="sync_bn='own': 'torch'"):
        ready(Net(), None, dict(sync_bn='own'), distributed=True)
