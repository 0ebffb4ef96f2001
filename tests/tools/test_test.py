"""tools/test.py as a user types it."""

import json
import pickle
import runpy
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import short_net
from helpers.run_tool import run_tool
from helpers.runs import train
from helpers.tiny_config import write_tiny_config
from mmengine.config import Config
from PIL import Image

from segkit.apis import init_model
from segkit.apis.export import export_model
from segkit.engine.which_checkpoint import require_checkpoint

SCRIPT = Path(__file__).resolve().parents[2] / 'tools' / 'test.py'


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('trained')
    train(folder, train_cfg__max_iters=2)
    return folder


@pytest.fixture
def call(tmp_path, monkeypatch, capfd, trained):
    """Run the script in this process; returns what it printed."""
    config = write_tiny_config(tmp_path)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, checkpoint: object = trained / 'iter_2.pth') -> str:
        argv = [str(SCRIPT), str(config), str(checkpoint), '--work-dir', 'w', *arguments]
        monkeypatch.setattr(sys, 'argv', argv)
        capfd.readouterr()
        runpy.run_path(str(SCRIPT), run_name='__main__')
        return ''.join(capfd.readouterr())

    return run


def test_prints_the_tables_and_a_progress_bar(call):
    said = call()
    assert '| sky ' in said
    assert 'mIoU' in said
    assert '3/3' in said
    assert '100%' in said
    assert 'img/s' in said


def test_leaves_every_class_as_json_and_csv(call):
    call()
    results = json.loads(Path('w/results.json').read_text())
    assert results['classes'][0]['class'] == 'sky'
    assert len(Path('w/results.csv').read_text().splitlines()) == 1 + 13 + 1


def test_results_say_how_they_came_about(call, trained):
    call('--aug-test', '--fuse-bn', '--cfg-options', 'aug_test.img_ratios=[0.5,1.0]')
    results = json.loads(Path('w/results.json').read_text())
    assert results['protocol'] == 'whole, scales 0.5 1, flip, fuse_bn'
    assert results['checkpoint'] == str(trained / 'iter_2.pth')
    call()
    assert json.loads(Path('w/results.json').read_text())['protocol'] == 'whole, single scale'


def test_the_config_of_the_training_stays_as_it_was(call, trained, tmp_path):
    shutil.copytree(trained, tmp_path / 'w')
    (config,) = Path('w').glob('*.py')
    before = config.read_text()
    call('--fuse-bn')
    assert list(Path('w').glob('*.py')) == [config]
    assert config.read_text() == before
    (tested,) = set(Path('w').glob('*/vis_data/config.py')) - {
        Path('w') / path.relative_to(trained) for path in trained.glob('*/vis_data/config.py')
    }
    assert 'fuse_bn' in tested.read_text()


def test_every_kind_of_output_at_once(call, tmp_path):
    call('--out', 'p.pkl', '--show-dir', 'shown', '--report', 'r/page.html', '--eval', 'mDice')
    with open('p.pkl', 'rb') as file:
        maps = pickle.load(file)
    assert [m.shape for m in maps] == [(64, 64)] * 3
    assert maps[0].dtype == np.uint8
    assert len(list((tmp_path / 'shown').iterdir())) == 3
    assert (tmp_path / 'r' / 'page.html').read_text().startswith('<!')


def test_how_sure_it_is_and_each_picture(call, tmp_path):
    call('--per-picture', '--certainty-dir', 'sure', '--probabilities', '--unknown-below', '0.0785')
    lines = Path('w/pictures.csv').read_text().splitlines()
    assert len(lines) == 1 + 3 + 1
    assert lines[0].startswith('picture,mIoU,aAcc,unknown,sky,')
    grey = np.array(Image.open('sure/confidence/00000.png'))
    probabilities = np.load('sure/probabilities/00000.npy')
    assert probabilities.shape == (13, *grey.shape)
    assert np.abs(probabilities.max(0) * 255 - grey).max() < 1
    results = json.loads(Path('w/results.json').read_text())['metrics']
    assert 0 <= results['unknown'] <= 100
    assert results['mIoU_pictures'] > 0
    assert results['unknown'] < 100
    call(
        '--per-picture', 'p.csv', '--unknown-below', '0.0785', '--out', 'ids', '--report', 'r.html'
    )
    ids = np.array(Image.open('ids/00000.png'))
    assert ((ids == 255) == (probabilities.max(0) < 0.0785)).mean() > 0.9
    assert Path('p.csv').read_text().splitlines() == lines
    with pytest.raises(SystemExit):
        call('--unknown-below', '1.2')


def test_files_go_into_a_folder_that_is_there(call, tmp_path):
    (tmp_path / 'there').mkdir()
    call('--report', 'there')
    assert (tmp_path / 'there' / 'report.html').is_file()


