"""Which validation is kept as the best."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.logging import MessageHub

from segkit.engine.hooks.checkpoint import CheckpointHook


def runner_in(folder: Path) -> SimpleNamespace:
    """What the hook needs of a Runner; its checkpoints are empty files."""
    return SimpleNamespace(
        work_dir=str(folder),
        message_hub=MessageHub('test_checkpoint'),
        logger=logging.getLogger('test_checkpoint'),
        _val_loop=object(),
        val_interval=1,
        epoch=0,
        last_good=None,
        train_loop=None,
        save_checkpoint=lambda out_dir, name, **parts: Path(out_dir, name).touch(),
    )


@pytest.mark.parametrize(('name', 'best', 'at'), [('val_loss', 1.0, 2), ('mIoU', 3.0, 1)])
def test_the_best_is_the_smallest_loss_and_the_largest_score(tmp_path, name, best, at):
    runner, hook = runner_in(tmp_path), CheckpointHook(save_best=name)
    hook.before_train(runner)
    for runner.iter, value in enumerate([3.0, 1.0, 2.0], start=1):
        hook.after_val_epoch(runner, {name: value})
    file = f'best_{name}_iter_{at}.pth'
    record = runner.message_hub.get_info('best_checkpoints')[name]
    assert record == dict(score=best, file=file)
    assert [path.name for path in tmp_path.glob('*.pth')] == [file]
