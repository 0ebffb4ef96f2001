"""Two processes on the CPU over gloo train, validate, save, resume and test like one."""

import datetime
import os
import re
import signal
import socket
import threading
import time

import pytest
import torch
from helpers.fault_child import complete, complete_ranks, free_port, start_ranks
from helpers.runs import assert_same_run, read
from helpers.tiny_config import tiny_config
from torch.distributed import HashStore

from segkit.engine import Runner, dist, joining

# Batch-independent normalisation and no dropout: what the ranks see then adds up to what one sees.
_GN = dict(type='GN', num_groups=2)
COMPARABLE = dict(
    model__backbone__norm_cfg=dict(_GN, _delete_=True),
    model__decode_head__norm_cfg=dict(_GN, _delete_=True),
    model__auxiliary_head__norm_cfg=dict(_GN, _delete_=True),
    model__decode_head__dropout_ratio=0.0,
    model__auxiliary_head__dropout_ratio=0.0,
    default_hooks__logger__interval=1,
    log_processor__window_size=8,
)


def history(path, name: str) -> list[float]:
    return read(path)['message_hub']['history'][name][0]


def test_two_ranks_follow_one_process(tmp_path):
    log = complete_ranks(tmp_path / 'two', **COMPARABLE, train_dataloader__batch_size=1)
    complete(tmp_path / 'one', **COMPARABLE, train_dataloader__batch_size=2)
    two, one = (tmp_path / name / 'iter_8.pth' for name in ('two', 'one'))
    assert len(history(one, 'train/loss')) == 8
    for name in ('train/loss', 'train/decode.loss_ce', 'train/aux.loss_ce'):
        assert history(two, name) == pytest.approx(history(one, name), rel=1e-5)
    for name in ('val/mIoU', 'val/aAcc'):
        assert history(two, name) == pytest.approx(history(one, name), abs=0.1)
    assert 'rank 0 of 2 joined through pytorch' in log
    assert 'backend gloo' in log


def test_the_same_weights_are_scored_alike_by_any_number_of_ranks(tmp_path):
    """No training: three images over two ranks give the digits that one process gives."""
    still = dict(optim_wrapper__optimizer__lr=0.0, param_scheduler=[], train_cfg__max_iters=4)
    still.update(COMPARABLE)
    complete_ranks(tmp_path / 'two', **still)
    complete(tmp_path / 'one', **still)
    two, one = (tmp_path / name / 'iter_4.pth' for name in ('two', 'one'))
    for name in ('val/mIoU', 'val/aAcc', 'val/mAcc'):
        assert history(two, name) == history(one, name)


def test_a_rank_without_an_image_takes_part_in_the_validation_loss(tmp_path):
    few = dict(COMPARABLE, val_dataloader__dataset__num_images=1, val_cfg__val_loss=True)
    few.update(train_cfg__max_iters=4, env_cfg__dist_cfg=dict(timeout=40))
    complete_ranks(tmp_path / 'two', **few, train_dataloader__batch_size=1)
    complete(tmp_path / 'one', **few, train_dataloader__batch_size=2)
    two, one = (tmp_path / name / 'iter_4.pth' for name in ('two', 'one'))
    for name in ('val/val_loss', 'val/val_decode.loss_ce', 'val/val_decode.acc_seg'):
        assert history(two, name) == pytest.approx(history(one, name), rel=1e-4)


def test_two_ranks_resume_exactly_after_one_was_told_to_stop(tmp_path):
    complete_ranks(tmp_path / 'straight')
    ranks = start_ranks(tmp_path / 'run')
    ranks[0].wait_for('Iter(train) [2/8]')
    ranks[1].kill_after(0, signal.SIGTERM)
    statuses = [rank.wait() for rank in ranks]
    assert statuses in ([75, 75], [0, 0])
    complete_ranks(tmp_path / 'run')
    assert_same_run(tmp_path / 'run' / 'iter_8.pth', tmp_path / 'straight' / 'iter_8.pth')


