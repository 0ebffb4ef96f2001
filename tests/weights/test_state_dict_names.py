"""Checkpoints of other trainers: all weights are found under whatever prefix, or a choice asked."""

import argparse
import sys
import types
from pathlib import PurePosixPath

import numpy as np
import pytest
import torch
from helpers.checkpoint_files import save, tiny_model
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from segkit.engine.command_line import add_weights_arguments
from segkit.weights import CheckpointError, load_into
from segkit.weights.integrity import checking
from segkit.weights.state_dict_names import wanted_key_map

THEIRS = tiny_model(seed=1)
STATE = THEIRS.state_dict()


def prefixed(prefix, state=STATE):
    return {prefix + name: tensor for name, tensor in state.items()}


def averages(state=STATE):
    return {f'ema_{name.replace(".", "_")}': tensor + 1 for name, tensor in state.items()}


WRAPPED = {
    'bare': STATE,
    **{f'prefix {p}': prefixed(p) for p in ('model.', 'net.', 'module.', '_orig_mod.')},
    'stacked': prefixed('module._orig_mod.model.net.module.'),
    'compiled parts': {f'backbone._orig_mod.{n[9:]}' if n[:8] == 'backbone' else n: t
                       for n, t in STATE.items()},
    'backbone under DDP': {f'backbone.module.{n[9:]}' if n[:8] == 'backbone' else n: t
                           for n, t in STATE.items()},
    **{f'dict {key}': {key: STATE, 'epoch': 3}
       for key in ('state_dict', 'model_state_dict', 'model', 'net', 'weights', 'anything')},
    'dicts in dicts': {'checkpoint': {'model': {'state_dict': prefixed('module.')}}},
    'Lightning': {'state_dict': {**prefixed('model.'), 'criterion.weight': torch.ones(3)},
                  'pytorch-lightning_version': '2.0', 'loops': {'fit_loop': {}},
                  'optimizer_states': [{'state': {0: {'exp_avg': torch.ones(3)}}}]},
    'Lightning with settings': {'state_dict': prefixed('model.'), 'hyper_parameters':
                                argparse.Namespace(lr=0.1, root=PurePosixPath('/x'))},
    'AveragedModel': AveragedModel(THEIRS).state_dict(),
    'thop': {**STATE, 'total_ops': torch.zeros(1), 'backbone.total_params': torch.zeros(1)},
    'a loss beside': {'model_state_dict': STATE, 'loss': torch.tensor(0.3)},
    'a loss among': {'state_dict': {**STATE, 'best_score': torch.tensor(0.3)}},
    'mmengine EMA': {'state_dict': STATE, 'ema_state_dict': prefixed('module.', averages())},
    '0.x EMA': {'state_dict': {**STATE, **averages()}, 'meta': {'mmseg_version': '0.30.0'}},
    'optimizer by name': {'model': STATE, 'optimizer': prefixed('state.')},
    'gradients kept': {'state_dict': STATE, 'partial_gradients': STATE},
}  # fmt: skip


def loaded(content, folder, **options):
    model = tiny_model(seed=2)
    report = load_into(model, save(content, folder / 'a.pth'), **options)
    return model.state_dict(), report


@pytest.mark.parametrize('name', WRAPPED)
def test_all_weights_of_other_trainers_are_found(name, tmp_path):
    state, report = loaded(WRAPPED[name], tmp_path)
    assert all(torch.equal(state[key], STATE[key]) for key in STATE)
    assert report.rows() == []


@pytest.mark.parametrize('legacy', [False, True])
def test_the_settings_of_lightning_are_read_as_data(legacy, tmp_path, monkeypatch):
    names = ['lightning_fabric', 'lightning_fabric.utilities', 'lightning_fabric.utilities.data']
    for name in names:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    kind = type('AttributeDict', (dict,), {'__module__': names[-1]})
    sys.modules[names[-1]].AttributeDict = kind
    content = {'state_dict': prefixed('model.'), 'hyper_parameters': kind(lr=0.1, more=kind(a=1))}
    save(content, tmp_path / 'a.ckpt', legacy)
    model = tiny_model(seed=2)
    load_into(model, tmp_path / 'a.ckpt')
    assert torch.equal(model.state_dict()['backbone.0.weight'], STATE['backbone.0.weight'])


def test_a_folder_of_the_hub_is_loaded(tmp_path):
    save_file(STATE, tmp_path / 'model.safetensors')
    (tmp_path / 'config.json').write_text('{}')
    model = tiny_model(seed=2)
    load_into(model, tmp_path)
    assert torch.equal(model.state_dict()['backbone.0.weight'], STATE['backbone.0.weight'])


OTHER = {
    name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in STATE.items()
}
TWO = {
    ('teacher.', 'student.'): {**prefixed('teacher.'), **prefixed('student.', OTHER)},
    ('model.', 'model_ema.'): {'model': STATE, 'model_ema': OTHER},
    ('state_dict.', 'state_dict_ema.'): {'state_dict': STATE, 'state_dict_ema': OTHER},
    ('state_dict.online.', 'state_dict.target.'): {
        'state_dict': {**prefixed('online.'), **prefixed('target.', OTHER)}
    },
}


