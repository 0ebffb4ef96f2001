"""Heads and attentions in other people's code: no config, no Runner, nothing heavy imported."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.timm_alone import require_timm
from torch import nn

from segkit.models.decode_heads import DAHead, FCNHead, ISAHead, PSAHead, PSPHead
from segkit.models.decode_heads.da_head import CAM, PAM
from segkit.models.decode_heads.isa_head import SelfAttentionBlock
from segkit.ops import PointwiseSpatialAttention, psa_mask

ROOT = Path(__file__).resolve().parents[1]


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
    code = f'import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n{FOREIGN_USE}'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.strip() == 'segkit.models.decode_heads.psa_head', done.stderr


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


IMPORT = """
import sys
import torch
import segkit.models.decode_heads
heavy = ('cv2', 'matplotlib', 'mmcv', 'mmengine.runner', 'mmengine.model', 'torchvision')
print(*(name for name in heavy if name in sys.modules))
"""


def test_importing_the_heads_imports_nothing_heavy():
    code = f'import sys; sys.path.insert(0, {str(ROOT)!r})\n{IMPORT}'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
