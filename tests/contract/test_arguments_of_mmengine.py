"""A class of ours that answers to a name of mmengine's takes each argument that mmengine's takes,
and our hooks of these names do the same with them."""

import inspect
from pathlib import Path

import mmengine.dataset  # fills the registries, as the next ones do
import mmengine.runner
import mmengine.visualization  # noqa: F401
import pytest
import torch
from contract.both_runners import Right, run_both, settings
from helpers.runs import read
from mmengine import hooks as mm
from mmengine.registry import Registry

from segkit import registry
from segkit.engine import ConfigError, Runner
from segkit.engine.hooks import CheckpointHook, EarlyStoppingHook

# Data sets and transforms answer to names of mmsegmentation, whose arguments are held elsewhere.
REGISTRIES = [
    name for name, value in vars(registry).items()
    if isinstance(value, Registry) and value.parent is not None
    and name not in ('TRANSFORMS', 'MODELS', 'DATASETS')
]  # fmt: skip
# For mmengine's FSDP, in whose place there is model_wrapper_cfg=dict(type='FSDP2').
LEFT_OUT = {('AmpOptimWrapper', 'use_fsdp')}


def arguments(kind: type) -> set[str]:
    """What a class takes, also by handing it on to what it is derived from."""
    found: set[str] = set()
    for base in kind.__mro__:
        if '__init__' in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()
            found |= {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
    return found


def of_both() -> list[tuple[type, type]]:
    pairs = []
    for name in REGISTRIES:
        ours = getattr(registry, name)
        for kind, own in ours.module_dict.items():
            theirs = ours.parent.module_dict.get(kind)
            if inspect.isclass(own) and theirs not in (None, own):
                pairs.append((theirs, own))
    return pairs


def test_names_of_both_take_the_arguments_of_mmengine():
    pairs = of_both()
    names = {theirs.__name__ for theirs, _ in pairs}
    assert names >= {'CheckpointHook', 'EarlyStoppingHook', 'LoggerHook', 'IterBasedTrainLoop',
                     'ValLoop', 'LogProcessor', 'AmpOptimWrapper', 'DefaultSampler'}  # fmt: skip
    assert len(pairs) >= 13
    counted = sum(len(arguments(theirs)) for theirs, _ in pairs)
    assert counted >= 90
    lacking = {(theirs.__name__, name) for theirs, own in pairs
               for name in arguments(theirs) - arguments(own)}  # fmt: skip
    assert lacking == LEFT_OUT


BY = pytest.mark.parametrize('by_epoch', [False, True], ids=['iterations', 'epochs'])


@BY
@pytest.mark.parametrize(
    'given',
    [
        dict(filename_tmpl='w_{}.pth', save_best='mIoU'),
        dict(file_client_args=dict(backend='disk')),
        dict(backend_args=dict(backend='local')),
        dict(save_begin=4, save_last=False),
        dict(save_best=['mIoU', 'margin_acc'], rule=['greater', 'less']),
        dict(save_best=['mIoU', 'margin_acc'], rule='less'),
        dict(save_best='margin_acc', greater_keys=['margin']),
        dict(save_best='margin_acc', less_keys='margin_acc'),
        dict(save_best='auto', max_keep_ckpts=1),
        dict(save_optimizer=False, save_param_scheduler=False),
        dict(save_optimizer=False),
        dict(max_keep_ckpts=2, save_best='mIoU'),
    ],
    ids=lambda given: '-'.join(given),
)
def test_files_of_our_checkpoint_hook_are_those_of_mmengines(tmp_path, given, by_epoch):
    def changed():
        kind = next(kinds)
        hook = kind(interval=1 if by_epoch else 2, by_epoch=by_epoch, **given)
        # With each validation a file of the interval: mmengine writes one more for the scores.
        length = dict(max_epochs=4) if by_epoch else dict(max_iters=8, val_interval=2)
        return dict(train_cfg=dict(by_epoch=by_epoch, **length),
                    default_hooks=dict(checkpoint=hook))  # fmt: skip

    kinds = iter((mm.CheckpointHook, CheckpointHook))
    theirs, ours = run_both(tmp_path, lambda folder: [], by_epoch, changed=changed)
    assert theirs.files
    assert theirs.files == ours.files
    for name in theirs.files:
        one = torch.load(theirs.folder / name, weights_only=False)
        two = read(ours.folder / name)
        if not name.startswith('best'):  # which ours writes without what resuming needs
            assert set(one) == set(two)
        assert [one['meta'][k] for k in ('epoch', 'iter')] == [
            two['meta'][k] for k in ('epoch', 'iter')]  # fmt: skip


def test_parts_that_are_published(tmp_path):
    """Under mmengine's own hook this ends in an error of a current torch."""
    hook = CheckpointHook(interval=4, save_best='mIoU', published_keys=['meta', 'state_dict'])
    runner = Runner(**settings(False), work_dir=str(tmp_path), default_hooks=dict(checkpoint=hook))
    runner.train()
    published = sorted(p for p in tmp_path.glob('*-*.pth'))
    assert [p.stem.rpartition('-')[0].rpartition('_')[0] for p in published] == [
        'best_mIoU_iter', 'iter']  # fmt: skip
    for path in published:
        assert set(read(path)) == {'meta', 'state_dict'}
        source = read(path.with_name(path.stem.rpartition('-')[0] + '.pth'))
        assert source['state_dict'].keys() == read(path)['state_dict'].keys()


@pytest.mark.parametrize(
    ('given', 'named'),
    [
        (dict(backend_args=dict(backend='petrel')), r"backend_args=\{'backend': 'petrel'\}"),
        (dict(file_client_args=dict(backend='lmdb')), 'file_client_args='),
        (dict(out_dir='s3://bucket/folder'), "out_dir='s3://bucket/folder'"),
    ],
)
def test_a_store_is_named_by_the_work_directory(given, named):
    with pytest.raises(ConfigError, match=f'default_hooks.checkpoint.{named}.*work_dir=s3://'):
        CheckpointHook(**given)


class Scores(Right):
    """Scores that are set, one for each validation."""

    def __init__(self, scores) -> None:
        super().__init__()
        self.left = iter(scores)

    def compute_metrics(self, results):
        return dict(mIoU=next(self.left))


NAN = float('nan')


@BY
@pytest.mark.parametrize(
    ('given', 'scores', 'validations'),
    [
        (dict(stopping_threshold=0.5), [0.1, 0.6, 0.7, 0.8, 0.9], 2),
        (dict(stopping_threshold=0.5, rule='less'), [0.9, 0.8, 0.4, 0.3, 0.2], 3),
        (dict(stopping_threshold=0.95, patience=2), [0.3, 0.2, 0.1, 0.2, 0.9], 3),
        (dict(check_finite=True), [0.1, NAN, 0.7, 0.8, 0.9], 2),
        (dict(check_finite=False, patience=9), [0.1, NAN, 0.7, 0.8, 0.9], 5),
        (dict(min_delta=0.2, patience=1), [0.1, 0.2, 0.9, 0.9, 0.9], 2),
        (dict(patience=2), [0.5, 0.4, 0.6, 0.5, 0.5], 5),
    ],
)
def test_our_early_stopping_ends_where_mmengines_does(
    tmp_path, given, scores, validations, by_epoch
):
    def hooks(folder):
        return [next(kinds)('mIoU', **{**dict(min_delta=0.0, check_finite=True), **given})]

    def changed():
        length = dict(max_epochs=5) if by_epoch else dict(max_iters=10, val_interval=2)
        return dict(train_cfg=dict(by_epoch=by_epoch, **length), val_evaluator=[Scores(scores)])

    kinds = iter((mm.EarlyStoppingHook, EarlyStoppingHook))
    theirs, ours = run_both(tmp_path, hooks, by_epoch, changed=changed)
    assert [side.runner.iter for side in (theirs, ours)] == [
        validations * (4 if by_epoch else 2)
    ] * 2


def test_a_run_beyond_the_threshold_does_not_go_on(tmp_path):
    def run(**more):
        given = dict(settings(False), val_evaluator=[Scores([0.1, 0.9, 0.95])], **more)
        hook = EarlyStoppingHook('mIoU', stopping_threshold=0.5)
        runner = Runner(**given, work_dir=str(tmp_path), custom_hooks=[hook])
        runner.train()
        return runner.iter

    assert run() == run(resume=True) == 6


def test_a_scalar_that_is_not_there_may_be_passed_over(tmp_path):
    for strict in (False, True):
        hook = EarlyStoppingHook('margin', rule='less', strict=strict)
        given = dict(settings(False), custom_hooks=[hook])
        runner = Runner(**given, work_dir=str(tmp_path / str(strict)))
        if strict:
            with pytest.raises(RuntimeError, match="monitor='margin' is not among the scalars"):
                runner.train()
        else:
            runner.train()
            log = next(Path(runner.log_dir).glob('*.log')).read_text()
            assert "monitor='margin' is not among the scalars" in log
