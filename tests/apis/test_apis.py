"""init_model, inference_model and show_result as a user calls them."""

import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from helpers.imports import modules_after
from mmengine.config import Config
from torch import nn

from segkit.apis import inference_model, init_model, show_result
from segkit.models.segmentors import BaseSegmentor
from segkit.weights import CheckpointError

CONFIG = 'configs/demo/pspnet_r18-d8_shapes.py'
SMALL = {
    'model.backbone.base_channels': 8,
    'model.decode_head.in_channels': 64,
    'model.auxiliary_head.in_channels': 32,
    'model.test_cfg.keep_logits': True,
}


def build(**kwargs):
    torch.manual_seed(0)
    return init_model('pspnet_r18-d8_shapes', cfg_options=SMALL, **kwargs)


@pytest.fixture(scope='module')
def model():
    return build()


@pytest.fixture(scope='module')
def checkpoint(model, tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'model.pth'
    meta = dict(CLASSES=[f'c{i}' for i in range(13)], PALETTE=[[i, 0, 0] for i in range(13)])
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path


@pytest.fixture(scope='module')
def images():
    rng = np.random.default_rng(0)
    shapes = [(64, 96), (96, 64), (64, 96), (70, 90)]
    return [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]


def test_a_model_is_ready_to_predict(model):
    assert not model.training
    assert model.cfg.model.type == 'EncoderDecoder'
    assert model.dataset_meta['classes'][0] == 'sky'
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in model.modules())


def test_classes_named_in_the_config_are_those_of_the_model(model):
    names = [f'own {i}' for i in range(13)]
    options = {**SMALL, 'test_dataloader.dataset.metainfo': dict(classes=names)}

    own = init_model('pspnet_r18-d8_shapes', cfg_options=options)

    assert own.dataset_meta['classes'] == names
    assert own.dataset_meta['palette'] == model.dataset_meta['palette']


def test_a_checkpoint_gives_weights_classes_and_palette(model, checkpoint, images):
    loaded = build(checkpoint=checkpoint)
    assert loaded.dataset_meta == dict(
        classes=[f'c{i}' for i in range(13)], palette=[[i, 0, 0] for i in range(13)]
    )
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    first, second = (inference_model(m, images[0]) for m in (model, loaded))
    assert torch.equal(first.pred_sem_seg.data, second.pred_sem_seg.data)


def test_a_checkpoint_without_auxiliary_head_leaves_none_undrawn(model, tmp_path):
    state = {k: v for k, v in model.state_dict().items() if not k.startswith('auxiliary_head.')}
    torch.save(state, tmp_path / 'model.pth')

    loaded = build(checkpoint=tmp_path / 'model.pth')

    for name, value in loaded.auxiliary_head.named_parameters():
        assert value.isfinite().all(), name
    assert loaded.auxiliary_head.conv_seg.weight.std() > 0


class OwnSegmentor(BaseSegmentor):
    """With no argument `pretrained`."""

    def __init__(self, width, data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.conv = nn.Conv2d(3, width, 1)


def test_a_segmentor_of_ones_own_is_built():
    model = init_model(Config({'model': {'type': OwnSegmentor, 'width': 5}}))

    assert model.conv.weight.shape[0] == 5
    assert not model.training


def test_a_work_directory_stands_for_its_best_checkpoint(model, checkpoint, tmp_path):
    shutil.copy(checkpoint, tmp_path / 'best_mIoU_iter_4.pth')

    loaded = build(checkpoint=tmp_path)

    weight = model.decode_head.conv_seg.weight
    assert torch.equal(loaded.decode_head.conv_seg.weight, weight)
    (tmp_path / 'best_mIoU_iter_4.pth').unlink()
    with pytest.raises(CheckpointError, match='holds no checkpoint'):
        build(checkpoint=tmp_path)


def test_a_model_can_be_saved_to_where_it_was_loaded_from(model, tmp_path):
    """In a process of its own, which a write over a mapped file would kill."""
    torch.save(model.state_dict(), tmp_path / 'model.pth')
    path = tmp_path / 'model.pth'
    code = (
        'import torch; from segkit.apis import init_model; '
        f'model = init_model("pspnet_r18-d8_shapes", {str(path)!r}, cfg_options={SMALL}); '
        f'torch.save(model.state_dict(), {str(path)!r})'
    )

    subprocess.run([sys.executable, '-c', code], check=True)

    again = torch.load(path)
    assert torch.equal(again['decode_head.conv_seg.weight'], model.decode_head.conv_seg.weight)


def test_nothing_that_only_training_needs_is_imported(checkpoint):
    heavy = {
        'mmengine.model', 'mmengine.runner', 'torch.distributed.fsdp', 'torch._dynamo', 'sympy',
        'matplotlib.pyplot',
    }  # fmt: skip
    assert not heavy & modules_after(
        'from segkit.apis import init_model; '
        f'init_model("pspnet_r18-d8_shapes", {str(checkpoint)!r}, cfg_options={SMALL})'
    )


def test_a_checkpoint_of_other_classes_is_refused(checkpoint):
    options = {**SMALL, 'model.decode_head.num_classes': 5}
    with pytest.raises(CheckpointError, match='conv_seg'):
        init_model('pspnet_r18-d8_shapes', checkpoint, cfg_options=options)


@pytest.mark.skipif(torch.cuda.is_available(), reason='has the device')
@pytest.mark.parametrize('device', ['cuda', 'tpu'])
def test_a_device_that_is_not_there_is_named(device):
    with pytest.raises(ValueError, match=f"device '{device}' cannot be used here .*'cpu' can"):
        init_model(CONFIG, device=device)


def test_one_image_gives_one_sample_at_its_own_size(model, images):
    result = inference_model(model, images[3])
    assert result.pred_sem_seg.data.shape == (1, 70, 90)
    assert result.pred_sem_seg.data.max() < 13


def test_a_file_and_its_array_give_the_same(model, images, tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), images[0])
    from_file = inference_model(model, tmp_path / 'a.png')
    assert from_file.img_path == str(tmp_path / 'a.png')
    from_array = inference_model(model, images[0])
    assert torch.equal(from_file.pred_sem_seg.data, from_array.pred_sem_seg.data)


