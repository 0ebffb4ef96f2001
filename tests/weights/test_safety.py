"""Files that mean harm, or are no checkpoint, are refused with a sentence; nothing runs."""

import builtins
import os
import subprocess

import numpy as np
import pytest
import torch
from helpers.checkpoint_files import (
    Build,
    Call,
    as_plain_pickle,
    published,
    runner_1x,
    save,
    tiny_model,
    training_0x,
)
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from segkit.models.backbones import ResNet
from segkit.models.decode_heads import FCNHead
from segkit.weights import (
    CheckpointError,
    CheckpointNotFoundError,
    UnsafeCheckpointError,
    load_checkpoint,
    load_into,
    state_dict_of,
    use_in_mmengine,
)

CALLS = {
    'posix.system': lambda file: Call(os.system, f'touch {file}'),
    'builtins.eval': lambda file: Call(eval, f'open({str(file)!r}, "w")'),
    'builtins.exec': lambda file: Call(exec, f'open({str(file)!r}, "w")'),
    'builtins.__import__': lambda file: Call(__import__, 'antigravity'),
    'subprocess.Popen': lambda file: Call(subprocess.Popen, ['touch', str(file)]),
    'io.open': lambda file: Call(open, str(file), 'w'),
}


@pytest.mark.parametrize('name', CALLS)
@pytest.mark.parametrize('container', ['zip', 'legacy', 'plain pickle'])
def test_a_pickle_that_calls_is_refused_by_name_and_never_run(tmp_path, name, container):
    trace = tmp_path / 'trace'
    content = {**published(tiny_model()), 'extra': CALLS[name](trace)}
    path = tmp_path / 'evil.pth'
    if container == 'plain pickle':
        as_plain_pickle(content['extra'], path)
    else:
        save(content, path, legacy=container == 'legacy')

    with pytest.raises(UnsafeCheckpointError) as caught:
        load_checkpoint(path)

    assert not trace.exists()
    assert str(path) in str(caught.value)
    assert 'refused' in str(caught.value)
    if container != 'plain pickle':  # whose Python 2 names pickle writes as __builtin__
        assert name in str(caught.value)


def getattr_to(owner, name):
    return {'state_dict': {'w': torch.zeros(1)}, 'x': Call(builtins.getattr, owner, name)}


@pytest.mark.parametrize(
    ('owner', 'name'),
    [
        (HistoryBuffer, '__init__'),
        (HistoryBuffer, 'update'),
        (np.ndarray, 'tofile'),
        (torch.Tensor, '__class__'),
    ],
)
def test_getattr_reaches_nothing_but_the_four_statistics(tmp_path, owner, name):
    path = save(getattr_to(owner, name), tmp_path / 'a.pth')

    with pytest.raises(UnsafeCheckpointError, match=rf'getattr to reach {name!r}'):
        load_checkpoint(path)


def test_the_chain_from_getattr_to_module_globals_is_refused(tmp_path):
    chain = Call(getattr, Call(getattr, HistoryBuffer, 'mean'), '__globals__')
    path = save({'state_dict': {'w': torch.zeros(1)}, 'x': chain}, tmp_path / 'a.pth')

    with pytest.raises(UnsafeCheckpointError, match="'__globals__'"):
        load_checkpoint(path)


def test_values_that_hold_one_another_a_million_times_end_soon(tmp_path):
    pair, names = (1, 1), {str(number): 1 for number in range(1000)}
    for _ in range(60):
        pair = (pair, pair)
    for _ in range(6):
        names = dict.fromkeys(map(str, range(1000)), names)
    path = save({'state_dict': {'w': torch.zeros(1)}, 'x': pair, 'y': names}, tmp_path / 'a.pth')
    load_checkpoint(path)
    with pytest.raises(CheckpointError, match=r'a\.pth: holds more than 200000 names'):
        load_into(torch.nn.Linear(1, 1), path)


def test_object_arrays_are_refused(tmp_path):
    content = {'state_dict': {'w': torch.zeros(1)}, 'meta': {'a': np.array([{'x': 1}], object)}}
    path = save(content, tmp_path / 'a.pth')

    with pytest.raises(UnsafeCheckpointError, match=r'a\.pth: refused.*objects instead of numb'):
        load_checkpoint(path)


def test_structured_arrays_are_refused(tmp_path):
    array = np.zeros(2, [('a', 'f4'), ('b', 'i4')])
    path = save({'state_dict': {'w': torch.zeros(1)}, 'a': array}, tmp_path / 'a.pth')

    with pytest.raises(UnsafeCheckpointError, match='refused'):
        load_checkpoint(path)


def test_dtype_flags_of_the_file_are_ignored(tmp_path):
    """numpy would believe a file that says float64 holds object references, and crash."""
    flagged = Build(np.dtype, ('f8', False, True), (3, '<', None, None, None, -1, -1, 63))
    path = save({'w': torch.zeros(1), 'd': flagged}, tmp_path / 'a.pth')

    dtype = load_checkpoint(path)['d']

    assert dtype == np.dtype('f8')
    assert dtype.flags == 0
    assert not dtype.hasobject


