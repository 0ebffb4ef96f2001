"""What is made to be shared holds no host, user or absolute path, whatever writes it."""

import getpass
import json
import platform
import re
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.hostile import PIPELINE
from helpers.hub_server import _Hub, hub
from helpers.run_tool import run_tool
from mmengine.config import Config

from segkit import shared_text
from segkit.apis import init_model
from segkit.apis.export import export_model
from segkit.apis.export.writers import SUFFIXES
from segkit.registry import MODELS
from segkit.shared_text import shareable, shareable_text
from segkit.visualization.report import ReportBuilder

ROOT = Path(__file__).resolve().parents[2]
HOST, USER = 'node7secret.lab', 'secretmartin'
SECRET = '/home/martin.secret/data of mine/run7'


@MODELS.register_module()
class OneConvolution(torch.nn.Conv2d):
    """A backbone that exports in a second."""

    def forward(self, x):
        return (super().forward(x),)


HEAD = dict(
    type='FCNHead', in_channels=4, in_index=0, channels=4, num_classes=2, num_convs=0,
    concat_input=False,
)  # fmt: skip


def config():
    loader = {**PIPELINE[0], 'backend_args': dict(backend='local', root=SECRET)}
    backbone = dict(type='OneConvolution', in_channels=3, out_channels=4, kernel_size=3)
    model = dict(type='EncoderDecoder', backbone=backbone, decode_head=HEAD, pretrained=SECRET)
    dataset = dict(pipeline=[loader, *PIPELINE[1:]], data_root=SECRET)
    return Config(dict(model=model, test_dataloader=dict(dataset=dataset), work_dir=SECRET))


def network():
    cfg = config()
    clean = cfg.copy()
    clean.test_dataloader.dataset.pipeline[0].pop('backend_args')
    model = init_model(clean)
    model.cfg = cfg
    return model


def exported(kind):
    def write(folder):
        path = folder / f'net{SUFFIXES[kind]}'
        export_model(network(), path, kind, (64, 64), agreement=0)
        return [path]

    return write


def pushed(folder):
    huggingface_hub = pytest.importorskip('huggingface_hub')
    assert huggingface_hub
    from segkit.apis.hub import push_to_hub

    with hub() as endpoint:
        push_to_hub(network(), 'user/private', token='hf_x', endpoint=endpoint)
    files = {k: v for k, v in _Hub.files.items() if k.startswith('user/private/')}
    for name, content in files.items():
        (folder / name.replace('/', '_')).write_bytes(content)
    return list(folder.iterdir())


def published(folder):
    path = folder / 'martin.secret.pth'
    meta = dict(cfg=config().pretty_text, host=platform.node(), dataset_meta=dict(classes=['a']))
    torch.save(dict(state_dict=network().state_dict(), meta=meta, optimizer={}), path)
    status, text = run_tool('publish_model', path, folder / 'out' / 'net.pth')
    assert status == 0, text
    return list((folder / 'out').iterdir())


def report(folder):
    builder = ReportBuilder(['a', 'b'], [[0, 0, 0], [9, 9, 9]])
    label = torch.zeros(1, 4, 4, dtype=torch.uint8)
    builder.add(f'{SECRET}/1.png', label, label, lambda: {'image': np.zeros((4, 4, 3), np.uint8)})
    builder.add_unlabelled(f'{SECRET}/2.png', label, dict)
    facts = dict(checkpoint=f'{SECRET}/iter_3.pth')
    environment = dict(host=platform.node(), python=f'3.11 at /opt/{USER}/python on {HOST}')
    path = folder / 'report.html'
    builder.write(path, 'x', config=config().pretty_text, environment=environment, facts=facts)
    return [path]


def run_card(folder):
    from segkit.engine.hooks.run_card import RunCardHook

    class Runner:
        cfg = config()
        iter, effective_batch, experiment_name, launcher, seed = 1, 2, SECRET, 'none', 3
        world_size, deterministic = 1, False

        train_dataloader = SimpleNamespace(dataset=[1, 2])

        def config_json(self):
            return json.dumps(self.cfg.to_dict())

    said = f'run by {USER} on {HOST}, see /mnt/martin.secret/log, C:\\Users\\martin.secret\\x'
    Runner.cfg._cfg_dict['train'] = dict(said=said)
    hook = RunCardHook()
    hook.before_train(Runner())
    hook.checkpoint_written(Runner(), str(folder), done=2)
    return [folder / 'run.json']


WRITERS = {
    **{f'export to {kind}': exported(kind) for kind in SUFFIXES},
    'a repository of the hub': pushed,
    'publish_model': published,
    'report': report,
    'run card': run_card,
}


def contents(path):
    """The bytes of a file, and of each file inside an archive."""
    yield path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from (archive.read(name) for name in archive.namelist())


@pytest.mark.parametrize('name', WRITERS)
@pytest.mark.filterwarnings('ignore')
def test_what_is_shared_tells_nothing_private(name, tmp_path, monkeypatch):
    monkeypatch.setattr(platform, 'node', lambda: HOST)
    monkeypatch.setenv('LOGNAME', USER)
    shared_text._names.cache_clear()
    assert len(WRITERS) == 8
    files = WRITERS[name](tmp_path)
    shared_text._names.cache_clear()
    assert files
    private = [b'martin.secret', b'data of mine', str(ROOT).encode(), str(tmp_path).encode()]
    private += [HOST.encode(), USER.encode()]
    private.append(str(Path(torch.__file__).parents[1]).encode())
    told = {
        (path.name, word)
        for path in files
        for content in contents(path)
        for word in private
        if word in content
    }
    assert not told


def test_paths_become_their_last_part_and_all_else_stays():
    told = {
        '/data/cityscapes/leftImg8bit': '.../leftImg8bit',
        '~/x/y.pth': '.../y.pth',
        'C:\\Users\\me\\net.pth': '.../net.pth',
        "data_root = '/home/me/my data/'\nlr = 0.1 / 3": "data_root = '.../my data'\nlr = 0.1 / 3",
        'see /var/log/x, then (/tmp/y)': 'see .../x, then (.../y)',
        'file:///home/me/x.pth': '.../x.pth',
    }
    kept = (
        'https://host.org/a/b.pth', 'open-mmlab://resnet50_v1c', 'work_dirs/pspnet/iter_3.pth',
        'and/or', '1 / 2', '../x', 'a<b>/c', '</td>', 'TITAN X/24 GB', "dict(a='b')", '3.11',
    )  # fmt: skip
    assert {text: shareable_text(text) for text in told} == told
    assert [shareable_text(text) for text in kept] == list(kept)
    assert shareable({'a': [1, ('/x/y', None)]}) == {'a': [1, ('.../y', None)]}


def test_names_of_host_and_user_are_replaced(monkeypatch):
    monkeypatch.setattr(platform, 'node', lambda: 'node7.lab')
    monkeypatch.setattr(getpass, 'getuser', lambda: 'martin')
    shared_text._names.cache_clear()
    try:
        text = shareable_text('on node7.lab (node7) by martin in work_dirs/martin, not martinique')
        assert text == 'on HOST (HOST) by USER in work_dirs/USER, not martinique'
    finally:
        shared_text._names.cache_clear()
    assert not re.search('HOST', shareable_text('a host'))
