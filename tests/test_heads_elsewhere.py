"""Heads and attentions in other people's code: no config, no Runner, nothing heavy imported."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.timm_alone import require_timm
from torch import nn

from segkit.models.decode_heads import (
    ASPPHead,
    DAHead,
    DepthwiseSeparableASPPHead,
    FCNHead,
    ISAHead,
    PSAHead,
    PSPHead,
    SegformerHead,
    UPerHead,
)
from segkit.models.decode_heads.da_head import CAM, PAM
from segkit.models.decode_heads.isa_head import SelfAttentionBlock
from segkit.ops import PointwiseSpatialAttention, psa_mask

ROOT = Path(__file__).resolve().parents[1]


def run(code, *path):
    """What a process prints that runs ``code`` with these folders before all others."""
    code = f'import sys; sys.path[:0] = {[*map(str, path), str(ROOT)]!r}\n{code}'
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


class PlainResNet(nn.Module):
    """A backbone in torchvision's style: named layers, one tensor out, no knowledge of segkit."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, stride=4, padding=3)
        self.layer1 = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.layer2 = nn.Conv2d(16, 32, 3, stride=2, padding=1)

    def forward(self, x):
        return self.layer2(self.layer1(self.conv1(x)))


HEADS = [
    FCNHead(in_channels=32, channels=16, num_classes=4),
    PSPHead(in_channels=32, channels=16, num_classes=4),
    PSAHead(in_channels=32, channels=16, num_classes=4, mask_size=(7, 7)),
    DAHead(in_channels=32, channels=16, num_classes=4, pam_channels=4),
    ISAHead(in_channels=32, channels=16, num_classes=4, isa_channels=4, down_factor=(4, 4)),
    ASPPHead(in_channels=32, channels=16, num_classes=4),
    DepthwiseSeparableASPPHead(in_channels=32, channels=16, num_classes=4, c1_in_channels=32),
    UPerHead(in_channels=32, channels=16, num_classes=4),
    SegformerHead(in_channels=32, channels=16, num_classes=4),
]


@pytest.mark.parametrize('head', HEADS, ids=lambda head: type(head).__name__)
def test_a_head_trains_on_a_plain_backbone(head):
    model = nn.ModuleDict(dict(backbone=PlainResNet(), head=head)).train()
    maps = [model['backbone'](torch.rand(2, 3, 64, 96))]
    logits = model['head'](maps)
    logits = logits[0] if isinstance(logits, tuple) else logits  # DANet trains three outputs
    assert logits.shape == (2, 4, 8, 12)
    labels = torch.randint(0, 4, (2, 64, 96))
    full = nn.functional.interpolate(logits, (64, 96), mode='bilinear')
    nn.functional.cross_entropy(full, labels).backward()
    assert model['backbone'].conv1.weight.grad.abs().sum() > 0


def test_a_head_on_a_timm_backbone():
    timm = require_timm()
    backbone = timm.create_model('resnet18', features_only=True, output_stride=8)
    head = PSPHead(in_channels=backbone.feature_info.channels()[-1], channels=8, num_classes=3)
    logits = head.eval()(backbone.eval()(torch.rand(1, 3, 64, 64)))
    assert logits.shape == (1, 3, 8, 8)


FOREIGN_PACKAGE = """
from mmengine.registry import MODELS as ROOT, Registry
import torch
from torch import nn

MODELS = Registry('model', parent=ROOT, scope='otherseg', locations=['otherseg'])

@MODELS.register_module()
class OtherDetector(nn.Module):
    def __init__(self, mask_head):
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 8, stride=8)
        self.mask_head = MODELS.build(mask_head)

    def forward(self, x):
        return self.mask_head([self.stem(x)])
"""
FOREIGN_USE = """
import sys, torch
from otherseg import MODELS
model = MODELS.build(dict(type='OtherDetector', mask_head=dict(
    type='segkit.PSAHead', in_channels=32, channels=16, num_classes=4, mask_size=(7, 7))))
assert model(torch.rand(2, 3, 64, 64)).shape == (2, 4, 8, 8)
print(type(model.mask_head).__module__)
"""


def test_a_package_that_does_not_know_segkit_names_a_head_in_its_config(tmp_path):
    (tmp_path / 'otherseg').mkdir()
    (tmp_path / 'otherseg/__init__.py').write_text(FOREIGN_PACKAGE)
    assert run(FOREIGN_USE, tmp_path) == ['segkit.models.decode_heads.psa_head']


