"""From a folder to a trained network in one call, and by the commands it stands for."""

import numpy as np
import pytest
import torch
from helpers.make_data import smooth_image, write_pair
from helpers.run_tool import run_tool

from segkit.apis import available, inference_model
from segkit.apis.available import available_models
from segkit.apis.train_folder import Trained, train
from segkit.engine.config import load_config
from segkit.engine.config_files import shipped_home
from segkit.errors import UserError
from segkit.inspection.recipe import NETWORKS
from segkit.registry import MODELS

QUICK = dict(iters=2, batch_size=2, crop=(32, 32), workers=0, deterministic=True)
TYPED = ['--iters', 2, '--batch-size', 2, '--crop', 32, 32, '--workers', 0, '--deterministic']
SMALL = {  # a network of a few thousand weights
    'model.backbone.embed_dims': 8, 'model.decode_head.in_channels': [8, 16, 40, 64],
    'model.decode_head.channels': 8, 'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False, 'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False, 'param_scheduler.1.power': 0.9,
}  # fmt: skip


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp('pairs') / 'rocks', np.random.default_rng(0)
    for i in range(8):
        label = np.repeat(np.arange(4) % 2, 10).astype(np.uint8)
        write_pair(root, f'{i}', smooth_image(rng, (32, 40)), np.tile(label, (32, 1)))
    return root


@pytest.fixture(scope='module')
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp('runs') / 'a'
    return train(
        data, 'segformer_mit-b0', out, classes=['soil', 'rock'], seed=3, options=SMALL, **QUICK
    )


def weights(folder):
    return torch.load(folder / 'iter_2.pth', weights_only=True)['state_dict']


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_folder_becomes_a_network_a_report_and_a_file(trained):
    assert isinstance(trained, Trained)
    folder = trained.config.parent
    files = [trained.config, trained.checkpoint, trained.report, trained.file]
    assert all(path.parent == folder and path.is_file() for path in files)
    assert trained.checkpoint.name.startswith('best_mIoU')
    assert 0 <= trained.scores['mIoU'] <= 100
    assert 'rock' in trained.report.read_text()
    cfg = load_config(trained.config)
    assert cfg.train_dataloader.dataset.metainfo.classes == ('soil', 'rock')
    assert (cfg.model.decode_head.channels, cfg.param_scheduler[1].power) == (8, 0.9)
    assert dict(cfg.randomness) == dict(seed=3, deterministic=True, diff_rank_seed=False)
    model = trained.load()
    result = inference_model(model, np.zeros((40, 50, 3), np.uint8))
    assert result.pred_sem_seg.data.shape == (1, 40, 50)
    best = torch.load(trained.checkpoint, weights_only=True)['state_dict']
    assert equal(model.state_dict(), best)


def test_the_config_that_ran_gives_the_same_weights(trained, tmp_path):
    status, said = run_tool('train', trained.config, '--work-dir', tmp_path / 'again')
    assert status == 0, said
    assert equal(weights(tmp_path / 'again'), weights(trained.config.parent))
    assert not (tmp_path / 'again/report.html').exists()  # in a folder of its own, a run like any


def test_the_command_is_the_call(trained, data, tmp_path):
    pairs = [f'{key}={str(value).replace(" ", "")}' for key, value in SMALL.items()]
    status, said = run_tool(
        'train', '--data', data, '--model', 'segformer_mit-b0', '--work-dir', tmp_path / 'b',
        '--classes', 'soil,rock', '--seed', 3, *TYPED, '--cfg-options', *pairs,
    )  # fmt: skip
    assert status == 0, said
    assert '8 pairs: img/*.png with ann/*.png' in said
    assert equal(weights(tmp_path / 'b'), weights(trained.config.parent))
    ours, theirs = (p.read_text() for p in (tmp_path / 'b/config.py', trained.config))
    assert ours.replace(str(tmp_path / 'b'), 'X') == theirs.replace(str(trained.config.parent), 'X')
    assert (tmp_path / 'b/report.html').is_file()
    assert (tmp_path / 'b/model.safetensors').is_file()


def test_a_run_that_was_stopped_ends_with_the_report_and_the_file_once_it_is_resumed(
    data, tmp_path, monkeypatch
):
    out = tmp_path / 'a'
    monkeypatch.setattr('segkit.engine.runner.Runner.train', _stopped_at_once)
    with pytest.raises(KeyboardInterrupt):
        train(data, 'segformer_mit-b0', out, seed=3, options=SMALL, **QUICK)
    monkeypatch.undo()
    status, said = run_tool('train', out / 'config.py', '--resume')
    assert status == 0, said
    assert {'report.html', 'model.safetensors', 'iter_2.pth'} <= {p.name for p in out.iterdir()}


def _stopped_at_once(runner):
    raise KeyboardInterrupt


