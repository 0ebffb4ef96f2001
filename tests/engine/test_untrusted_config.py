"""The gate for configs that came as data: models and test transforms pass, nothing else does."""

import gzip
import json
from pathlib import Path

import pytest
import torch
import yaml
from helpers.hostile import LAUGHS, MODEL, PIPELINE, hostile_models, watched
from safetensors.torch import save_file

from segkit.apis import init_model
from segkit.apis.export.safetensors_file import model_of
from segkit.engine.config import load_config
from segkit.engine.untrusted_config import KINDS, admit, without_reach
from segkit.errors import ConfigError
from segkit.registry import MODELS, TASK_UTILS
from segkit.weights import CheckpointError, UnsafeCheckpointError

HOSTILE = list(hostile_models())


def as_config(parts):
    return dict(
        model=parts['model'], test_dataloader=dict(dataset=dict(pipeline=parts['pipeline']))
    )


@pytest.mark.parametrize('ending', ['json', 'yaml', 'safetensors'])
def test_hostile_configs_are_refused_by_name_and_do_nothing(ending, tmp_path, monkeypatch):
    assert len(HOSTILE) >= 75
    let_through, unnamed = [], []
    with watched(tmp_path, monkeypatch):
        for number, (what, parts) in enumerate(HOSTILE):
            path = tmp_path / f'{number}.{ending}'
            if ending == 'safetensors':
                meta = dict(segkit_model=parts['model'], segkit_test_pipeline=parts['pipeline'])
                texts = {key: json.dumps(value) for key, value in meta.items()}
                save_file({'x': torch.zeros(2)}, path, metadata=texts)
                read, error = model_of, UnsafeCheckpointError
            else:
                path.write_text(json.dumps(as_config(parts)))  # which is YAML, too
                read, error = load_config, ConfigError
            try:
                read(path)
                let_through.append(what)
            except error as refused:
                unnamed += [] if str(path) in str(refused) else [what]
    assert (let_through, unnamed) == ([], [])


RUNS = {
    'custom_imports': dict(imports=['antigravity']),
    'custom_hooks': [dict(type='EMAHook')],
    'default_hooks': dict(logger=dict(type='LoggerHook')),
    'train_dataloader': dict(dataset=dict(type='ShapesDataset')),
    'test_dataloader': dict(dataset=dict(type='ShapesDataset')),
    'test_evaluator': dict(type='IoUMetric'),
    'train_cfg': dict(type='IterBasedTrainLoop', max_iters=1),
    'optim_wrapper': dict(optimizer=dict(type='SGD', lr=0.1)),
    'load_from': 'http://127.0.0.1:9/x.pth',
    'visualizer': dict(type='SegLocalVisualizer'),
    'work_dir': '/tmp/x',
    'default_scope': 'mmdet',
    '_base_': './evil.py',
    'runner_type': dict(type='os.system'),
}


@pytest.mark.parametrize('place', ['type', 'decode_head', 'test_cfg', 'pretrained'])
def test_values_that_hold_one_another_a_million_times_end_soon(place):
    with pytest.raises(ConfigError):
        admit(dict(model={**MODEL, place: LAUGHS}), 'x')


@pytest.mark.parametrize('key', RUNS)
def test_what_belongs_to_a_run_is_refused(key, tmp_path):
    (tmp_path / 'evil.py').write_text('open("CANARY", "w")')
    path = tmp_path / 'run.json'
    config = as_config(dict(model=MODEL, pipeline=PIPELINE))
    path.write_text(json.dumps({**config, key: RUNS[key]}))
    with pytest.raises(ConfigError, match=key):
        load_config(path)


def test_a_model_and_its_transforms_pass_and_predict(tmp_path):
    path = tmp_path / 'net.json'
    path.write_text(json.dumps(as_config(dict(model=MODEL, pipeline=PIPELINE))))
    model = init_model(path)
    assert model.decode_head.num_classes == 3
    again = load_config(path, {'model.decode_head.channels': 4})
    assert again.model.decode_head.channels == 4


def test_a_python_config_of_ones_own_may_take_up_a_whole_run_as_json_or_yaml(tmp_path):
    whole = load_config('pspnet_r18-d8_shapes').to_dict()
    text = json.dumps(whole)
    for name, content in (('a.json', text), ('b.yml', yaml.safe_dump(json.loads(text)))):
        (tmp_path / name).write_text(content)
        with pytest.raises(ConfigError, match='belongs to training'):
            load_config(tmp_path / name)
        (tmp_path / 'own.py').write_text(f"_base_ = './{name}'\nwork_dir = 'x'\n")
        own = load_config(tmp_path / 'own.py')
        assert own.to_dict() == {**json.loads(text), 'work_dir': 'x'}
    (tmp_path / 'b.yml').write_text('a: !!python/object/apply:os.system ["touch CANARY"]')
    with pytest.raises(ConfigError, match=r'b\.yml.*python/object'):
        load_config(tmp_path / 'own.py')


def test_every_shipped_model_passes_once_it_names_no_weights():
    snapshot = Path(__file__).parents[1] / 'contract/snapshots/configs.json.gz'
    resolved = json.loads(gzip.decompress(snapshot.read_bytes()))
    assert len(resolved) > 90
    for name, cfg in resolved.items():
        dataset = dict(pipeline=cfg['test_dataloader']['dataset']['pipeline'])
        config = dict(model=without_reach(cfg['model']), test_dataloader=dict(dataset=dataset))
        assert json.loads(json.dumps(admit(config, name))) == config


def test_weights_that_only_name_a_published_file_are_set_aside():
    model = {**MODEL, 'pretrained': 'open-mmlab://resnet50_v1c'}
    init = dict(type='Pretrained', checkpoint='torchvision://resnet18')
    model['backbone'] = {**MODEL['backbone'], 'init_cfg': init}
    admitted = admit(dict(model=model), 'x')['model']
    assert (admitted['pretrained'], admitted['backbone']['init_cfg']) == (None, None)


def test_every_part_of_ours_is_in_the_list_of_exactly_one_role():
    for registry in (MODELS, TASK_UTILS):
        registry.import_from_location()
    ours = {
        name
        for registry in (MODELS, TASK_UTILS)
        for name, part in registry.module_dict.items()
        if part.__module__.startswith('segkit.')
    }
    assert len(ours) >= 13
    roles = {k: v for k, v in KINDS.items() if not k.endswith('_cfg') and k != 'transform'}
    listed = [name for role, names in roles.items() if role != 'auxiliary_head' for name in names]
    assert sorted(listed) == sorted(ours)


def test_metadata_that_describes_no_network_is_named(tmp_path):
    odd = [
        {**MODEL, 'decode_head': {**MODEL['decode_head'], 'channels': 'many'}},
        {**MODEL, 'decode_head': {**MODEL['decode_head'], 'no_such': 1}},
        {**MODEL, 'backbone': {'type': 'ResNet', 'depth': 19}},
        {'type': 'EncoderDecoder'},
    ]
    for model in odd:
        parts = {'segkit_model': model, 'segkit_test_pipeline': [dict(type='PackSegInputs')]}
        meta = {key: json.dumps(value) for key, value in parts.items()}
        save_file({'x': torch.zeros(2)}, tmp_path / 'a.safetensors', metadata=meta)
        with pytest.raises(CheckpointError, match=r'a\.safetensors: the model that its metadata'):
            model_of(tmp_path / 'a.safetensors')
