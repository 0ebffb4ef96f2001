"""The timer against mmengine's, on a clock that both are given."""

from types import SimpleNamespace

from mmengine import hooks as mm
from mmengine.logging import MessageHub

from segkit.engine.hooks import IterTimerHook, each_iteration


def told(kind, module, monkeypatch) -> dict:
    """What a hook tells of a run of two epochs, with a validation after each, and a test."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(module.time, 'time', lambda: clock.now)
    hub = MessageHub(f'timer of {kind.__module__}')
    runner = SimpleNamespace(
        message_hub=hub, iter=3, max_iters=9, val_dataloader=range(2), test_dataloader=range(3)
    )
    hook, etas = kind(), []
    hook.before_train(runner)
    for mode, count in [('train', 3), ('val', 2), ('train', 3), ('val', 2), ('test', 3)]:
        getattr(hook, f'before_{mode}_epoch')(runner)
        for index in range(count):
            clock.now += 0.25 * (index + 1)
            getattr(hook, f'before_{mode}_iter')(runner, batch_idx=index, data_batch=None)
            clock.now += 0.5 + index
            given = dict(batch_idx=index, data_batch=None, outputs=None)
            getattr(hook, f'after_{mode}_iter')(runner, **given)
            etas.append(hub.get_info('eta'))
            runner.iter += mode == 'train'
        getattr(hook, f'after_{mode}_epoch')(runner)
        clock.now += 2.0
    scalars = {key: buffer.data[0].tolist() for key, buffer in hub.log_scalars.items()}
    return dict(etas=etas, **scalars)


def test_times_are_those_of_mmengine(monkeypatch):
    theirs = told(mm.IterTimerHook, mm.iter_timer_hook, monkeypatch)
    ours = told(IterTimerHook, each_iteration, monkeypatch)
    assert ours == theirs
    assert list(ours) == list(theirs)
    assert {key: len(values) for key, values in ours.items()} == {
        'etas': 13, 'train/data_time': 6, 'train/time': 6, 'val/data_time': 4, 'val/time': 4,
        'test/data_time': 3, 'test/time': 3,
    }  # fmt: skip