@pytest.mark.parametrize('seconds', [[0.2, 0.2], [0.2, 0.0]], ids=['in its batches', 'waiting'])
def test_a_signal_to_one_rank_stops_the_validation_of_all_between_batches(tmp_path, seconds):
    slow = dict(
        custom_hooks=[dict(type='SlowValidation', seconds=seconds)],
        val_dataloader__dataset__num_images=50,
        train_cfg__max_iters=4,
        env_cfg__dist_cfg=dict(timeout=60),
    )
    ranks = start_ranks(tmp_path / 'run', **slow)
    ranks[0].wait_for('Iter(val) [ 4/25]')
    ranks[1].kill_after(0, signal.SIGUSR1)
    assert [rank.wait() for rank in ranks] == [75, 75]
    assert 'in the validation after iteration 4; everything is saved' in ranks[0].log
    assert 'Iter(val) [20/25]' not in ranks[0].log


def test_a_signal_while_a_rank_still_starts_is_no_failure_of_the_others(tmp_path):
    slow = dict(custom_hooks=[dict(type='SlowStart', seconds=[0, 60])])
    ranks = start_ranks(tmp_path / 'run', **slow, env_cfg__dist_cfg=dict(timeout=60))
    for rank in ranks:
        rank.wait_for('about to train')
    time.sleep(0.5)
    for rank in ranks[::-1]:
        rank.kill_after(0, signal.SIGUSR1)
    assert ranks[1].wait() in (75, -signal.SIGUSR1)  # no tool has set a handler
    assert ranks[0].wait() == 75, ranks[0].log
    assert 'nothing new to save' in ranks[0].log


def test_sharded_ranks_train_save_and_resume_like_one_process(tmp_path):
    """FSDP2 over gloo: whole tensors in the checkpoint, the losses of one process."""
    options = dict(COMPARABLE, train_dataloader__batch_size=1)
    options['model_wrapper_cfg'] = dict(type='FSDP2')
    options['env_cfg__dist_cfg'] = dict(timeout=40)
    complete_ranks(tmp_path / 'two', **options, train_cfg__max_iters=4)
    complete_ranks(tmp_path / 'two', **options)
    complete(tmp_path / 'one', **COMPARABLE, train_dataloader__batch_size=2)
    two, one = (tmp_path / name / 'iter_8.pth' for name in ('two', 'one'))
    assert history(two, 'train/loss') == pytest.approx(history(one, 'train/loss'), rel=1e-4)
    shapes = [{k: v.shape for k, v in read(p)['state_dict'].items()} for p in (two, one)]
    assert shapes[0] == shapes[1]


def test_another_number_of_ranks_keeps_the_order_of_samples(tmp_path):
    options = dict(COMPARABLE, default_hooks__checkpoint__max_keep_ckpts=-1)
    complete_ranks(tmp_path / 'run', **options, train_cfg__max_iters=4,
                   train_dataloader__batch_size=1)  # fmt: skip
    log = complete(tmp_path / 'run', **options, train_dataloader__batch_size=2)
    assert 'Resumed on 1 process(es) what ran on 2' in log
    assert 'the order of samples goes on at sample 8; images per step 2 -> 2' in log
    complete(tmp_path / 'one', **options, train_dataloader__batch_size=2)
    run, one = (tmp_path / name / 'iter_8.pth' for name in ('run', 'one'))
    assert history(run, 'train/loss') == pytest.approx(history(one, 'train/loss'), rel=1e-4)


def test_accumulation_over_ranks_equals_the_large_batch(tmp_path):
    options = dict(COMPARABLE, train_dataloader__batch_size=1)
    options['auto_scale_lr'] = dict(base_batch_size=4)
    log = complete_ranks(tmp_path / 'two', **options, train_cfg__accumulate='auto')
    assert "2 batches of 2 are averaged into each step, which keeps the recipe's 4 images" in log
    complete(tmp_path / 'one', **COMPARABLE, train_dataloader__batch_size=4)
    two, one = (tmp_path / name / 'iter_8.pth' for name in ('two', 'one'))
    assert history(two, 'train/loss') == pytest.approx(history(one, 'train/loss'), rel=1e-5)