def test_predictions_only(call, tmp_path):
    call('--format-only', '--out', 'ids')
    files = sorted((tmp_path / 'ids').iterdir())
    assert [f.name for f in files] == ['00000.png', '00001.png', '00002.png']
    assert np.array(Image.open(files[0])).max() < 13


UNLABELLED = """
test_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset', data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=[str(i) for i in range(13)]), img_suffix='.png', test_mode=True,
        pipeline=test_pipeline))
"""


@pytest.mark.parametrize('views', [[], ['--aug-test']])
def test_pictures_without_labels_can_be_predicted(call, capfd, tmp_path, views):
    (config,) = tmp_path.glob('*.py')
    config.write_text(config.read_text() + UNLABELLED)
    (tmp_path / 'images').mkdir()
    Image.new('RGB', (70, 50), (90, 120, 60)).save(tmp_path / 'images' / 'a.png')
    with pytest.raises(SystemExit):
        call(*views)
    assert '--format-only --out DIR' in capfd.readouterr().err
    call('--format-only', '--out', 'ids', '--report', '--show-dir', 'shown', *views)
    assert Image.open('ids/a.png').size == Image.open('shown/a.png').size == (70, 50)
    assert 'No image has labels' in Path('w/report.html').read_text()


@pytest.mark.parametrize('flag', ['--aug-test', '--tta'])
def test_multi_scale_and_flip(call, flag):
    ratios = ('--cfg-options', 'aug_test.img_ratios=[0.5,1.0]', 'aug_test.flip=True')
    pictures = ('--show-dir', 'shown', '--report', 'page.html')
    assert 'mIoU' in call(flag, *pictures, *ratios)
    assert len(list(Path('shown').iterdir())) == 3
    assert Path('page.html').is_file()


def test_a_work_directory_stands_for_its_best_checkpoint(call, trained):
    assert 'best_mIoU_iter_2.pth: ' in call(checkpoint=trained)


@pytest.mark.parametrize(
    ('save_best', 'chosen'),
    [
        ('mIoU', 'best_mIoU_iter_100'),
        (['val/loss', 'mIoU'], 'best_val_loss_iter_8'),
        (None, 'best_val_loss_iter_2000'),
        ('mDice', 'best_val_loss_iter_2000'),
    ],
)
def test_the_best_by_the_chosen_scalar_of_the_latest_iteration(tmp_path, save_best, chosen):
    names = ['best_aAcc_iter_9', 'best_mIoU_iter_20', 'best_mIoU_iter_100', 'best_val_loss_iter_8']
    names += [] if isinstance(save_best, list) else ['best_val_loss_iter_2000']
    for name in (*names, 'iter_4000'):
        (tmp_path / f'{name}.pth').touch()
    cfg = Config(dict(default_hooks=dict(checkpoint=dict(save_best=save_best))))
    assert require_checkpoint(str(tmp_path), cfg) == str(tmp_path / f'{chosen}.pth')


def test_folded_batch_norms_of_averaged_weights(call, tmp_path):
    (config,) = tmp_path.glob('*.py')
    hook = dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.5)
    averaged = train(tmp_path / 'averaged', train_cfg__max_iters=4, custom_hooks=[hook])
    path = Path(averaged.work_dir) / 'iter_4.pth'
    call(checkpoint=path)
    plain = Path('w/results.csv').read_text()
    config.write_text(config.read_text() + f'custom_hooks = {[hook]}\n')
    assert 'Faster inference: fuse_bn' in call('--fuse-bn', checkpoint=path)
    assert Path('w/results.csv').read_text() == plain


def test_arguments_of_the_older_toolbox_are_answered(call, tmp_path):
    said = call(
        '--gpu-id', '0', '--gpu-collect', '--tmpdir', 't', '--format-only', '--eval-options',
        'imgfile_prefix=ids', 'efficient_test=True',
    )  # fmt: skip
    assert '--gpu-id has no effect: use CUDA_VISIBLE_DEVICES' in said
    assert '--gpu-collect and --tmpdir have no effect' in said
    assert '--eval-options efficient_test=True has no effect' in said
    assert len(list((tmp_path / 'ids').iterdir())) == 3


