"""The checks before the first step: each finds its fault, and the cure it prints makes it go."""

import subprocess

import cv2
import numpy as np
import pytest
from helpers.tiny_config import NO_VALIDATION, tiny_config
from PIL import Image, ImageFile
from torch.utils.data import DataLoader

from segkit.datasets.decode import picture_header
from segkit.engine import Runner
from segkit.engine.before_training import CHECKS, Plan, findings
from segkit.engine.command_line import parse_options
from segkit.engine.config import merge_options
from segkit.engine.data_order import endless_batches
from segkit.engine.errors import TrainingError
from segkit.engine.hooks.first_batches import channels_fit, network_channels
from segkit.errors import ConfigError

FINITE = dict(type='DefaultSampler', shuffle=True)
EPOCHS = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=1)


def gone(cfg, samples, found) -> bool:
    """Whether the options that a finding prints make it go, read as a shell and a tool do."""
    words = ' '.join(found.options)
    typed = subprocess.run(
        ['bash', '-c', f'printf "%s\\n" {words}'], capture_output=True, text=True
    )
    merge_options(cfg, parse_options(typed.stdout.splitlines()))
    return found.text not in [f.text for f in findings(Plan(cfg, samples))]


FAULTS = {
    'gives no batch': dict(
        train_dataloader__drop_last=True, train_dataloader__batch_size=16,
        train_dataloader__sampler=FINITE,
    ),
    'which has no end': dict(train_cfg__type='EpochBasedTrainLoop', train_cfg__by_epoch=True),
    'a batch is one picture': dict(train_dataloader__batch_size=1),
    'the last batch of each pass': dict(
        train_dataloader__batch_size=5, train_dataloader__sampler=FINITE
    ),
    'is not on this machine': dict(model__pretrained='open-mmlab://resnet18_v1c'),
    'there is no such file of weights': dict(load_from='none/there.pth'),
    'a validation would last for ever': dict(val_dataloader__sampler=dict(type='InfiniteSampler')),
    'pictures of an incomplete last batch unscored': dict(
        val_dataloader__drop_last=True, val_dataloader__batch_size=2
    ),
    'there are no such weights': dict(model__backbone__pretrained='open-mmlab://resnet19_v1c'),
}  # fmt: skip


@pytest.mark.parametrize('words', FAULTS)
def test_each_fault_is_found_and_its_cure_works_as_typed(tmp_path, words, monkeypatch):
    monkeypatch.setenv('SEGKIT_CACHE', str(tmp_path))
    cfg = tiny_config(tmp_path)
    assert findings(Plan(cfg, 11)) == []
    cfg = tiny_config(tmp_path, **FAULTS[words])

    (found,) = findings(Plan(cfg, 11))

    assert words in found.text
    assert gone(cfg, 11, found)


def test_a_cure_that_cures_nothing_would_be_seen(tmp_path):
    cfg = tiny_config(tmp_path, load_from='none/there.pth')
    (found,) = findings(Plan(cfg, 11))
    found.options = ['log_level=INFO']
    assert not gone(cfg, 11, found)
    assert len(CHECKS) >= 4


@pytest.mark.parametrize(('samples', 'ranks', 'batch', 'fails'), [
    (8, 1, 8, False), (7, 1, 8, True), (16, 2, 8, False), (15, 2, 8, False), (13, 2, 8, True),
])  # fmt: skip
def test_batches_of_several_ranks(tmp_path, samples, ranks, batch, fails):
    cfg = tiny_config(
        tmp_path, **dict(FAULTS['gives no batch'], train_dataloader__batch_size=batch)
    )
    assert bool(findings(Plan(cfg, samples, ranks))) == fails
    cfg.train_dataloader.sampler.type = 'InfiniteSampler'
    assert not findings(Plan(cfg, samples, ranks))


@pytest.mark.parametrize('loop', [None, EPOCHS], ids=['iterations', 'epochs'])
def test_training_without_a_batch_ends_at_once(tmp_path, loop):
    cfg = tiny_config(tmp_path, **FAULTS['gives no batch'], **NO_VALIDATION)
    if loop:
        cfg.train_cfg = loop
    with pytest.raises(ConfigError, match=r'gives no batch: 11 samples, batch_size=16'):
        Runner.from_cfg(cfg).train()


