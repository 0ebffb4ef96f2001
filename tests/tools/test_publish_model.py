import hashlib
import re

import pytest
import torch
from helpers.run_tool import run_tool
from mmengine.hooks import EMAHook
from torch import nn


def save(path, **more):
    state = {'module.conv.weight': torch.arange(4.0)}
    meta = {'dataset_meta': {'classes': ('a', 'b')}, 'cfg': 'secret = 1', 'time': 'now'}
    torch.save({'state_dict': state, 'meta': meta, 'optimizer': {'big': 1}, **more}, path)


def test_weights_and_classes_only_with_the_hash_in_the_name(tmp_path):
    save(tmp_path / 'run.pth')
    status, text = run_tool('publish_model', tmp_path / 'run.pth', tmp_path / 'pub/net.pth')
    assert status == 0, text
    (path,) = (tmp_path / 'pub').iterdir()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f'net-{digest[:8]}.pth'
    assert re.search(r'1 tensors', text)
    published = torch.load(path, weights_only=True)
    assert published['state_dict']['conv.weight'].tolist() == [0, 1, 2, 3]
    assert published['meta'] == {'dataset_meta': {'classes': ['a', 'b']}}
    assert set(published) == {'state_dict', 'meta'}


class OneLayer:
    """As much of a runner as EMAHook asks for."""

    iter = 0

    def __init__(self):
        self.model = nn.Linear(2, 1, bias=False)


def published(tmp_path, name, *options):
    status, text = run_tool('publish_model', tmp_path / name, tmp_path / 'e.pth', *options)
    assert status == 0, text
    (path,) = tmp_path.glob('e-*.pth')
    state = torch.load(path, weights_only=True)['state_dict']
    path.unlink()
    return {key: value.flatten().tolist() for key, value in state.items()}, text


@pytest.mark.parametrize('options', [(), ('--ema',)])
def test_the_moving_average_of_a_run_is_published(tmp_path, options):
    runner, hook = OneLayer(), EMAHook(momentum=0.5)
    nn.init.constant_(runner.model.weight, 1.0)
    hook.before_run(runner)
    hook.ema_model.update_parameters(runner.model)
    nn.init.constant_(runner.model.weight, 3.0)
    hook.ema_model.update_parameters(runner.model)
    checkpoint = dict(state_dict=dict(runner.model.state_dict()), meta={})
    hook.before_save_checkpoint(runner, checkpoint)
    torch.save(checkpoint, tmp_path / 'run.pth')
    state, text = published(tmp_path, 'run.pth', *options)
    assert state == {'weight': [2.0, 2.0]}
    assert 'moving averages, which validation scored' in text


@pytest.mark.parametrize(
    ('name', 'options', 'weight'),
    [('iter_2.pth', ['--ema'], 5.0), ('epoch_2.pth', ['--ema'], 1.0), ('iter_2.pth', [], 1.0)],
)
def test_buffers_of_the_older_toolbox(tmp_path, name, options, weight):
    """By iteration, ema_* are the averages; by epoch they were exchanged before saving."""
    state = {'conv.weight': torch.ones(1), 'ema_conv_weight': torch.full((1,), 5.0)}
    torch.save({'state_dict': {**state, 'bn.running_mean': torch.zeros(1)}}, tmp_path / name)
    state, text = published(tmp_path, name, *options)
    assert state == {'conv.weight': [weight], 'bn.running_mean': [0.0]}
    assert 'ema_*' in text


def test_the_hash_depends_on_the_weights_alone(tmp_path):
    save(tmp_path / 'run.pth')
    for name in ('one.pth', 'another_name.pth'):
        assert run_tool('publish_model', tmp_path / 'run.pth', tmp_path / name)[0] == 0
    one, other = (next(tmp_path.glob(f'{name}-*.pth')) for name in ('one', 'another_name'))
    assert one.read_bytes() == other.read_bytes()
    assert one.stem.rpartition('-')[2] == other.stem.rpartition('-')[2]


def test_from_a_work_directory_into_a_folder(tmp_path):
    (tmp_path / 'work').mkdir(), (tmp_path / 'pub').mkdir()
    save(tmp_path / 'work/best_mIoU_iter_5.pth')
    status, text = run_tool('publish_model', tmp_path / 'work', f'{tmp_path}/pub/')
    assert status == 0, text
    (path,) = (tmp_path / 'pub').iterdir()
    assert re.fullmatch(r'best_mIoU_iter_5-[0-9a-f]{8}\.pth', path.name)
