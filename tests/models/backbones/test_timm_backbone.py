"""Any timm model as a backbone: its maps, its weights from files, and plain transformers."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from contract.networks import MODES, PIPELINE, PREPROCESSOR, batch, picture
from helpers.timm_alone import require_timm
from mmengine.config import Config
from safetensors.torch import save_file

from segkit.apis import inference_model, init_model
from segkit.apis.export import export_model
from segkit.models.backbones.timm_backbone import TimmBackbone
from segkit.registry import MODELS
from segkit.weights import CheckpointError, without_pretrained

ROOT = Path(__file__).resolve().parents[3]
IMAGE = torch.zeros(1, 3, 64, 64)


@pytest.fixture(autouse=True)
def timm():
    return require_timm()


@pytest.mark.parametrize('name', ['resnet18', 'convnext_atto', 'mobilenetv3_small_050'])
def test_maps_have_the_announced_channels_and_strides(name):
    backbone = MODELS.build(dict(type='TimmBackbone', model_name=name)).eval()
    maps = backbone(IMAGE)
    assert len(maps) == len(backbone.channels)
    for feature, channels, stride in zip(maps, backbone.channels, backbone.strides):
        assert feature.shape == (1, channels, 64 // stride, 64 // stride)


def test_output_stride_dilates():
    backbone = TimmBackbone('resnet18', output_stride=8, out_indices=(1, 2, 3, 4))
    assert [tuple(m.shape[-2:]) for m in backbone(IMAGE)] == [(16, 16), (8, 8), (8, 8), (8, 8)]


def test_channels_last_models_are_turned_to_channels_first():
    backbone = TimmBackbone('swin_tiny_patch4_window7_224', img_size=64, window_size=2)
    assert [m.shape[1] for m in backbone.eval()(IMAGE)] == backbone.channels


def test_more_input_channels_reach_the_stem():
    backbone = TimmBackbone('resnet18', in_channels=5).eval()
    assert backbone(torch.zeros(1, 5, 32, 32))[-1].shape == (1, 512, 1, 1)


def test_a_head_on_top_trains():
    backbone = TimmBackbone('resnet18', output_stride=8)
    head = MODELS.build(
        dict(
            type='FCNHead', in_channels=512, in_index=-1, channels=8, num_classes=3, num_convs=1,
            norm_cfg=dict(type='BN'),
        )
    )  # fmt: skip
    head(backbone(torch.rand(2, 3, 64, 64))).sum().backward()
    assert backbone.timm_model.conv1.weight.grad.abs().sum() > 0


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(ValueError, match=r"no model 'resnet81'. Did you mean .*resnet"):
        TimmBackbone('resnet81')


def test_a_missing_timm_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(ImportError, match='pip install timm'):
        TimmBackbone('resnet18')


BROKEN = "raise RuntimeError('operator torchvision::nms does not exist')"
USE = """
import sys
finders, paths = list(sys.meta_path), list(sys.path)
from segkit.models.backbones import TimmBackbone
import torch
assert len(TimmBackbone('resnet18')(torch.zeros(1, 3, 64, 64))) == 5
assert 'torchvision' not in sys.modules
assert sys.meta_path == finders and sys.path == paths
"""


@pytest.mark.parametrize('torchvision', [None, BROKEN], ids=['missing', 'of another build'])
def test_torchvision_is_not_needed(torchvision, tmp_path):
    first = '' if torchvision else "import sys; sys.modules['torchvision'] = None"
    if torchvision:
        (tmp_path / 'torchvision').mkdir()
        (tmp_path / 'torchvision/__init__.py').write_text(torchvision)
    code = f'import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n{first}\n{USE}'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


VIT = dict(depth=4, embed_dim=16, num_heads=2)
FILLED = {
    'resnet18': {},
    'convnext_atto': dict(depths=(1, 1, 1, 1)),
    'mobilenetv3_small_050': {},
    'vit_tiny_patch16_224': VIT,
    'vit_small_patch14_dinov2': VIT,
    'vit_small_patch16_dinov3': VIT,
    'pvt_v2_b0': {},
}


@pytest.fixture
def said(monkeypatch):
    """What is logged while weights are filled in."""
    texts = []
    logger = 'segkit.models.backbones.timm_weights.print_log'
    monkeypatch.setattr(logger, lambda text, *_: texts.append(text))
    return texts


@pytest.mark.parametrize('ending', ['pth', 'safetensors'])
@pytest.mark.parametrize('name', FILLED)
def test_a_local_file_fills_every_part(name, ending, timm, tmp_path, said):
    """A whole classifier's file; its classifier is left out by name, and nothing is said of it."""
    full = timm.create_model(name, **FILLED[name])
    with torch.no_grad():
        for value in full.state_dict().values():
            value.copy_(torch.randn(value.shape)) if value.is_floating_point() else None
    path = tmp_path / f'weights.{ending}'
    if ending == 'pth':
        torch.save(dict(state_dict=full.state_dict(), epoch=3), path)
    else:
        save_file(full.state_dict(), path)
    random = torch.get_rng_state()
    for how in (dict(pretrained=str(path)), dict(checkpoint_path=str(path))):
        torch.set_rng_state(random)
        backbone = TimmBackbone(name, **how, **FILLED[name])
        held = {tensor_id(value) for value in full.state_dict().values()}
        assert all(tensor_id(value) in held for value in backbone.timm_model.state_dict().values())
        assert 'state_dict' not in backbone.timm_model.pretrained_cfg
    assert said == []