@pytest.mark.parametrize(
    ('arguments', 'checkpoint', 'message'),
    [
        ([], 'none.pth', 'none.pth: there is no such checkpoint'),
        ([], '.', 'this folder holds no checkpoint'),
        (['--format-only'], None, '--out DIR'),
        (['--show-dir', 'x', '--opacity', '2'], None, '--opacity 2.0 must be in (0, 1]'),
        (['--opacity', '3'], None, '--opacity 3.0 must be in (0, 1]'),
        (['--out', 'x.npy'], None, '--out x.npy: predictions are written as one .pkl'),
        (['--work-dir', 'w.py/x'], None, 'w.py/x (Not a directory); choose another place'),
        (['--out', 'w.py/p.pkl'], None, '--out: cannot make the folder w.py (File exists)'),
        (['--out', 'w.py/ids'], None, '--out: cannot make the folder w.py/ids (Not a directory)'),
        (['--report', 'w.py/x/page.html'], None, '--report: cannot make the folder w.py/x'),
        (['--show'], None, '--show needs a display'),
        (['--cfg-options', 'custom_hooks=EMAHook'], None, "custom_hooks: 'EMAHook' must be a list"),
        (['--cfg-options', 'model.test_cfg.mode=slide'], None, 'needs crop_size=(height, width)'),
        (['--cfg-options', 'model.decode_head.num_classes=4'], None, '13 classes'),
    ],
)
def test_mistakes_end_with_one_sentence(
    call, capfd, monkeypatch, trained, arguments, checkpoint, message
):
    Path('w.py').touch()  # where a folder is wanted
    for name in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as stopped:
        call(*arguments, checkpoint=checkpoint or trained / 'iter_2.pth')
    assert stopped.value.code == 1
    said = capfd.readouterr().err
    assert message in said
    assert 'Traceback' not in said


_SHORT = """
_base_ = './tiny.py'
model = dict(
    backbone=dict(_delete_=True, type='ShortBackbone'),
    decode_head=dict(
        _delete_=True, type='FCNHead', in_channels=32, in_index=-1, channels=16, num_convs=1,
        num_classes=13, norm_cfg=dict(type='BN')),
    auxiliary_head=None)
"""


def test_engines_and_exported_files_give_the_scores_of_pytorch(tmp_path, monkeypatch):
    assert short_net.ShortBackbone, 'its import registers what the config names'
    monkeypatch.chdir(tmp_path)
    write_tiny_config(tmp_path)
    config, weights = tmp_path / 'short.py', tmp_path / 'weights.pth'
    config.write_text(_SHORT)
    model = init_model(config)
    torch.save(dict(state_dict=model.state_dict()), weights)
    export_model(model, 'model.onnx', shape=(64, 64), dynamic=True)

    def scores(*arguments):
        status, said = run_tool('test', config, *arguments, '--work-dir', 'w')
        assert status == 0, said
        found = json.loads(Path('w/results.json').read_text())
        return {k: v for k, v in found.items() if k not in ('checkpoint', 'protocol')}, found[
            'protocol'
        ]

    expected, protocol = scores(weights)
    assert expected['metrics']['mIoU'] > 0
    for arguments, named in (
        (['weights.pth', '--backend', 'openvino'], 'openvino fp32'),
        (['model.onnx'], 'onnxruntime fp32'),
        (['model.onnx', '--backend', 'openvino'], 'openvino fp32'),
    ):
        assert scores(*arguments) == (expected, f'{protocol}, {named}')
    slide = ['--aug-test', '--cfg-options', 'model.test_cfg.mode=slide']
    slide += ['model.test_cfg.crop_size=[48,48]', 'model.test_cfg.stride=[32,32]']
    assert scores('model.onnx', *slide)[0] == scores(weights, *slide)[0]

    status, said = run_tool('test', config, 'model.onnx', '--bf16')
    assert (status, said.count('BackendError: --bf16 is of PyTorch')) == (1, 1)
    out = ['--config', config, '--checkpoint', 'model.onnx', '--out-dir', 'out']
    cv2.imwrite('a.png', np.full((64, 64, 3), 99, np.uint8))
    assert run_tool('predict', 'a.png', *out)[0] == 0
    assert Path('out/masks/a.png').exists()
    size = ['--shape', 64, 64, '--repeats', 1, '--warmup', 0, '--checkpoint', 'model.onnx']
    assert "backend:                openvino" in run_tool(
        'benchmark', config, *size, '--backend', 'openvino'
    )[1]  # fmt: skip


@pytest.mark.parametrize('option', [('--report',), ('--out', 'x.pkl')])
def test_what_needs_every_picture_is_not_resumed(call, option):
    with pytest.raises(SystemExit):
        call('--resume', *option)


def test_resume_without_anything_to_go_on_with_tests_from_the_start(call):
    assert '3/3' in call('--resume')


def test_what_a_killed_test_left_half_written_goes_when_it_is_resumed(call, tmp_path):
    options = '--out', '--show-dir', '--certainty-dir'
    folders = [tmp_path / f'out{option}' / 'a' for option in options]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / '.x.png.999999999.tmp').write_bytes(b'half')
    given = [(option, folder.parent) for option, folder in zip(options, folders)]
    call('--resume', *(str(part) for pair in given for part in pair))
    assert [list(folder.iterdir()) for folder in folders] == [[], [], []]