def test_arrays_that_claim_more_than_their_bytes_are_refused(tmp_path):
    from numpy._core.multiarray import _reconstruct

    array = Build(
        _reconstruct, (np.ndarray, (0,), b'b'), (1, (1 << 40,), np.dtype('f8'), False, b'1234')
    )
    path = save({'w': torch.zeros(1), 'a': array}, tmp_path / 'a.pth')

    with pytest.raises(UnsafeCheckpointError, match='4 bytes do not fill its shape'):
        load_checkpoint(path)


def test_history_of_the_file_cannot_replace_methods(tmp_path):
    poisoned = runner_1x(tiny_model())
    before = dict(HistoryBuffer._statistics_methods)
    state = {
        'max_length': 3, '_log_history': np.ones(2), '_count_history': np.ones(2),
        'statistics_methods': {'mean': 'poison'},
    }  # fmt: skip
    poisoned['message_hub']['log_scalars'] = {'a': Build(HistoryBuffer, (), state)}
    path = save(poisoned, tmp_path / 'a.pth')

    try:
        loaded = load_checkpoint(path)['message_hub']['log_scalars']['a']
        assert loaded.statistics('mean') == 1
    finally:
        HistoryBuffer._statistics_methods.clear()
        HistoryBuffer._statistics_methods.update(before)


def test_the_config_in_a_checkpoint_never_reaches_mmengine(tmp_path):
    trace = tmp_path / 'trace'
    config = f'open({str(trace)!r}, "w").close()\nmodel = dict()'
    path = save(training_0x(tiny_model(), config), tmp_path / 'a.pth')

    assert 'config' not in load_checkpoint(path)['meta']
    use_in_mmengine()
    checkpoint = CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
    assert checkpoint['meta']['iter'] == 40
    assert 'config' not in checkpoint['meta']
    assert not trace.exists()


def test_weights_that_an_init_cfg_names_are_read_by_the_same_reader(tmp_path):
    evil = save(
        {'state_dict': {'x': CALLS['posix.system'](tmp_path / 'trace')}}, tmp_path / 'a.pth'
    )
    init_cfg = dict(type='Pretrained', checkpoint=str(evil))
    kind = dict(in_channels=4, channels=4, num_classes=2, num_convs=1, init_cfg=init_cfg)
    for module in (FCNHead(**kind), ResNet(18, base_channels=4, init_cfg=init_cfg)):
        with pytest.raises(UnsafeCheckpointError, match=r'posix\.system'):
            module.init_weights()
    assert not (tmp_path / 'trace').exists()


def test_the_allow_list_does_not_outlive_the_call(tmp_path):
    path = save(training_0x(tiny_model(), ''), tmp_path / 'a.pth')
    before = set(torch.serialization.get_safe_globals())

    load_checkpoint(path)

    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('keep', [0, 3, 20, 0.3, 0.6, 0.9, 0.99])
def test_truncated_files_say_so(tmp_path, legacy, keep):
    path = save(published(tiny_model()), tmp_path / 'cut.pth', legacy)
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])

    with pytest.raises(CheckpointError, match=r'cut\.pth: .*(truncated|not a complete)') as caught:
        load_checkpoint(path)
    assert not isinstance(caught.value, UnsafeCheckpointError)


@pytest.mark.parametrize('text', ['<!DOCTYPE html><html>', 'version https://git-lfs.github.com/'])
def test_a_web_page_or_lfs_pointer_is_named(tmp_path, text):
    path = tmp_path / 'page.pth'
    path.write_text(text)

    with pytest.raises(CheckpointError, match=r'page\.pth: this is text'):
        load_checkpoint(path)


def test_random_bytes_are_no_checkpoint(tmp_path):
    path = tmp_path / 'noise.pth'
    path.write_bytes(np.random.default_rng(0).bytes(4096))

    with pytest.raises(CheckpointError, match=r'noise\.pth'):
        load_checkpoint(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointNotFoundError, match=r'none\.pth: there is no such checkpoint'):
        load_checkpoint(tmp_path / 'none.pth')


@pytest.mark.parametrize('content', [[1, 2], torch.zeros(3), 'text'])
def test_a_file_that_is_no_dict_is_refused(tmp_path, content):
    path = save(content, tmp_path / 'a.pth')

    with pytest.raises(CheckpointError, match=r'a\.pth: holds a \w+, not a dict of weights'):
        load_checkpoint(path)


def test_a_dict_without_weights_is_refused():
    with pytest.raises(CheckpointError, match=r'x\.pth: holds no weights \(its keys: meta, epoch'):
        state_dict_of({'meta': {}, 'epoch': 3}, 'x.pth')
