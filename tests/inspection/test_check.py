"""All files of a dataset are examined: bad ones are found and named, good ones counted."""

import cv2
import numpy as np
import pytest
from helpers.checks import SIZES, config, errors_of, paint, warnings_of
from helpers.make_data import write_dataset, write_pair

from segkit.inspection.check import check
from segkit.inspection.check_report import as_text


def test_good_data_pass_with_exact_sums(root):
    found = check(config(root), 'x', ('train',), workers=0)
    summary = found.datasets[0].summary

    assert found.ok
    labels = [cv2.imread(f'{root}/ann/{i:03d}.png', cv2.IMREAD_UNCHANGED) for i in range(3)]
    pixels = np.concatenate([label.ravel() for label in labels])
    assert {k: v for k, v in summary.counts.items() if v} == {
        int(v): int((pixels == v).sum()) for v in np.unique(pixels)
    }
    images = [cv2.imread(f'{root}/img/{i:03d}.png')[..., ::-1].reshape(-1, 3) for i in range(3)]
    images = np.concatenate(images).astype(np.float64)
    np.testing.assert_allclose(summary.mean, images.mean(0), atol=1e-3)
    np.testing.assert_allclose(summary.std, images.std(0), atol=1e-3)
    assert summary.sizes == {(40, 56): 2, (48, 64): 1}
    assert summary.ignored_share == pytest.approx((pixels == 255).mean())
    assert 'x: training would work' in as_text(found)


def test_all_missing_files_are_listed(root):
    write_pair(root, 'lonely1', np.zeros((8, 8, 3), np.uint8), None)
    write_pair(root, 'lonely2', np.zeros((8, 8, 3), np.uint8), None)

    (error,) = errors_of(config(root))

    assert error.startswith('missing label, 2 times')
    assert 'ann/lonely1.png: there is no such file' in error
    assert 'ann/lonely2.png: there is no such file' in error


def test_labels_without_an_image_are_mentioned(root):
    paint(root, 77, np.zeros((4, 4), np.uint8))

    (warning,) = warnings_of(config(root))

    assert warning == f'labels without an image, not used: 1\n{root}/ann/077.png'


def test_images_of_a_split_file_that_are_missing(root, tmp_path):
    (tmp_path / 'split.txt').write_text('000\n777\n')

    errors = errors_of(config(root, ann_file='split.txt'))

    assert len(errors) == 2
    assert any('missing image' in e and 'img/777.png' in e for e in errors)


def test_a_missing_folder_and_a_missing_split_file(root):
    (error,) = errors_of(config(root, data_prefix=dict(img_path='img', seg_map_path='labels')))
    assert 'labels: the folder of data_prefix.seg_map_path does not exist' in error
    (error,) = errors_of(config(root, ann_file='none.txt'))
    assert 'none.txt: the split file (ann_file) does not exist' in error


def test_an_empty_split(root, tmp_path):
    (tmp_path / 'split.txt').write_text('\n')

    assert 'the split is empty' in errors_of(config(root, ann_file='split.txt'))[0]
    assert "images end in '.jpg'" in errors_of(config(root, img_suffix='.jpg'))[0]


def test_unreadable_files_are_named_and_the_rest_is_examined(root):
    for path in ('img/000.png', 'ann/001.png'):
        with open(f'{root}/{path}', 'rb+') as file:
            file.truncate(60)

    errors = errors_of(config(root))

    assert any('unreadable image' in e and f'{root}/img/000.png' in e for e in errors)
    assert any('unreadable label' in e and f'{root}/ann/001.png' in e for e in errors)
    assert len(errors) == 2


def test_a_dataset_that_passes_over_damage_can_train(root):
    with open(f'{root}/img/001.png', 'rb+') as file:
        file.truncate(60)

    (warning,) = warnings_of(config(root, on_error='skip'))
    assert warning.startswith("unreadable image (passed over: on_error='skip')")
    assert errors_of(config(root, on_error='skip', test_mode=True))

    for name in ('000', '002'):
        with open(f'{root}/img/{name}.png', 'rb+') as file:
            file.truncate(60)
    assert errors_of(config(root, on_error='skip'))  # nothing is left to train with


def test_a_size_mismatch_names_both_sizes(root):
    path = paint(root, 1, np.zeros((20, 30), np.uint8))

    (error,) = errors_of(config(root))

    assert error.startswith('size mismatch')
    assert path in error
    assert '20x30' in error
    assert '48x64' in error


