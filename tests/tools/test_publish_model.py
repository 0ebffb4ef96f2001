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


def test_another_format_is_refused_with_the_tool_that_writes_it(tmp_path):
    save(tmp_path / 'run.pth')
    status, text = run_tool('publish_model', tmp_path / 'run.pth', tmp_path / 'y.onnx')
    assert status == 1
    assert 'y.onnx: this writes a .pth file; tools/export.py' in text
    assert [p.name for p in tmp_path.iterdir()] == ['run.pth']
