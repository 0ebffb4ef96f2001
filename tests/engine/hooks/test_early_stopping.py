"""When training stops for want of improvement."""

import logging
from types import SimpleNamespace

import pytest
from mmengine.logging import MessageHub

from segkit.engine.hooks.early_stopping import EarlyStoppingHook


@pytest.mark.parametrize(
    ('monitor', 'scores', 'stops'),
    [
        ('val_loss', [1.0, 0.99, 0.98], True),
        ('val_loss', [1.0, 0.95, 0.85], False),  # small steps add up
        ('mIoU', [0.50, 0.51, 0.52], True),
        ('mIoU', [0.50, 0.55, 0.65], False),
    ],
)
def test_an_improvement_below_min_delta_counts_as_none(monitor, scores, stops):
    runner = SimpleNamespace(
        message_hub=MessageHub('test_early_stopping'),
        logger=logging.getLogger('test_early_stopping'),
        train_loop=SimpleNamespace(stop_training=False),
        iter=0,
    )
    hook = EarlyStoppingHook(monitor, min_delta=0.1, patience=2)
    for score in scores:
        assert not runner.train_loop.stop_training
        hook.after_val_epoch(runner, {monitor: score})
    assert runner.train_loop.stop_training == stops