def test_a_run_is_not_written_over(trained, data):
    with pytest.raises(UserError, match=r'config.py: is there already. Go on .* --resume') as said:
        train(data, 'segformer_mit-b0', trained.config.parent)
    command = str(said.value).partition('`')[2].partition('`')[0].split()
    status, said = run_tool('train', *command[command.index(str(trained.config)) :])
    assert status == 0, said


def test_checkpoints_of_another_run_are_not_taken_for_those_of_this_one(trained, data, tmp_path):
    (tmp_path / 'best_mIoU_iter_900.pth').write_bytes(trained.checkpoint.read_bytes())
    with pytest.raises(UserError, match='best_mIoU_iter_900.pth: is of another run'):
        train(data, 'segformer_mit-b0', tmp_path, seed=3, options=SMALL, **QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ['best_mIoU_iter_900.pth']


def test_what_is_written_others_may_read(trained):
    folder = trained.config.parent
    modes = {path.name: path.stat().st_mode for path in folder.iterdir() if path.is_file()}
    assert 'model.safetensors' in modes
    assert len(set(modes.values())) == 1


def test_the_network_is_named_by_the_option_that_this_command_has(data, tmp_path, capsys):
    with pytest.raises(UserError, match='--model segformer_b0: .* Did you mean segformer_mit-b0'):
        train(data, 'segformer_b0', tmp_path / 'run')
    with pytest.raises(UserError, match='chanels'):
        train(data, out=tmp_path / 'run', options={'model.decode_head.chanels': 3})
    said = capsys.readouterr().out
    assert '--model pspnet_r50-d8 is larger' in said
    assert '--network' not in said


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (dict(out='s3://bucket/run'), 's3://bucket/run: --data writes .* `.*new_dataset'),
        (dict(itrs=3), r'no setting itrs. Did you mean iters\?'),
        (dict(colour=3), r"no setting colour. Known: .*iters.* options=\{'a.b': value\}"),
        (dict(model='segformer_b0'), 'segformer_b0: there is no such part; known: .*mit-b0'),
        (dict(iters=0), '--batch-size, --iters and --crop must be 1 or more'),
        (dict(iters='many'), "argument --iters: invalid int value: 'many'"),
        (dict(resume=True), 'no setting resume'),
        (dict(options={'model.decode_head.chanels': 3}), 'channels'),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(data, tmp_path, arguments, said):
    out = tmp_path / 'run'
    with pytest.raises(UserError, match=said):
        train(data, **{'out': out, **arguments})
    assert not (out / 'config.py').exists()


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere: there is no such folder'):
        train(tmp_path / 'nowhere', out=tmp_path / 'run')


def test_several_processes_take_a_written_config(data, tmp_path, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    with pytest.raises(UserError, match='Write it first, `.*new_dataset'):
        train(data, out=tmp_path / 'run')


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        ([], 'give either CONFIG or --data FOLDER'),
        (['c.py', '--data', 'd'], 'give either CONFIG or --data FOLDER'),
        (['c.py', '--iters', 3], '--iters goes with --data; a config is changed by --cfg-options'),
        (['c.py', '--model', 'x'], '--model goes with --data'),
        (['--data', 'd', '--folds', 2], ' FOLDER --folds 2` writes them, train each'),
        (['--data', 'd', '--resume'], '--resume goes with the config that --data has written'),
    ],
)
def test_arguments_that_do_not_go_together(words, said):
    status, text = run_tool('train', *words)
    assert status == 2
    assert said in text


def test_every_network_is_available_with_what_is_known_of_it():
    found = available_models()
    assert list(found) == list(NETWORKS)
    assert len(found) >= 38
    assert all(info.paper and info.encoder and info.parameters > 1e6 for info in found.values())
    assert list(available_models('*r18*')) == [name for name in NETWORKS if 'r18' in name]
    assert available_models('segformer_mit-b5')['segformer_mit-b5'].weights.endswith('.pth')
    with pytest.raises(UserError, match='none of .* fits. Near it: segformer'):
        available_models('segfromer*')
    assert set(available.PAPERS) == {name.partition('_')[0] for name in NETWORKS}


@pytest.mark.parametrize('name', ['upernet_r18', 'deeplabv3plus_r50-d8', 'segformer_mit-b1'])
def test_the_parameters_are_those_of_the_network(name):
    network = NETWORKS[name]
    model = load_config(shipped_home() / network.base).model.to_dict()
    for part, changes in network.changes.items():
        model[part] = {**model[part], **changes}
    model['decode_head']['num_classes'] = 19
    model |= dict(auxiliary_head=None, pretrained=None)
    with torch.device('meta'):
        count = sum(p.numel() for p in MODELS.build(model).parameters())
    assert available_models(name)[name].parameters == count


def test_the_call_stays_the_call_where_its_name_was_a_module():
    """mmsegmentation 0.x had a module of that name, and code may have imported it."""
    import segkit.apis

    exec('from segkit.apis.train import set_random_seed', {})
    with pytest.raises(UserError, match='no setting itrs'):
        segkit.apis.train('.', itrs=3)
