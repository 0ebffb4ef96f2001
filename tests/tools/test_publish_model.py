import hashlib
import re

import torch
from helpers.run_tool import run_tool


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


def test_moving_average(tmp_path):
    average = {'steps': torch.tensor(9), 'module.conv.weight': torch.ones(4)}
    save(tmp_path / 'run.pth', ema_state_dict=average)
    assert run_tool('publish_model', tmp_path / 'run.pth', tmp_path / 'e.pth', '--ema')[0] == 0
    published = torch.load(next(tmp_path.glob('e-*.pth')), weights_only=True)
    assert list(published['state_dict']) == ['conv.weight']
    assert published['state_dict']['conv.weight'].tolist() == [1, 1, 1, 1]


def test_no_moving_average_and_no_file(tmp_path):
    save(tmp_path / 'run.pth')
    status, text = run_tool('publish_model', tmp_path / 'run.pth', tmp_path / 'e.pth', '--ema')
    assert (status, 'leave out --ema' in text) == (1, True)
    status, text = run_tool('publish_model', tmp_path / 'none.pth', tmp_path / 'e.pth')
    assert (status, 'none.pth' in text) == (1, True)
    assert [p.name for p in tmp_path.iterdir()] == ['run.pth']