@pytest.fixture
def environment(monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT',
                 'TORCHELASTIC_RUN_ID', 'SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_STEP_NUM_TASKS',
                 "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_torchrun_is_recognised_without_the_flag(environment):
    assert dist.resolve_launcher('none') == 'none'
    environment.setenv('TORCHELASTIC_RUN_ID', 'x')
    assert dist.resolve_launcher('none') == 'pytorch'
    assert dist.resolve_launcher('slurm') == 'slurm'


@pytest.mark.parametrize(
    ('launcher', 'variable', 'starter'),
    [
        ('pytorch', 'RANK', 'torchrun'),
        ('slurm', 'SLURM_PROCID', 'srun'),
        ('mpi', 'OMPI_COMM_WORLD_RANK', 'mpirun'),
    ],
)
def test_a_missing_variable_is_named_with_its_cure(environment, launcher, variable, starter):
    with pytest.raises(dist.LaunchError, match=rf'{variable}, which is not set.*{starter}'):
        joining.init_dist(launcher)


@pytest.mark.parametrize(
    ('rank', 'address', 'said'),
    [
        ('0', '127.0.0.1', 'wait timeout'),
        ('1', '127.0.0.1', 'while trying to connect'),
        ('1', 'nohost.invalid', 'while trying to connect'),
    ],
)
def test_a_job_that_cannot_be_joined_says_what_to_check(environment, rank, address, said):
    port = free_port()
    for name, value in dict(RANK=rank, WORLD_SIZE='2', LOCAL_RANK='0',
                            MASTER_ADDR=address, MASTER_PORT=str(port)).items():  # fmt: skip
        environment.setenv(name, value)
    where = rf'rank {rank} of 2 could not join the job at {address}:{port}'
    with pytest.raises(dist.LaunchError, match=rf'{where}.*MASTER_ADDR.*{said}'):
        joining.init_dist('pytorch', timeout=1)


@pytest.mark.parametrize(
    ('nodes', 'first'),
    [
        ('gpu[03-07,12],cpu1', 'gpu03'),
        ('node7', 'node7'),
        ('a1,a2', 'a1'),
        ('n[5,9]', 'n5'),
        ('a1,gpu[03-07]', 'a1'),
        ('gpu[03-07]-ib,x', 'gpu03-ib'),
        ('r[1-2]n[4,6-9]', 'r1n4'),
    ],
)
def test_the_first_slurm_host_is_found_without_scontrol(monkeypatch, nodes, first):
    monkeypatch.setenv('PATH', '')
    assert joining._first_host(nodes) == first


@pytest.mark.parametrize('port', ['x', '0', '70000', '-1', '29 500'])
def test_a_port_that_is_none_is_refused(environment, port):
    environment.setenv('MASTER_PORT', port)
    with pytest.raises(dist.LaunchError, match=f"MASTER_PORT='{port}' is no port: set a number"):
        joining.init_dist('slurm')


def test_an_empty_address_and_port_are_as_none(environment):
    for name, value in dict(SLURM_PROCID='0', SLURM_NTASKS='1', SLURM_NODELIST='a1,a2',
                            MASTER_ADDR='', MASTER_PORT=' ', PATH='').items():  # fmt: skip
        environment.setenv(name, value)
    joining._read_environment('slurm', 1)
    assert os.environ['MASTER_ADDR'] == 'a1'
    assert 'MASTER_PORT' not in os.environ


@pytest.mark.parametrize(
    ('variables', 'said'),
    [
        (dict(SLURM_PROCID='2', SLURM_STEP_NUM_TASKS='4'), 'process 2 of the 4 .*launcher slurm'),
        (dict(OMPI_COMM_WORLD_RANK='1', OMPI_COMM_WORLD_SIZE='2'), '1 of the 2 .*launcher mpi'),
        (dict(SLURM_PROCID='0', SLURM_NTASKS='4'), None),  # of a batch script
    ],
)
def test_a_process_that_is_told_to_join_no_other_says_so(
    environment, tmp_path, capfd, variables, said
):
    for name, value in variables.items():
        environment.setenv(name, value)
    assert bool(re.search(said or 'none', dist.trains_alone())) == bool(said)
    Runner.from_cfg(tiny_config(tmp_path))
    assert ('give --launcher' in ''.join(capfd.readouterr())) == bool(said)


@pytest.mark.parametrize('address', ['127.0.0.1', '::1'])
def test_the_port_of_the_store_is_told_by_both_kinds_of_addresses(address):
    if ':' in address and not socket.has_dualstack_ipv6():
        pytest.skip('this machine knows no IPv6')
    job = f'test {os.getpid()} {address}'
    port, _ = joining._serve('127.0.0.1', 1, job, datetime.timedelta(seconds=9))
    try:
        assert joining._ask(address, job) == port
    finally:
        joining._leave_desks()


def test_the_file_that_says_where_the_first_rank_is_goes_once_all_are_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    joining.shared_address(0, 'a job', 1)
    assert len(list(tmp_path.iterdir())) == 1
    joining._leave_desks()
    assert list(tmp_path.iterdir()) == []


def test_jobs_at_one_port_do_not_hear_one_another(environment):
    environment.setenv('MASTER_ADDR', '127.0.0.1')
    environment.setenv('MASTER_PORT', str(free_port()))
    one = joining.meet(0, 2, 'slurm 1.0', 9)
    other = joining.meet(1, 2, 'slurm 2.0', 9)
    one.set('key', 'value')
    assert joining.meet(1, 2, 'slurm 1.0', 9).check(['key'])
    assert not other.check(['key'])


def test_clocks_that_differ_make_no_rank_silent(monkeypatch):
    store = HashStore()
    ranks = []
    for rank in range(2):
        monkeypatch.setattr(torch.distributed, 'get_rank', lambda rank=rank: rank)
        monkeypatch.setattr(torch.distributed, 'get_world_size', lambda: 2)
        ranks.append(dist.JobStore(store))
    monkeypatch.setattr(time, 'time', lambda: 1e6)
    ranks[1].beat('in iteration 7')
    monkeypatch.setattr(time, 'time', lambda: 2e6)
    assert ranks[0].silent(5.0) == []
    now = time.monotonic() + 40
    monkeypatch.setattr(time, 'monotonic', lambda: now)
    assert ranks[0].silent(5.0) == ['rank 1 was last heard of 40 s ago, in iteration 7']


def test_slurm_variables_become_torchs(environment):
    for name, value in dict(SLURM_PROCID='3', SLURM_NTASKS='4', SLURM_LOCALID='1',
                            SLURM_NODELIST='n[1-2]', SLURM_JOB_ID='70001').items():  # fmt: skip
        environment.setenv(name, value)
    environment.setenv('PATH', '')
    job = joining._from_slurm()
    assert [os.environ[k] for k in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')] == ['3', '4', '1']
    assert os.environ['MASTER_ADDR'] == 'n1'
    assert job == 'slurm 70001.0'


def test_steps_of_one_allocation_meet_at_different_ports_that_no_program_is_handed():
    ports = [joining.candidate_ports(f'slurm 7.{step}') for step in range(50)]
    assert len({first for first, *_ in ports}) == 50
    assert all(1024 < port < 32768 for some in ports for port in some)


def meet(rank: int, job: str, stores: dict) -> None:
    port = os.environ.pop('MASTER_PORT', None)
    stores[rank] = joining.meet(rank, 2, job, timeout=20)
    assert port is None


def test_ranks_find_one_another_past_ports_where_others_are_silent_or_talk(environment):
    environment.setenv('MASTER_ADDR', '127.0.0.1')
    ports = joining.candidate_ports('job')
    silent = socket.create_server(('', ports[0]))
    other = joining._serve('127.0.0.1', 2, 'another', datetime.timedelta(seconds=20))
    talking = socket.create_server(('', ports[1]))
    threading.Thread(
        target=joining._tell, args=(talking, b'segkit another\t1\n'), daemon=True
    ).start()
    stores = {}
    try:
        meet(0, 'job', stores)
        chosen = os.environ.pop('MASTER_PORT')
        meet(1, 'job', stores)
        assert os.environ.pop('MASTER_PORT') == chosen != str(other[0])
        stores[0].set('key', 'value')
        assert stores[1].get('key') == b'value'
    finally:
        for server in (silent, talking, *joining._desks):
            server.close()
        joining._desks.clear()


def test_a_hung_rank_is_named_by_the_others_with_what_it_last_did(tmp_path):
    options = dict(train_cfg__max_iters=2000, env_cfg__dist_cfg=dict(timeout=15))
    ranks = start_ranks(tmp_path / 'run', **options)
    ranks[0].wait_for('Iter(train) [  60/2000]')
    ranks[1].kill_after(0, signal.SIGSTOP)
    try:
        assert ranks[0].wait(90) == 1
    finally:
        ranks[1].kill_after(0, signal.SIGKILL)
        ranks[1].wait()
    assert re.search(r'rank 1 was last heard of \d+ s ago, in .*iteration \d+', ranks[0].log)


def test_nccl_on_a_cpu_machine_becomes_gloo():
    assert joining.choose_backend('nccl') == ('nccl' if torch.cuda.is_available() else 'gloo')