def test_a_colour_label_says_how_to_convert(root):
    path = paint(root, 0, np.full((40, 56, 3), 9, np.uint8))

    (error,) = errors_of(config(root))

    assert error.startswith('colour label')
    assert path in error
    assert "label_format='rgb'" in error


def test_colours_outside_the_palette(root):
    for index, size in enumerate(SIZES):
        paint(root, index, np.full((*size, 3), (3, 2, 1), np.uint8))
    meta = dict(classes=('a', 'b'), palette=[[1, 2, 3], [9, 9, 9]])
    cfg = config(root, num_classes=2, label_format='rgb', metainfo=meta)
    assert check(cfg, 'x', ('train',), workers=0).ok

    paint(root, 2, np.full((*SIZES[2], 3), (7, 7, 7), np.uint8))
    (error,) = errors_of(cfg)

    assert 'unknown colours' in error
    assert '(7, 7, 7)' in error


def test_parts_of_a_concatenation_are_checked_one_by_one(root, tmp_path):
    other = write_dataset(tmp_path / 'other', [(20, 20)])
    parts = [config(folder).train_dataloader.dataset for folder in (root, other)]
    repeated = dict(type='RepeatDataset', times=3, dataset=parts[1])
    cfg = config(root)
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[parts[0], repeated])

    found = check(cfg, 'x', ('train',), workers=0)

    assert [(p.summary.name, p.summary.images) for p in found.datasets] == [
        ('train 1', 3), ('train 2', 1),
    ]  # fmt: skip


def test_a_split_that_reads_the_same_files_is_read_once(root):
    cfg = config(root)
    cfg.val_dataloader = cfg.train_dataloader
    cfg.val_dataloader.dataset.pipeline = []

    assert len(check(cfg, 'x', ('train', 'val'), workers=0).datasets) == 1


def test_fewer_images_are_spread_evenly(tmp_path):
    root = write_dataset(tmp_path, [(10 + i, 20) for i in range(9)])

    summary = check(config(root), 'x', ('train',), workers=0, max_images=3).datasets[0].summary

    assert sorted(summary.sizes) == [(10, 20), (13, 20), (16, 20)]
    assert (summary.images, summary.examined) == (9, 3)


def test_workers_give_the_same_result(root):
    cfg = config(root)
    one, two = (check(cfg, 'x', ('train',), workers=n).to_json() for n in (0, 2))

    assert one == two


def test_pictures_of_another_ending_are_counted(root):
    for name in ('a.jpg', 'b.JPG', '.hidden.jpg', 'c.txt'):
        (tmp := cv2.imencode('.jpg', np.zeros((8, 8, 3), np.uint8))[1]).tofile(f'{root}/img/{name}')
        assert tmp.size

    (warning,) = warnings_of(config(root))

    assert warning == (
        f"pictures that do not end in '.png', not used: 2\n{root}/img/a.jpg\n{root}/img/b.JPG"
    )


def test_channels_of_the_network_are_compared_with_those_loaded(root):
    cfg = config(root)
    cfg.model.backbone = dict(type='ResNetV1c', depth=18, in_channels=4)
    errors = errors_of(cfg)
    assert 'loaded with 3 channels, but model.backbone.in_channels is 4' in errors[0]
    assert '--cfg-options model.backbone.in_channels=3' in errors[0]


def test_a_repeated_data_set_has_all_its_samples(root):
    cfg = config(root)
    part = cfg.train_dataloader.dataset
    cfg.train_dataloader = dict(
        batch_size=9, drop_last=True, sampler=dict(type='DefaultSampler'),
        dataset=dict(type='RepeatDataset', times=3, dataset=part),
    )  # fmt: skip
    assert check(cfg, 'x', ('train',), workers=0).ok
    cfg.train_dataloader.batch_size = 10
    found = check(cfg, 'x', ('train',), workers=0)
    assert 'gives no batch: 9 samples, batch_size=10' in found.general[0].text


def test_accumulation_is_part_of_the_batch(root):
    cfg = config(root)
    cfg.auto_scale_lr = dict(base_batch_size=8)
    assert 'effective batch 2 (2 a GPU x 1 GPU), the recipe has 8' in warnings_of(cfg)[0]
    for accumulate in (4, 'auto'):
        cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=3, accumulate=accumulate)
        assert not warnings_of(cfg)
