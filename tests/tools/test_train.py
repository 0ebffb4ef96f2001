"""tools/train.py as a user types it."""

import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.runs import assert_same_run, read
from helpers.tiny_config import write_tiny_config
from mmengine.config import Config

SCRIPT = Path(__file__).resolve().parents[2] / 'tools' / 'train.py'


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run the script in this process, in an empty folder; returns the work directory."""
    config = write_tiny_config(tmp_path)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, work_dir: str = 'w') -> Path:
        argv = [str(SCRIPT), str(config), '--work-dir', work_dir, *arguments]
        monkeypatch.setattr(sys, 'argv', argv)
        runpy.run_path(str(SCRIPT), run_name='__main__')
        return tmp_path / work_dir

    return run


def log_of(work_dir: Path) -> str:
    return '\n'.join(path.read_text() for path in sorted(work_dir.glob('*/*.log')))


def test_help_answers_before_anything_heavy_is_imported(tmp_path):
    start = time.process_time()
    code = (
        'import runpy, sys; sys.argv = ["train.py", "--help"]\n'
        f'try: runpy.run_path({str(SCRIPT)!r}, run_name="__main__")\n'
        'except SystemExit: pass\n'
        'assert not {"torch", "cv2", "mmengine", "numpy"} & set(sys.modules), "heavy"'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert b'--auto-scale-lr' in done.stdout
    assert time.process_time() - start < 2


def test_trains_from_any_folder_in_a_process_of_its_own(tmp_path):
    config = write_tiny_config(tmp_path)
    environment = dict(os.environ, OMP_NUM_THREADS='1')
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(config), '--seed', '3'],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert read(tmp_path / 'work_dirs' / 'tiny' / 'iter_8.pth')['meta']['seed'] == 3
    line = next(text for text in done.stdout.splitlines() if 'Iter(train) [8/8]' in text)
    for part in ('lr: ', 'eta: ', 'time: ', 'data_time: ', 'memory: ', 'loss: ',
                 'decode.loss_ce: ', 'decode.acc_seg: ', 'aux.loss_ce: '):  # fmt: skip
        assert part in line
    assert 'SyncBN layers became BatchNorm2d' in done.stdout
    assert 'seed: 3' in done.stdout


def test_the_console_is_quiet(tmp_path):
    """Environment and config are in files; each checkpoint is announced once."""
    command = [sys.executable, SCRIPT, write_tiny_config(tmp_path), '--cfg-options']
    settings = ['train_cfg.max_iters=20', 'default_hooks.logger.interval=10', 'val_cfg=None',
                'val_dataloader=None', 'val_evaluator=None', 'param_scheduler.0.end=20',
                'default_hooks.checkpoint.interval=10',
                'default_hooks.checkpoint.save_best=None']  # fmt: skip
    done = subprocess.run(
        [*command, *settings],
        cwd=tmp_path,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    lines = (done.stdout + done.stderr).splitlines()
    assert done.returncode == 0, lines
    assert len(lines) <= 12, lines
    told = [line for line in lines if '.pth' in line]
    assert ['iter_10.pth' in told[0], 'iter_20.pth' in told[-1]] == [True, True]
    assert len(told) == 2
    folder = next((tmp_path / 'work_dirs/tiny').glob('20*_*'))
    assert 'torch' in '\n'.join(p.read_text() for p in folder.iterdir() if p.is_file())
    assert list((tmp_path / 'work_dirs/tiny').glob('*.py'))


def test_stop_and_resume_by_flag(call):
    call('--cfg-options', 'train_cfg.max_iters=4', work_dir='a')
    call('--resume', work_dir='a')
    call(work_dir='b')
    assert 'Resumed from' in log_of(Path('a'))
    assert read(Path('a/iter_8.pth'))['meta']['iter'] == 8
    call('--resume-from', 'b/iter_6.pth', work_dir='c')
    assert_same_run(Path('c/iter_8.pth'), Path('b/iter_8.pth'))


def test_flags_reach_the_config_that_is_saved(call):
    work_dir = call(
        '--amp', '--amp-dtype', 'bf16', '--seed', '5', '--deterministic', '--no-validate',
        '--accumulate', '2', '--options', 'train_cfg.max_iters=2',
    )  # fmt: skip
    saved = Config.fromfile(work_dir / 'tiny.py')
    assert saved.optim_wrapper.type == 'AmpOptimWrapper'
    assert saved.optim_wrapper.dtype == 'bf16'
    assert saved.randomness.seed == 5
    assert saved.randomness.deterministic is True
    assert saved.train_cfg.accumulate == 2
    assert saved.val_dataloader is None
    assert read(work_dir / 'iter_2.pth')['meta']['effective_batch'] == 4
    assert not list(work_dir.glob('best_*'))


def weights_of(path: Path) -> dict:
    return read(path)['state_dict']


FROZEN = ('--cfg-options', 'optim_wrapper.optimizer.lr=0.0', 'param_scheduler=[]')


@pytest.mark.parametrize(
    'start', [('load_from=a/iter_2.pth', '--resume'), ('--resume', '--load-from', 'a/iter_2.pth'),
              ('--load-from', 'a/iter_2.pth', '--auto-resume')],
)  # fmt: skip
def test_resuming_starts_from_the_given_weights_and_then_goes_on(call, start):
    call('--cfg-options', 'train_cfg.max_iters=2', work_dir='a')
    call(*FROZEN, 'train_cfg.max_iters=2', *start)
    assert 'w yet: training starts from the weights of a/iter_2.pth' in log_of(Path('w'))
    name = 'backbone.layer4.0.conv1.weight'
    assert (weights_of('a/iter_2.pth')[name] == weights_of('w/iter_2.pth')[name]).all()
    call(*FROZEN, 'train_cfg.max_iters=4', *start)
    assert 'w/iter_2.pth at iteration 2' in log_of(Path('w'))


def test_the_type_of_mixed_precision_on_the_command_line_counts(call):
    dtype = 'optim_wrapper.dtype=float16'
    work_dir = call('--amp-dtype', 'bf16', '--options', 'train_cfg.max_iters=2', dtype)
    assert Config.fromfile(work_dir / 'tiny.py').optim_wrapper.dtype == 'bf16'


def test_another_seed_for_each_process_by_either_name(call):
    for flag in ('--diff-seed', '--diff_seed'):
        work_dir = call(flag, '--options', 'train_cfg.max_iters=2')
        assert Config.fromfile(work_dir / 'tiny.py').randomness.diff_rank_seed


def test_the_rate_is_scaled_to_the_batch_on_request(call):
    options = ('--cfg-options', 'train_cfg.max_iters=2', 'auto_scale_lr.base_batch_size=8')
    work_dir = call('--auto-scale-lr', *options)
    assert 'Learning rates times 2/8' in log_of(work_dir)
    group = read(work_dir / 'iter_2.pth')['optimizer']['param_groups'][0]
    assert group['initial_lr'] == pytest.approx(0.01 / 4)
    work_dir = call(*options, work_dir='plain')
    assert 'This run has 2 images per step, its recipe 8' in log_of(work_dir)


def test_fine_tuning_takes_what_fits_and_lists_the_rest(call):
    first = call('--cfg-options', 'train_cfg.max_iters=2')
    second = call(
        '--load-from', str(first / 'iter_2.pth'), '--cfg-options', 'train_cfg.max_iters=2',
        'optim_wrapper.optimizer.lr=0.0', 'param_scheduler=[]', 'model.decode_head.channels=24',
        work_dir='finetuned',
    )  # fmt: skip
    old, new = (read(folder / 'iter_2.pth')['state_dict'] for folder in (first, second))
    name = 'backbone.layer4.0.conv1.weight'
    assert (old[name] == new[name]).all()
    assert 'left out: other shape' in log_of(second)
    assert 'decode_head.conv_seg.weight' in log_of(second)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--cfg-options', 'model.decode_head.chanels=3'], "Did you mean 'channels'"),
        (['--cfg-options', 'model.backbone.type=ResNetV1x'], "Did you mean 'ResNetV1"),
        (['--cfg-options', 'train_cfg'], 'write KEY=VALUE'),
        (['--cfg-options', 'resume=a.pth'], "resume: 'a.pth' must be True, False or 'auto'"),
        (['--auto-scale-lr'], 'set auto_scale_lr.base_batch_size'),
        (['--accumulate', 'all'], "train_cfg.accumulate='all': a number >= 1, or 'auto'"),
        (['--resume', 'nothing.pth'], 'nothing.pth: there is no such checkpoint'),
        (['--load-from', 'nothing.pth'], 'nothing.pth'),
        (['--cfg-options', 'train_dataloader.batch_size=1', 'model.decode_head.pool_scales=[1]'],
         'Add: --cfg-options train_dataloader.batch_size=2'),
    ],
)  # fmt: skip
def test_mistakes_end_with_one_sentence_and_a_status(call, capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        call(*arguments)
    said = capsys.readouterr().err + str(stopped.value.code)
    assert stopped.value.code not in (0, None)
    assert message in said
    assert 'Traceback' not in said


def test_an_unknown_config_names_the_nearest_shipped_one(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [str(SCRIPT), 'pspnet_r18-d8_shape'])
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPT), run_name='__main__')
    assert 'pspnet_r18-d8_shapes' in capsys.readouterr().err
