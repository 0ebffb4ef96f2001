"""Configs that ask for more than a model and its test transforms, and a watch over what they do."""

import copy
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MODEL: dict[str, Any] = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[0.0] * 3, std=[1.0] * 3),
    backbone=dict(type='ResNetV1c', depth=18, stem_channels=8, base_channels=4,
                  norm_cfg=dict(type='BN', requires_grad=True)),
    decode_head=dict(type='PSPHead', in_channels=32, channels=8, num_classes=3, pool_scales=[1, 2],
                     norm_cfg=dict(type='BN'),
                     loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0)),
    auxiliary_head=[dict(type='FCNHead', in_channels=16, in_index=2, channels=8, num_classes=3,
                         num_convs=1, concat_input=False)],
    test_cfg=dict(mode='whole'),
)  # fmt: skip
PIPELINE: list[dict[str, Any]] = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=[64, 64], keep_ratio=True),
    dict(type='PackSegInputs'),
]
# What runs a command, or writes a file, when it is built or called.
LAUGHS: list = [1, 2]
for _ in range(60):
    LAUGHS = [LAUGHS] * 2
CALLS: list[dict[str, Any]] = [
    dict(type='os.system', command='touch CANARY'),
    dict(type='subprocess.Popen', args=['touch', 'CANARY']),
    dict(type='subprocess.run', args='touch CANARY', shell=True),
    dict(type='builtins.exec', source='open("CANARY", "w")'),
    dict(type='builtins.open', file='CANARY', mode='w'),
    dict(type='pathlib.Path.touch', self='CANARY'),
    dict(type='mmengine.fileio.put_text', obj='x', filepath='CANARY'),
    dict(type='shutil.copy', src='/etc/hostname', dst='CANARY'),
    dict(type='webbrowser.open', url='http://127.0.0.1:9/x'),
    dict(type='urllib.request.urlopen', url='http://127.0.0.1:9/x'),
    dict(type='torch.hub.load', repo_or_dir='a/b', model='c'),
    dict(type='mmdet.RetinaNet'),
    dict(type='mmengine.model.BaseModel'),
    dict(type='system'),
    dict(type='ResNet', _scope_='os'),
    dict(type=['os.system']),
    dict(type=dict(type='os.system')),
]
_PLACES = (
    'model', 'model.backbone', 'model.neck', 'model.decode_head', 'model.decode_head.loss_decode',
    'model.decode_head.norm_cfg', 'model.decode_head.sampler', 'model.auxiliary_head.0',
    'model.data_preprocessor', 'model.data_preprocessor.batch_augments', 'model.test_cfg',
    'model.train_cfg', 'model.backbone.conv_cfg', 'model.decode_head.act_cfg', 'pipeline.0',
    'pipeline.1.transforms', 'model.anything',
)  # fmt: skip
_BEYOND: dict[str, Any] = {
    'model.pretrained': 'http://127.0.0.1:9/x.pth',
    'model.backbone.pretrained': '/etc/passwd',
    'model.backbone.init_cfg': dict(type='Pretrained', checkpoint='http://127.0.0.1:9/x.pth'),
    'model.init_cfg': [dict(type='Constant', val=1)],
    'model.decode_head.init_cfg': dict(type='os.system', command='touch CANARY'),
    'model.backbone.checkpoint_path': 'x.pth',
    'model.decode_head.loss_decode.class_weight': 'weights.pkl',
    'model.decode_head.loss_decode.loss_name': '../../loss_x',
    'model._scope_': 'mmdet',
    'model.backbone._delete_': True,
    'model.backbone': dict(type='TimmBackbone', model_name='hf-hub:user/model'),
    'model.decode_head': dict(type='ResNet', depth=18),
    'model.auxiliary_head': 'os.system',
    'model.data_preprocessor': 'os.system',
    'model.decode_head.norm_cfg': 'os.system',
    'model.decode_head.num_convs': 10**9,
    'pipeline.0.backend_args': dict(backend='http'),
    'pipeline.0.file_client_args': dict(backend='petrel', conf_path='x'),
    'pipeline.2': dict(type='IterBasedTrainLoop'),
    'pipeline.1.interpolation': 'http://127.0.0.1:9/x',
}
_TIMM = (
    dict(pretrained=True),
    dict(pretrained_cfg=dict(url='http://127.0.0.1:9/x')),
    dict(pretrained_cfg_overlay=dict(hf_hub_id='a/b')),
    dict(checkpoint_path='http://127.0.0.1:9/x'),
    dict(cache_dir='/tmp'),
    dict(act_layer=dict(type='os.system')),
)


def _put(config: dict, place: str, value: Any) -> dict:
    config = copy.deepcopy(config)
    node, *path = config, *place.split('.')
    for name in path[:-1]:
        node = node[int(name)] if isinstance(node, list) else node[name]
    node[int(path[-1]) if isinstance(node, list) else path[-1]] = copy.deepcopy(value)
    return config


def hostile_models() -> Iterator[tuple[str, dict]]:
    """(what is asked for, {'model': ..., 'pipeline': ...}) of which every one must be refused."""
    good = dict(model=MODEL, pipeline=PIPELINE)
    for number, call in enumerate(CALLS):  # each call at two places, each place with some
        for place in (_PLACES[number % len(_PLACES)], _PLACES[(5 * number + 3) % len(_PLACES)]):
            yield f'{place}={call["type"]}', _put(good, place, call)
    for place in _PLACES:
        yield f'{place}=os.system', _put(good, place, CALLS[0])
    for place, value in _BEYOND.items():
        yield f'{place}={value}'[:60], _put(good, place, value)
    for extra in _TIMM:
        timm = dict(type='TimmBackbone', model_name='resnet18', **extra)
        yield f'timm {extra}', _put(good, 'model.backbone', timm)
    deep: Any = []
    for _ in range(60):
        deep = [deep]
    for odd in ('os.system', CALLS[0], [PIPELINE], [None], ['os.system'], 5):
        yield f'pipeline {odd}'[:60], dict(model=MODEL, pipeline=odd)
    yield 'nested deeply', _put(good, 'model.test_cfg.x', deep)
    yield 'too many values', _put(good, 'model.test_cfg.x', list(range(20_001)))


@contextmanager
def watched(folder: Path, monkeypatch: Any) -> Iterator[None]:
    """Within it no socket opens, and afterwards no canary lies in ``folder``, where it works."""
    opened: list[tuple] = []

    class Closed(socket.socket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            opened.append(args)
            raise AssertionError('a socket was opened')

    monkeypatch.chdir(folder)
    monkeypatch.setattr(socket, 'socket', Closed)
    before = set(folder.rglob('*'))
    yield
    new = {path.name for path in set(folder.rglob('*')) - before}
    assert not opened, opened
    assert 'CANARY' not in new