@pytest.mark.parametrize('prefixes', TWO)
@pytest.mark.parametrize('purpose', ['test', 'finetune'])
def test_of_two_sets_none_is_taken_and_a_key_map_chooses(prefixes, purpose, tmp_path, monkeypatch):
    with pytest.raises(CheckpointError) as caught:
        loaded(TWO[prefixes], tmp_path, purpose=purpose)
    for prefix, expected in zip(prefixes, (STATE, OTHER)):
        assert f'--key-map {prefix}=' in str(caught.value)
        state, report = loaded(TWO[prefixes], tmp_path, purpose=purpose, key_map={prefix: ''})
        assert all(torch.equal(state[key], expected[key]) for key in STATE)
        assert len(report.aside) == len(STATE)
        monkeypatch.setenv('SEGKIT_KEY_MAP', f'{prefix}=')
        state, _ = loaded(TWO[prefixes], tmp_path, purpose=purpose)
        monkeypatch.delenv('SEGKIT_KEY_MAP')
        assert all(torch.equal(state[key], expected[key]) for key in STATE)


def test_the_other_set_of_the_older_hook_can_be_asked_for(tmp_path):
    state, report = loaded(WRAPPED['0.x EMA'], tmp_path)
    assert any('ema_' in name for name in report.aside)
    state, _ = loaded(WRAPPED['0.x EMA'], tmp_path, key_map={'ema_.': ''})
    assert torch.equal(state['backbone.0.weight'], STATE['backbone.0.weight'] + 1)


def test_the_options_reach_the_reader_and_the_ranks(monkeypatch, capsys):
    for name in ('SEGKIT_KEY_MAP', 'SEGKIT_NO_VERIFY'):
        monkeypatch.setenv(name, '')
    parser = argparse.ArgumentParser()
    add_weights_arguments(parser)
    assert (wanted_key_map(), checking()) == ({}, True)
    parser.parse_args(['--no-verify', '--key-map', 'model_ema.=', 'a.=b.'])
    assert (wanted_key_map(), checking()) == ({'model_ema.': '', 'a.': 'b.'}, False)
    with pytest.raises(SystemExit):
        parser.parse_args(['--key-map', 'model_ema.'])
    assert 'write OLD=NEW, e.g. model_ema.=' in capsys.readouterr().err


def test_names_are_renamed_by_the_key_map(tmp_path):
    renamed = {n.replace('decode_head.', 'head.'): t for n, t in STATE.items()}
    with pytest.raises(CheckpointError, match=r'head\.conv_seg\.weight'):
        loaded(renamed, tmp_path)
    key_map = {'head.': 'decode_head.', 'backbone.': 'backbone.', 'auxiliary': 'auxiliary'}
    state, _ = loaded(renamed, tmp_path, key_map=key_map)
    assert all(torch.equal(state[key], STATE[key]) for key in STATE)


def test_a_key_map_that_fits_nothing_names_what_there_is(tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match=r"begins with 'studnet\.'; they begin with 'teacher"):
        loaded(TWO['teacher.', 'student.'], tmp_path, key_map={'studnet.': ''})
    monkeypatch.setenv('SEGKIT_KEY_MAP', 'model_ema.')
    with pytest.raises(CheckpointError, match='write OLD=NEW'):
        wanted_key_map()


def test_what_belongs_to_another_network_is_still_an_error(tmp_path):
    with pytest.raises(CheckpointError, match=r'not in the model \| neck\.conv\.weight'):
        loaded({'state_dict': {**STATE, 'neck.conv.weight': torch.ones(3)}}, tmp_path)


def test_the_authors_own_files_are_refused_by_name(tmp_path):
    names = ['layer0.0.weight', 'layer4.0.conv1.weight', 'ppm.features.0.1.weight', 'cls.0.weight']
    theirs = {f'module.{name}': torch.zeros(2) for name in names}
    with pytest.raises(CheckpointError, match=r"the authors' own code .*model_zoo list"):
        loaded({'state_dict': theirs}, tmp_path)


def test_arrays_are_named_and_the_cure_works(tmp_path):
    arrays = {name: tensor.numpy() for name, tensor in STATE.items()}
    with pytest.raises(CheckpointError, match='as numpy arrays') as caught:
        loaded(arrays, tmp_path)
    cure = (
        str(caught.value)
        .split('with: ')[1]
        .rstrip('.')
        .replace('weights.pth', str(tmp_path / 'w.pth'))
    )
    exec(cure, dict(torch=torch, arrays=arrays, numpy=np))
    load_into(tiny_model(), tmp_path / 'w.pth')


def test_a_model_of_one_layer_is_filled():
    layer, other = nn.Linear(2, 2), nn.Linear(2, 2)
    load_into(layer, {'state_dict': {f'model.{k}': v for k, v in other.state_dict().items()}})
    assert torch.equal(layer.weight, other.weight)
