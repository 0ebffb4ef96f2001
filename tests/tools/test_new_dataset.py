"""tools/new_dataset.py: an unknown folder becomes a config that checks, builds and trains."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.make_data import smooth_image
from helpers.run_tool import run_tool
from mmengine.config import Config
from PIL import Image

from segkit.engine.config import load_config


def fill(root: Path, values, count=6, size=(48, 64), labels='masks/{}_mask.png', channels=3):
    """Images of noise, and labels of vertical stripes of the given values."""
    rng = np.random.default_rng(0)
    for i in range(count):
        stripes = np.array(values)[np.arange(size[1]) * len(values) // size[1]]
        label = np.broadcast_to(stripes, (*size, *stripes.shape[1:])).astype(np.uint8)
        for path, array in (
            (root / f'images/{i}.{"png" if channels == 3 else "tif"}',
             smooth_image(rng, size, channels)),
            (root / labels.format(i), label[..., ::-1] if label.ndim == 3 else label),
        ):  # fmt: skip
            path.parent.mkdir(parents=True, exist_ok=True)
            if array.ndim == 3 and array.shape[2] > 4:
                Image.fromarray(array[..., 0]).save(path)
            assert cv2.imwrite(str(path), array)
    return root


def first_sample(cfg: Config):
    from segkit.registry import DATASETS

    return DATASETS.build(cfg.train_dataloader.dataset)[0]


def test_masks_of_0_and_255_become_a_config_that_passes_the_check(tmp_path):
    root = fill(tmp_path / 'data', [0, 255])
    out = tmp_path / 'configs/mask.py'

    status, text = run_tool(
        'new_dataset', root, '--out', out, '--classes', 'road,crack', own_process=True
    )

    assert status == 0, text
    assert '6 pairs: images/*.png with masks/*_mask.png' in text
    assert '2 classes: 2 values take the names of --classes in turn' in text
    cfg = load_config(out)
    assert cfg.train_dataloader.dataset.metainfo.classes == ('road', 'crack')
    assert cfg.train_dataloader.dataset.label_map == {255: 1}
    assert cfg.auto_scale_lr.base_batch_size == cfg.train_dataloader.batch_size
    assert cfg.work_dir == 'work_dirs/mask'
    assert cfg.model.pretrained is None
    assert cfg.model.decode_head.num_classes == 2
    stems = [(tmp_path / f'configs/mask_{s}.txt').read_text().split() for s in ('train', 'val')]
    assert sorted(stems[0] + stems[1]) == list('012345')
    assert len(stems[1]) == 1

    label = first_sample(cfg)['data_samples'].gt_sem_seg.data
    assert set(label.unique().tolist()) <= {0, 1, 255}
    status, text = run_tool('check_dataset', out)
    assert status == 0, text
    assert 'mask: training would work' in text


def test_an_existing_config_is_not_written_over(tmp_path):
    root = fill(tmp_path, [0, 1])
    (root / 'config.py').write_text('mine')

    status, text = run_tool('new_dataset', root)
    assert status == 1
    assert 'config.py: is there already' in text
    assert (root / 'config.py').read_text() == 'mine'

    assert run_tool('new_dataset', root, '--force')[0] == 0


def test_colours_and_split_folders(tmp_path):
    colours = [(0, 0, 0), (255, 0, 0), (0, 128, 0)]
    fill(tmp_path, colours, 3, labels='labels/{}.png')
    for folder in ('images', 'labels'):
        for split, names in (('train', '01'), ('val', '2')):
            (tmp_path / folder / split).mkdir()
            for name in names:
                file = tmp_path / folder / f'{name}.png'
                file.rename(tmp_path / folder / split / f'{name}.png')

    status, text = run_tool('new_dataset', tmp_path)

    assert status == 0, text
    cfg = load_config(tmp_path / 'config.py')
    assert cfg.train_dataloader.dataset.data_prefix.img_path == 'images/train'
    assert cfg.val_dataloader.dataset.data_prefix.seg_map_path == 'labels/val'
    assert cfg.metainfo.palette == [[0, 0, 0], [0, 128, 0], [255, 0, 0]]
    label = first_sample(cfg)['data_samples'].gt_sem_seg.data
    assert set(label.unique().tolist()) <= {0, 1, 2, 255}
    assert not list(tmp_path.glob('*.txt'))


def test_scattered_values_name_their_classes(tmp_path):
    values = [0, 1, 2, 7, 50, 103]
    status, text = run_tool('new_dataset', fill(tmp_path, values))
    assert status == 0, text
    cfg = load_config(tmp_path / 'config.py')
    dataset = cfg.train_dataloader.dataset
    assert dataset.metainfo.classes == tuple(f'value_{value}' for value in values)
    assert [dataset.label_map.get(value, value) for value in values] == list(range(6))


@pytest.mark.parametrize('share', ['0', '1', '2', '-1', 'nan'])
def test_a_share_that_leaves_one_split_empty_is_refused(tmp_path, share):
    status, text = run_tool('new_dataset', tmp_path, f'--val-share={share}')
    assert status == 2
    assert f'--val-fraction {float(share)} must be above 0 and below 1' in text


@pytest.mark.parametrize('share', [0.01, 0.5, 0.99])
def test_no_image_is_in_both_splits(tmp_path, share):
    assert run_tool('new_dataset', fill(tmp_path, [0, 1], 4), f'--val-share={share}')[0] == 0
    train, val = ((tmp_path / f'config_{s}.txt').read_text().split() for s in ('train', 'val'))
    assert sorted(train + val) == list('0123')
    assert train
    assert val


@pytest.mark.slow
def test_four_channels_train(tmp_path):
    from segkit.registry import MODELS

    fill(tmp_path, [1, 2, 3], 4, labels='gt/{}.png', channels=4)

    status, text = run_tool('new_dataset', tmp_path)

    assert status == 0, text
    cfg = load_config(tmp_path / 'config.py')
    assert cfg.model.backbone.in_channels == 4
    assert cfg.train_dataloader.dataset.reduce_zero_label is True
    names = (tmp_path / 'config_train.txt').read_text().split()
    images = [cv2.imread(f'{tmp_path}/images/{n}.tif', cv2.IMREAD_UNCHANGED) for n in names]
    pixels = np.concatenate([image.reshape(-1, 4) for image in images])
    np.testing.assert_allclose(cfg.model.data_preprocessor.mean, pixels.mean(0), atol=1e-2)
    sample = first_sample(cfg)
    assert sample['inputs'].shape[0] == 4
    cfg.model.pretrained = None
    cfg.model.backbone.update(depth=18, norm_cfg=dict(type='BN'))
    for head, width in (('decode_head', 512), ('auxiliary_head', 256)):
        cfg.model[head].update(in_channels=width, channels=8, norm_cfg=dict(type='BN'))
    model = MODELS.build(cfg.model).train()
    batch = dict(inputs=[sample['inputs']] * 2, data_samples=[sample['data_samples']] * 2)
    loss, _ = model.parse_losses(model(**model.data_preprocessor(batch, True), mode='loss'))
    assert torch.isfinite(loss)


def test_what_cannot_be_read_is_named_and_nothing_is_written(tmp_path):
    root = fill(tmp_path / 'a', [0, 1])
    (root / 'masks/3_mask.png').write_bytes(b'no image')
    status, text = run_tool('new_dataset', root)
    assert status == 1
    assert f'{root}/masks/3_mask.png: not an image' in text

    cv2.imwrite(str(root / 'masks/3_mask.png'), np.zeros((9, 9), np.uint8))
    status, text = run_tool('new_dataset', root)
    assert status == 1
    assert f'{root}/masks/3_mask.png: the label is (9, 9)' in text

    root = fill(tmp_path / 'b', [0, 1, 2])
    status, text = run_tool('new_dataset', root, '--classes', 'one,two')
    assert status == 1
    assert '--classes names 2 classes, but the labels hold 0 too' in text

    status, text = run_tool('new_dataset', root, '--network', 'unet')
    assert status == 1
    assert 'unet: there is no such part; known:' in text
    assert not list(tmp_path.rglob('config*'))


def test_folds_validate_on_every_picture_once(tmp_path):
    from segkit.registry import DATASETS

    root = fill(tmp_path / 'data', [0, 255], count=7)
    out = tmp_path / 'folds.py'
    status, text = run_tool('new_dataset', root, '--out', out, '--folds', '3')
    assert status == 0, text
    assert '_fold1.py' in text
    seen = []
    for number in range(3):
        cfg = load_config(tmp_path / f'folds_fold{number}.py' if number else out)
        assert cfg.work_dir == ('work_dirs/folds' + (f'_fold{number}' if number else ''))
        sets = [DATASETS.build(x.dataset) for x in (cfg.train_dataloader, cfg.val_dataloader)]
        parts = [{x.get_data_info(i)['img_path'] for i in range(len(x))} for x in sets]
        assert not parts[0] & parts[1]
        assert len(parts[0] | parts[1]) == 7
        seen += parts[1]
    assert len(seen) == len(set(seen)) == 7
    for wrong in (['--folds', '1'], ['--folds', '3', '--val-fraction', '0.2']):
        assert run_tool('new_dataset', root, '--out', tmp_path / 'b.py', *wrong)[0] == 2
    assert run_tool('new_dataset', root, '--out', tmp_path / 'folds_fold1.py')[0] == 1
    out.unlink()
    assert run_tool('new_dataset', root, '--out', out, '--folds', '3')[0] == 1, 'a fold is there'
    status, text = run_tool('new_dataset', root, '--out', tmp_path / 'b.py', '--folds', '8')
    assert (status, '--folds 8: there are fewer' in text) == (1, True)