@pytest.mark.parametrize(
    'layer',
    [
        PointwiseSpatialAttention(8, (9, 13), 'collect'),
        PointwiseSpatialAttention(8, (4, 3), 'distribute'),
        PointwiseSpatialAttention(8, (9, 13), 'collect', softmax=False),
        PAM(8, 4),
        CAM(),
        SelfAttentionBlock(8, 4),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_an_attention_is_a_layer_in_a_sequence(layer):
    net = nn.Sequential(nn.Conv2d(3, 8, 1), layer, nn.Conv2d(8, 2, 1))
    out = net(torch.rand(2, 3, 5, 7))
    assert out.shape == (2, 2, 5, 7)
    out.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize('psa_type', ['collect', 'distribute'])
def test_the_attention_layer_equals_the_written_out_branch(psa_type):
    layer = PointwiseSpatialAttention(8, (5, 4), psa_type).double()
    x = torch.rand(2, 8, 4, 6, dtype=torch.float64)
    feature = layer.feature(x).relu()
    attention = psa_mask(layer.offsets(feature), psa_type, (5, 4)).flatten(2).softmax(dim=1)
    expected = (x.flatten(2) @ attention).reshape(x.shape)
    assert torch.allclose(layer(x), expected, rtol=1e-10, atol=1e-12)


ALONE = """
class Block:
    def find_spec(self, name, path=None, target=None):
        top = name.partition('.')[0]
        if top in ('mmengine', 'mmcv', 'cv2'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=top)

sys.meta_path.insert(0, Block())
import torch
from types import SimpleNamespace as Sample
from segkit.models.backbones import ResNet, ResNetV1c, ResNetV1d
from segkit.models.decode_heads import DAHead, FCNHead, ISAHead, PSAHead, PSPHead
from segkit.models.losses import CrossEntropyLoss
heavy = ('matplotlib', 'torchvision', 'segkit.registry')
assert not any(name in sys.modules for name in heavy)
args = dict(in_channels=512, channels=8, num_classes=3, norm_cfg=dict(type='BN'))
heads = [
    FCNHead(**args, sampler=dict(type='OHEMPixelSampler')),
    PSPHead(**args, loss_decode=dict(type='segkit.CrossEntropyLoss')),
    PSAHead(**args, mask_size=(7, 9)), DAHead(**args, pam_channels=4),
    ISAHead(**args, isa_channels=4), FCNHead(**args, loss_decode=dict(type=CrossEntropyLoss)),
]
labels = [Sample(gt_sem_seg=Sample(data=torch.randint(0, 3, (1, 64, 72)))) for _ in range(2)]
for backbone in (ResNet, ResNetV1c, ResNetV1d):
    net = backbone(18, strides=(1, 2, 1, 1))
    net.init_weights()
    maps = net(torch.rand(2, 3, 64, 72))
for head in heads:
    head.init_weights()
    losses = head.loss(maps, labels)
    sum(v.sum() for k, v in losses.items() if 'loss' in k).backward(retain_graph=True)
    assert head.eval().predict(maps, [dict(img_shape=(64, 72))]).shape == (2, 3, 64, 72)
    print(type(head).__name__)
for wrong in (dict(loss_decode=dict(type='CrossEntropyLos')), dict(norm_cfg=dict(type='Bn'))):
    try:
        FCNHead(**{**args, **wrong})
    except KeyError as error:
        print(error)
try:
    from segkit.registry import MODELS
except ModuleNotFoundError as error:
    print(error)
"""


def test_heads_backbones_and_losses_need_torch_alone():
    lines = run(ALONE)
    assert lines[:6] == ['FCNHead', 'PSPHead', 'PSAHead', 'DAHead', 'ISAHead', 'FCNHead']
    assert "Did you mean 'CrossEntropyLoss'" in lines[6]
    assert "unknown type 'Bn'" in lines[7]
    assert 'MODELS is a registry of mmengine: `pip install mmengine`' in lines[8]


BROKEN = """
from segkit.models.decode_heads import PSPHead
for use in ('PSPHead(in_channels=8, channels=8, num_classes=3)', 'import segkit.registry'):
    try:
        exec(use)
    except ModuleNotFoundError as error:
        print(error.name)
"""


def test_an_mmengine_that_lacks_something_says_so_itself(tmp_path):
    (tmp_path / 'mmengine').mkdir()
    (tmp_path / 'mmengine/__init__.py').write_text('import a_part_of_its_own_that_is_not_there')
    assert run(BROKEN, tmp_path) == ['a_part_of_its_own_that_is_not_there'] * 2


AFTER_ANY_ORDER = """
import mmengine.registry
assert mmengine.registry.MODELS.get('segkit.PSAHead').__name__ == 'PSAHead'
from segkit.registry import MODELS, build_ours
from segkit.models.decode_heads import PSPHead
from segkit.models import EncoderDecoder, ResNet
assert MODELS.get('PSPHead') is PSPHead

@MODELS.register_module()
class MyHead(PSPHead):
    pass

try:
    MODELS.register_module(name='FCNHead', module=MyHead)
except KeyError as error:
    print(error)
head = MODELS.build(dict(type='MyHead', in_channels=8, channels=4, num_classes=2))
assert type(head) is MyHead
MODELS.register_module(name='PSPHead', module=MyHead, force=True)
assert MODELS.get('PSPHead') is MyHead
assert type(build_ours(dict(type='PSPHead', in_channels=8, channels=4, num_classes=2))) is MyHead

# What asks for the base classes of mmsegmentation.
from mmengine.model import BaseModel, BaseModule
assert isinstance(head, BaseModule) and not isinstance(head, BaseModel)
net = dict(type='FCNHead', in_channels=512, channels=8, num_classes=2)
model = EncoderDecoder(dict(type='ResNet', depth=18), net)
assert isinstance(model, BaseModel) and isinstance(model, BaseModule)
assert isinstance(model.backbone, BaseModule) and not isinstance(model.backbone, BaseModel)
assert isinstance(model.backbone.layer1, BaseModule) and not isinstance({}, BaseModule)
assert issubclass(EncoderDecoder, BaseModel)

import copy, io, pickle, torch
assert type(copy.deepcopy(model)) is type(pickle.loads(pickle.dumps(model))) is EncoderDecoder
torch.nn.utils.parametrizations.weight_norm(head.conv_seg)

class Other(MyHead):
    pass

head.__class__ = Other
assert type(head) is head.__class__ is Other and isinstance(head, BaseModule)
"""


@pytest.mark.parametrize(
    'first',
    [
        'from segkit.models import EncoderDecoder, PSPHead, ResNet',
        'from segkit.registry import MODELS',
        'from mmengine.model import BaseModel',
        'import mmengine.registry',
    ],
)
def test_names_and_base_classes_do_not_depend_on_the_order_of_imports(first):
    lines = run(f'{first}\n{AFTER_ANY_ORDER}')
    assert len(lines) == 1
    assert 'FCNHead is already registered in model at segkit' in lines[0]