def test_the_head_refuses_what_the_check_refuses(tmp_path):
    cfg = tiny_config(tmp_path, train_dataloader__batch_size=1, **NO_VALIDATION)
    with pytest.raises(ConfigError, match='a batch is one picture'):
        Runner.from_cfg(cfg).train()
    cfg.default_hooks.first_batches = None
    with pytest.raises(ValueError, match='cannot train on one image'):
        Runner.from_cfg(cfg).train()


def test_training_by_epochs_over_an_endless_sampler_is_refused(tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.train_cfg = EPOCHS
    with pytest.raises(ConfigError, match=r'InfiniteSampler, which has no end'):
        Runner.from_cfg(cfg).train()


def test_a_loader_built_by_hand_that_gives_nothing_ends_too():
    loader = DataLoader(list(range(3)), batch_size=4, drop_last=True)
    with pytest.raises(TrainingError, match='gives no batch'):
        next(endless_batches(loader, 0, 1))
    two = DataLoader(list(range(4)), batch_size=4, drop_last=True)
    batches = endless_batches(two, 4, 1)  # resumed where a pass had ended
    assert [next(batches).tolist() for _ in range(2)] == [[0, 1, 2, 3]] * 2


def test_pictures_of_other_channels_than_the_backbone_takes(tmp_path):
    cfg = tiny_config(tmp_path, **NO_VALIDATION, model__backbone__in_channels=1)
    with pytest.raises(ConfigError, match=r'loaded with 3 channels, but model.backbone.in_ch.* 1'):
        Runner.from_cfg(cfg).train()
    assert network_channels(dict(backbone=dict(type='ResNetV1c', depth=18))) == 3
    assert network_channels(dict(backbone=dict(type='TimmBackbone', in_channels=4))) == 4
    assert network_channels(dict(backbone=dict(type='mmpretrain.VisionTransformer'))) is None
    assert not list(channels_fit(dict(backbone=dict(in_channels=4)), 4, 'x'))


@pytest.mark.parametrize(('name', 'dtype', 'bits'), [
    ('a.png', np.uint8, 8), ('a.png', np.uint16, 16), ('a.tif', np.uint8, 8),
    ('a.tif', np.uint16, 16), ('a.tif', np.float32, 32), ('a.jpg', np.uint8, 8),
])  # fmt: skip
@pytest.mark.parametrize('shape', [(5, 7), (5, 7, 3)])
def test_headers_tell_the_bits(tmp_path, name, dtype, bits, shape):
    path = tmp_path / name
    assert cv2.imwrite(str(path), np.ones(shape, dtype))
    header = picture_header(str(path))
    assert (header.bits, header.orientation) == (bits, 1)


def test_headers_tell_the_orientation(tmp_path, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ('a.jpg', 'a.png', 'a.webp', 'a.tif'):
        Image.new('RGB', (8, 6)).save(tmp_path / name, exif=exif)
    monkeypatch.setattr(ImageFile.ImageFile, 'load', None)  # nothing is decoded for it
    for name in ('a.jpg', 'a.png', 'a.webp', 'a.tif'):
        assert picture_header(str(tmp_path / name)).orientation == 6
    (tmp_path / 'b.jpg').write_bytes(b'no picture')
    assert picture_header(str(tmp_path / 'b.jpg')) is None
    (tmp_path / 'c.tif').write_bytes(b'II*\0\xff\xff\0\0')
    assert picture_header(str(tmp_path / 'c.tif')) is None
    assert picture_header(str(tmp_path / 'none.jpg')) is None


def test_deep_pictures_are_told_when_training_starts(tmp_path, capfd):
    for kind, array in (('img', np.full((64, 64), 4000, np.uint16)), ('ann', np.eye(64) > 0)):
        (tmp_path / kind).mkdir()
        cv2.imwrite(
            str(tmp_path / kind / '0.png'), array.astype(array.dtype if kind == 'img' else 'u1')
        )
    cfg = tiny_config(tmp_path / 'w', **NO_VALIDATION, train_cfg__max_iters=1)
    cfg.train_dataloader.dataset = dict(
        type='BaseSegDataset', data_root=str(tmp_path), img_suffix='.png',
        data_prefix=dict(img_path='img', seg_map_path='ann'), pipeline=cfg.train_pipeline,
        metainfo=dict(classes=tuple(map(str, range(13)))),
    )  # fmt: skip
    Runner.from_cfg(cfg).train()
    said = ''.join(capfd.readouterr())
    assert '1 of 1 pictures looked at have more than 8 bits' in said
    assert 'img/0.png: 16 bits' in said
