"""A run stopped at any point, by anything, under any options, ends as one never stopped ends: the
same files, the same bits in them."""

import json
import os
from collections.abc import Callable

import pytest
from faults.conftest import KILLS
from helpers.fault_child import SERVER
from helpers.object_store import s3_server
from helpers.small_runs import OPTIONS
from helpers.stopped_runs import KINDS, sweep, sweep_ranks
from mmengine.hooks import Hook

STAGES = {stage for stage in Hook.stages if 'test' not in stage}
OURS = {'checkpoint_written', 'after_checkpoint'}
STEPS = {'train_step', 'val_step'}


def swept(how: Callable, folder, *arguments) -> list[list]:
    """The stops that were made; none of them may have changed what a run leaves."""
    process = SERVER.Process(target=how, args=(str(folder), *arguments))
    process.start()
    process.join()
    assert process.exitcode == 0
    result = json.loads((folder / 'said.json').read_text())
    assert result['said'] == []
    return result['made']


def test_a_stopped_run_ends_as_one_never_stopped(tmp_path):
    """Every option, every point and every kind of stop at least once."""
    with s3_server():
        made = swept(sweep, tmp_path, None, dict(os.environ))
    options, points, kinds, _ = map(set, zip(*made))
    assert options == set(OPTIONS)
    assert len(options) == 33
    assert kinds == set(KINDS)
    assert points >= STAGES | OURS | STEPS
    assert len(STAGES) == 16
    assert len([point for point in points if point.startswith('replace')]) >= 5


def test_a_signal_to_one_rank_of_two_stops_both_where_it_came(tmp_path):
    made = swept(sweep_ranks, tmp_path, 1 if KILLS else 40)
    assert {rank for rank, *_ in made} == {0, 1}
    assert len(made) >= (120 if KILLS else 3)


@pytest.mark.skipif(not KILLS, reason='an hour: `make soak` tries them all')
@pytest.mark.parametrize('option', OPTIONS)
def test_every_stop_under(tmp_path, option, record):
    with s3_server():
        made = len(swept(sweep, tmp_path, option, dict(os.environ)))
    assert made > 90
    record(f'stopped at every point: {option}', made, made, 'the same files as never stopped')