@pytest.mark.parametrize('batch_size', [1, 3])
def test_many_images_give_what_each_gives_alone(model, images, batch_size):
    together = inference_model(model, images, batch_size=batch_size)
    assert isinstance(together, list)
    for image, sample in zip(images, together):
        alone = inference_model(model, image)
        assert torch.equal(sample.pred_sem_seg.data, alone.pred_sem_seg.data)


def test_a_folder_is_read_as_its_results_are_taken(model, images, tmp_path):
    for i, image in enumerate(images[:2]):
        cv2.imwrite(str(tmp_path / f'{i}.png'), image)
    (tmp_path / '9.png').write_bytes(b'not an image')
    results = inference_model(model, tmp_path)
    assert [next(results).pred_sem_seg.data.shape[1:] for _ in range(2)] == [(64, 96), (96, 64)]
    with pytest.raises(Exception, match=r'9\.png'):
        next(results)


def test_gradients_stay_as_they_are_between_the_results_of_a_stream(model, images):
    results = inference_model(model, iter(images))
    assert not next(results).seg_logits.data.requires_grad
    assert torch.is_grad_enabled()


def test_grey_levels_fit_networks_of_one_channel_and_of_three(images):
    grey = images[0][..., 0]
    options = {
        **SMALL,
        'model.backbone.in_channels': 1,
        'model.data_preprocessor.mean': [120.0],
        'model.data_preprocessor.std': [60.0],
    }
    one = init_model('pspnet_r18-d8_shapes', cfg_options=options)
    assert inference_model(one, grey).pred_sem_seg.data.shape == (1, 64, 96)
    three, repeated = (inference_model(build(), x) for x in (grey, np.stack([grey] * 3, axis=-1)))
    assert torch.equal(three.pred_sem_seg.data, repeated.pred_sem_seg.data)


def test_aug_test_averages_the_softmax_of_every_view(model, images):
    model.cfg.aug_test = dict(img_ratios=[1.0], flip=True)
    merged = inference_model(model, images[0], aug_test=True).pred_sem_seg.data
    flipped = np.ascontiguousarray(images[0][:, ::-1])
    plain, mirrored = (inference_model(model, i).seg_logits.data for i in (images[0], flipped))
    mean = (plain.softmax(0) + mirrored.flip(-1).softmax(0)) / 2
    assert (merged[0].long() == mean.argmax(0)).float().mean() > 0.999


def test_switches_change_the_result_by_rounding_alone(images):
    plain = inference_model(build(), images[0]).seg_logits.data
    fast = inference_model(build(fuse_bn=True, channels_last=True), images[0]).seg_logits.data
    assert (plain - fast).abs().max() <= 2e-5 * plain.abs().max()


def test_an_array_that_is_no_image_is_named(model):
    with pytest.raises(ValueError, match=r'uint8 in BGR order, got float32 of shape \(4, 4, 3\)'):
        inference_model(model, np.zeros((4, 4, 3), np.float32))


def test_show_result_blends_the_palette_over_the_image(model, images, tmp_path):
    result = inference_model(model, images[0])
    out = tmp_path / 'deep' / 'overlay.png'
    picture = show_result(images[0], result, model, opacity=1.0, out_file=out)
    labels = result.pred_sem_seg.data[0].numpy()
    palette = np.array(model.dataset_meta['palette'], np.uint8)[:, ::-1]
    assert np.array_equal(picture, palette[labels])
    assert np.array_equal(cv2.imread(str(out)), picture)
    assert np.array_equal(show_result(images[0], result, model, opacity=0.0), images[0])


def test_show_result_takes_a_palette_of_ones_own(model, images):
    result = inference_model(model, images[0])
    own = [[255 - i, i, 7] for i in range(13)]
    picture = show_result(images[0], result, model, palette=own, opacity=1.0)
    want = np.array(own, np.uint8)[result.pred_sem_seg.data[0].numpy()]
    assert np.array_equal(picture[..., ::-1], want)


def test_show_result_names_an_image_that_is_not_there(model, images):
    with pytest.raises(ValueError, match='nowhere.png does not exist'):
        show_result('nowhere.png', inference_model(model, images[0]), model)
