"""Every format that was ever published loads, with the same weights."""

import json
import struct

import numpy as np
import pytest
import torch
from helpers.checkpoint_files import (
    CLASSES,
    PALETTE,
    published,
    runner_1x,
    save,
    tiny_model,
    training_0x,
    with_numpy_1_names,
    with_pickle_bytes,
)

from segkit.weights import dataset_meta_of, load_checkpoint, state_dict_of


def test_the_former_place_has_the_same_names():
    from segkit import weights
    from segkit.engine import checkpoint

    assert checkpoint.load_checkpoint is load_checkpoint
    assert len(weights.__all__) > 20
    assert all(getattr(checkpoint, name) is getattr(weights, name) for name in weights.__all__)


def same_weights(state: dict, model: torch.nn.Module) -> bool:
    ours = model.state_dict()
    return set(state) == set(ours) and all(torch.equal(state[k], ours[k]) for k in ours)


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'before torch 1.6'])
@pytest.mark.parametrize('mmap', [False, True])
def test_published_0x_file(tmp_path, legacy, mmap):
    model = tiny_model()
    path = save(published(model), tmp_path / 'a.pth', legacy)

    checkpoint = load_checkpoint(path, mmap=mmap)

    assert same_weights(state_dict_of(checkpoint), model)
    assert dataset_meta_of(checkpoint) == {'classes': list(CLASSES), 'palette': PALETTE}


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'before torch 1.6'])
def test_training_0x_file_keeps_numpy_values(tmp_path, legacy):
    path = save(training_0x(tiny_model(), 'x = 1'), tmp_path / 'a.pth', legacy)

    meta = load_checkpoint(path)['meta']

    assert meta['iter'] == 40
    assert type(meta['iter']) is np.int64
    assert meta['lr'] == np.float32(0.01)
    assert type(meta['PALETTE']) is np.ndarray
    assert meta['PALETTE'].dtype == np.uint8
    assert meta['PALETTE'].tolist() == PALETTE
    assert meta['names'].tolist() == ['a', 'bc']


def test_numpy_of_before_2_0(tmp_path):
    path = with_numpy_1_names(save(training_0x(tiny_model(), ''), tmp_path / 'a.pth'))
    assert b'numpy.core.multiarray' in path.read_bytes()

    assert load_checkpoint(path)['meta']['PALETTE'].tolist() == PALETTE


def test_runner_1x_file_restores_history(tmp_path):
    from mmengine.logging import HistoryBuffer

    path = save(runner_1x(tiny_model()), tmp_path / 'a.pth')

    checkpoint = load_checkpoint(path)
    buffer = checkpoint['message_hub']['log_scalars']['train/loss']

    assert type(buffer) is HistoryBuffer
    assert [array.tolist() for array in buffer.data] == [[3.0, 2.0, 1.5], [1, 1, 1]]
    assert buffer.mean() == pytest.approx(6.5 / 3)
    buffer.update(0.5)
    assert buffer.current() == 0.5
    assert checkpoint['message_hub']['runtime_info']['eta'] == 12.5
    assert dataset_meta_of(checkpoint)['classes'] == list(CLASSES)


def test_dataset_meta_wins_over_the_classes_beside_it():
    nested = {'classes': ('new',), 'palette': [[4, 5, 6]]}
    meta = {'CLASSES': ('old',), 'PALETTE': [[1, 2, 3]], 'classes': ('old',)}

    told = dataset_meta_of({'meta': {'dataset_meta': nested, **meta}})

    assert told == {'classes': ['new'], 'palette': [[4, 5, 6]]}


@pytest.mark.parametrize('prefix', ['module.', 'module.module.', '_orig_mod.'])
def test_prefixes_of_wrappers_are_removed(tmp_path, prefix):
    model = tiny_model()
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    path = save({'state_dict': state}, tmp_path / 'a.pth')

    assert same_weights(state_dict_of(load_checkpoint(path)), model)


def test_bare_state_dict_has_no_classes(tmp_path):
    model = tiny_model()
    checkpoint = load_checkpoint(save(model.state_dict(), tmp_path / 'a.pth'))

    assert same_weights(state_dict_of(checkpoint), model)
    assert dataset_meta_of(checkpoint) is None


@pytest.mark.parametrize('mmap', [False, True])
def test_safetensors_written_by_the_library(tmp_path, mmap):
    library = pytest.importorskip('safetensors.torch')
    tensors = {
        'a': torch.randn(2, 3), 'b': torch.arange(5, dtype=torch.int16), 'c': torch.tensor(7),
        'd': torch.randn(3).bfloat16(), 'e': torch.tensor([True, False]), 'f': torch.zeros(0, 4),
    }  # fmt: skip
    path = tmp_path / 'a.safetensors'
    library.save_file(tensors, path, metadata={'classes': json.dumps(['x', 'y'])})

    checkpoint = load_checkpoint(path, mmap=mmap)

    assert set(checkpoint['state_dict']) == set(tensors)
    for name, tensor in tensors.items():
        loaded = checkpoint['state_dict'][name]
        assert loaded.dtype == tensor.dtype
        assert torch.equal(loaded, tensor)
    assert dataset_meta_of(checkpoint) == {'classes': ['x', 'y']}


def test_writing_into_mapped_tensors_leaves_the_file_alone(tmp_path):
    path = save(published(tiny_model()), tmp_path / 'a.pth')
    before = path.read_bytes()

    state_dict_of(load_checkpoint(path, mmap=True))['backbone.0.weight'].zero_()

    assert path.read_bytes() == before


def test_safetensors_offsets_outside_the_file_are_refused(tmp_path):
    header = json.dumps({'a': {'dtype': 'F32', 'shape': [4], 'data_offsets': [0, 16]}}).encode()
    path = tmp_path / 'a.safetensors'
    path.write_bytes(struct.pack('<Q', len(header)) + header + b'\0' * 8)

    with pytest.raises(RuntimeError, match=r'a\.safetensors: not a complete .*not fully covered'):
        load_checkpoint(path)


def test_tensors_saved_on_a_gpu_come_to_the_cpu(tmp_path):
    """A file whose storages are marked as on 'cuda:0', as every published one."""
    path = save(published(tiny_model()), tmp_path / 'a.pth')
    # BINUNICODE with its length: the location is pickled once and then referred to.
    with_pickle_bytes(path, b'X\x03\x00\x00\x00cpu', b'X\x06\x00\x00\x00cuda:0')

    for map_location in ('cpu', None):
        state = load_checkpoint(path, map_location)['state_dict']
        assert {tensor.device.type for tensor in state.values()} == {'cpu'}