def tensor_id(value):
    return tuple(value.shape), value.double().sum().item()


def test_position_embeddings_of_another_size_and_more_channels(timm, tmp_path):
    full = timm.create_model('vit_tiny_patch16_224', **VIT)
    torch.save(full.state_dict(), tmp_path / 'vit.pth')
    backbone = TimmBackbone(
        'vit_tiny_patch16_224', str(tmp_path / 'vit.pth'), in_channels=5, img_size=96, **VIT
    )
    inner = backbone.timm_model.model
    assert inner.pos_embed.shape == (1, 37, 16)
    torch.testing.assert_close(inner.pos_embed[:, :1], full.pos_embed[:, :1])
    grey = inner.patch_embed.proj.weight.sum(1)
    assert torch.isfinite(grey).all()


def test_files_that_do_not_fit(timm, tmp_path):
    path = str(tmp_path / 'r18.pth')
    torch.save(timm.create_model('resnet18').state_dict(), path)
    with pytest.raises(CheckpointError, match=r'r18\.pth: 120 weights loaded.*not of resnet34'):
        matched_lines(lambda: TimmBackbone('resnet34', path))
    with pytest.raises(CheckpointError, match=r'r18\.pth.*convnext_atto'):
        matched_lines(lambda: TimmBackbone('convnext_atto', checkpoint_path=path))
    other = str(tmp_path / 'other.pth')
    torch.save({f'_{k}': v for k, v in timm.create_model('resnet18').state_dict().items()}, other)
    with pytest.raises(CheckpointError, match=r'other\.pth: 0 weights loaded.*not of resnet18'):
        matched_lines(lambda: TimmBackbone('resnet18', other))
    with pytest.raises(CheckpointError, match='there is no such checkpoint file'):
        TimmBackbone('resnet18', str(tmp_path / 'none.pth'))
    with pytest.raises(ValueError, match='both pretrained and checkpoint_path'):
        TimmBackbone('resnet18', path, path)


def matched_lines(call):
    """For patterns that run over lines."""
    try:
        call()
    except CheckpointError as error:
        raise CheckpointError(str(error).replace('\n', ' ')) from error


def test_more_weights_than_there_are_parts_are_told(timm, tmp_path, said):
    path = str(tmp_path / 'r34.pth')
    torch.save(timm.create_model('resnet34').state_dict(), path)
    TimmBackbone('resnet18', path)
    assert '96 weights were not used, layer1.2.conv1.weight first' in said[0]


def test_a_file_is_not_read_for_a_network_that_is_filled_later(tmp_path):
    backbone = dict(type='TimmBackbone', model_name='resnet18')
    for key in ('pretrained', 'checkpoint_path'):
        model = dict(type='EncoderDecoder', backbone={**backbone, key: str(tmp_path / 'none.pth')})
        assert not without_pretrained(model)['backbone'][key]


def test_weights_that_cannot_be_fetched(timm, monkeypatch):
    def fail(**kwargs):
        raise OSError('no route to host')

    monkeypatch.setattr(timm, 'create_model', fail)
    with pytest.raises(ValueError, match=r"pretrained=True: .*no route.*pretrained='/path"):
        TimmBackbone('resnet18', pretrained=True)


def test_a_model_without_these_feature_maps():
    with pytest.raises(ValueError, match=r"'resnet18' gives no feature maps .*'out_indices': \(9"):
        TimmBackbone('resnet18', out_indices=(9,))


PYRAMID = dict(out_indices=(0, 1, 2, 3), pyramid=(4, 8, 16, 32), **VIT)


@pytest.mark.parametrize('name', ['vit_small_patch14_dinov2', 'vit_small_patch16_dinov3'])
@pytest.mark.parametrize('size', [(64, 64), (70, 97), (33, 130)])
@torch.no_grad()
def test_a_plain_transformer_gives_a_pyramid_of_any_size(name, size):
    torch.manual_seed(0)
    backbone = TimmBackbone(name, **PYRAMID).eval()
    assert (backbone.channels, backbone.strides) == ([16] * 4, [4, 8, 16, 32])
    image = torch.randn(2, 3, *size)
    maps, bare = backbone(image), backbone.timm_model(image)
    patch = backbone.patch
    for made, given, stride in zip(maps, bare, backbone.strides):
        assert tuple(made.shape[2:]) == tuple(-(-side // stride) for side in size)
        whole = [-(-n * patch // stride) for n in given.shape[2:]]
        wanted = F.interpolate(given, whole, mode='bilinear')
        assert torch.equal(made, wanted[:, :, : made.shape[2], : made.shape[3]])


@torch.no_grad()
def test_what_lies_at_a_place_stays_there():
    """The block's map is replaced by the x of its patches' centres: so must be the pyramid."""
    backbone = TimmBackbone('vit_small_patch16_dinov3', **PYRAMID).eval()
    centres = (torch.arange(10) + 0.5) * 16
    ramp = centres.expand(1, 1, 6, 10)
    backbone.timm_model.forward = lambda x: [ramp] * 4
    maps = backbone(torch.zeros(1, 3, 96, 160))
    for made, stride in zip(maps, backbone.strides):
        want = (torch.arange(made.shape[3]) + 0.5) * stride
        inside = (want >= 8) & (want <= 152)  # beyond the outermost centres it is held
        torch.testing.assert_close(made[0, 0, 0][inside], want[inside])


@pytest.mark.parametrize(('name', 'options'), [
    ('resnet18', dict(pyramid=(4, 8, 16, 32, 64))),
    ('vit_tiny_patch16_224', dict(out_indices=(0, 1), pyramid=(4, 8, 16), **VIT)),
])  # fmt: skip
def test_a_pyramid_needs_a_plain_transformer_and_a_stride_for_each_map(name, options):
    with pytest.raises(ValueError, match=r'backbone\.pyramid=.*needs a plain vision transformer'):
        TimmBackbone(name, **options)


def test_a_frozen_backbone_keeps_everything():
    backbone = TimmBackbone('resnet18', frozen=True)
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    backbone.train()
    maps = backbone(torch.randn(2, 3, 64, 64))
    assert not any(m.requires_grad for m in maps)
    assert not any(p.requires_grad for p in backbone.parameters())
    assert all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())


HEADS = {
    'UPerHead': dict(in_channels=[16] * 4, in_index=[0, 1, 2, 3], channels=16),
    'FCNHead': dict(in_channels=16, in_index=3, channels=16, num_convs=0, concat_input=False),
}


@pytest.mark.parametrize('head', HEADS)
def test_a_segmentor_on_a_plain_transformer(head, tmp_path):
    """UPerNet on its pyramid, and a linear head on it frozen: train, predict, export, go on."""
    torch.manual_seed(0)
    linear = head == 'FCNHead'
    options = dict(model_name='vit_small_patch14_dinov2', frozen=linear, **PYRAMID)
    own = dict(num_classes=5, norm_cfg=dict(type='BN'), dropout_ratio=0, **HEADS[head])
    model = dict(
        type='EncoderDecoder', backbone=dict(type='TimmBackbone', **options),
        decode_head=dict(type=head, **own), data_preprocessor=PREPROCESSOR,
    )  # fmt: skip
    made = init_model(
        Config(dict(model=model, test_dataloader=dict(dataset=dict(pipeline=PIPELINE))))
    )
    inputs, samples = batch()
    losses = made.train()(inputs, samples, mode='loss')
    losses['decode.loss_ce'].backward()
    grads = [p.grad is not None for p in made.backbone.parameters()]
    assert not any(grads) if linear else sum(grads) > 40
    assert all(p.grad is not None for p in made.decode_head.parameters())
    for test_cfg, views in MODES.values():
        made.test_cfg = test_cfg
        classes = inference_model(made.eval(), picture(), aug_test=views).pred_sem_seg.data
        assert classes.shape == (1, 48, 56)
    made.test_cfg = dict(mode='whole')
    export_model(made, tmp_path / 'net.onnx', shape=(56, 64))


def test_the_shipped_linear_head_learns_alone():
    """As it is shipped, but for the weights, which a test does not fetch."""
    base = ROOT / 'configs/_base_/models/linear_vit-s14-dinov2.py'
    model = MODELS.build(without_pretrained(Config.fromfile(base).model))
    inputs, samples = batch()
    model.train()(inputs, samples, mode='loss')['decode.loss_ce'].backward()
    learning = {name for name, p in model.named_parameters() if p.grad is not None}
    assert learning == {'decode_head.conv_seg.weight', 'decode_head.conv_seg.bias'}
    assert model.backbone.channels == [model.decode_head.in_channels]
