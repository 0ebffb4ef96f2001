"""Every kind of bad data is found, named and given a cure, and good data pass."""

import cv2
import numpy as np
import pytest
from helpers.make_data import PREFIX, write_dataset, write_pair
from mmengine.config import Config

from segkit.inspection.check import check
from segkit.inspection.page import as_page
from segkit.inspection.text import as_text

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
SIZES = [(40, 56), (48, 64), (40, 56)]


def config(root, num_classes=5, head=None, **dataset) -> Config:
    names = tuple(f'c{i}' for i in range(dataset.pop('names', num_classes)))
    values = dict(
        type='BaseSegDataset', data_root=str(root), data_prefix=PREFIX, img_suffix='.png',
        metainfo=dict(classes=names), pipeline=PIPELINE,
    )  # fmt: skip
    loader = dict(batch_size=2, dataset={**values, **dataset})
    model = dict(
        data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
        decode_head=dict(num_classes=num_classes, **(head or {})),
        auxiliary_head=dict(num_classes=num_classes),
    )
    return Config(dict(model=model, train_dataloader=loader))


def errors_of(cfg: Config, **options) -> list[str]:
    """Texts of all errors with the messages of their files."""
    found = check(cfg, 'x', ('train',), workers=0, **options)
    assert not found.ok
    findings = [*found.general, *found.datasets[0].findings]
    return ['\n'.join([f.text, *f.files]) for f in findings if f.level == 'error']


def warnings_of(cfg: Config, split='train', **options) -> list[str]:
    found = check(cfg, options.pop('name', 'x'), (split,), workers=0, **options)
    assert found.ok, as_text(found)
    findings = [*found.general, *found.datasets[0].findings]
    return ['\n'.join([f.text, *f.files]) for f in findings if f.level == 'warning']


@pytest.fixture
def root(tmp_path):
    return write_dataset(tmp_path, SIZES)


def paint(root, index, label) -> str:
    path = f'{root}/ann/{index:03d}.png'
    cv2.imwrite(path, label)
    return path


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


def labels_of(root, *values) -> None:
    for index, size in enumerate(SIZES):
        label = np.resize(np.array(values, np.uint8), size)
        paint(root, index, label)


@pytest.mark.parametrize(
    ('values', 'num_classes', 'cure'),
    [
        ((1, 2, 3, 4, 5, 255), 5, 'they count from 1; set reduce_zero_label=True'),
        ((0, 1, 2, 3, 4, 5), 5, 'if 0 means "unlabelled", set reduce_zero_label=True'),
        ((0, 1, 2, 3, 4, 5), 5, 'there are 6: set num_classes in both heads'),
        ((0, 128), 2, 'set label_map={128: 1}'),
        ((7, 11, 26, 255), 3, 'map them with label_map={stored value: class}'),
    ],
)
def test_values_outside_the_classes_get_the_likely_cure(root, values, num_classes, cure):
    labels_of(root, *values)

    (error,) = errors_of(config(root, num_classes=num_classes))

    assert cure in error
    assert f'neither a class (0 to {num_classes - 1}) nor 255' in error
    assert f'{root}/ann/000.png' in error


def test_the_cures_cure(root):
    labels_of(root, 1, 2, 3, 4, 5, 255)
    assert check(config(root, reduce_zero_label=True), 'x', ('train',), workers=0).ok
    labels_of(root, 7, 11, 26, 255)
    cfg = config(root, num_classes=3, label_map={7: 0, 11: 1, 26: 2})
    assert check(cfg, 'x', ('train',), workers=0).ok


def test_16_bit_values_are_found(root):
    label = np.zeros(SIZES[0], np.uint16)
    label[5:9] = 24001
    paint(root, 0, label)

    (error,) = errors_of(config(root))

    assert 'label values 24001' in error


def test_masks_of_0_and_255(root):
    labels_of(root, 0, 255)

    (warning,) = warnings_of(config(root, num_classes=2))

    assert 'masks of 0 and 255? Then set label_map={255: 1}' in warning


def test_labels_that_are_all_ignored(root):
    paint(root, 1, np.full(SIZES[1], 255, np.uint8))
    (warning,) = [w for w in warnings_of(config(root)) if 'no labelled pixel' in w]
    assert f'{root}/ann/001.png' in warning

    labels_of(root, 255)
    assert 'nothing to learn' in errors_of(config(root))[0]


def test_classes_never_labelled(root):
    labels_of(root, 0, 2, 3)

    (warning,) = warnings_of(config(root))

    assert '2 of 5 classes are never labelled: 1 (c1), 4 (c4)' in warning


def test_class_counts_and_weights(root):
    errors = errors_of(config(root, names=6))
    assert any('model.decode_head.num_classes is 5, but the dataset has 6' in e for e in errors)
    assert any('model.auxiliary_head.num_classes=6' in e for e in errors)

    head = dict(loss_decode=dict(type='CrossEntropyLoss', class_weight=[1.0, 2.0]))
    (error,) = errors_of(config(root, head=head))
    assert 'model.decode_head.loss_decode.class_weight has 2 values for 5 classes' in error

    head = dict(loss_decode=[dict(type='CrossEntropyLoss', class_weight='no.npy')])
    (error,) = errors_of(config(root, head=head))
    assert 'class_weight: no file no.npy' in error


def test_normalisation_far_from_the_images(root):
    cfg = config(root)
    cfg.model.data_preprocessor = dict(mean=[0.5, 0.5, 0.5], std=[0.2, 0.2, 0.2])
    (warning,) = warnings_of(cfg)
    assert 'the config normalises by [0.5, 0.5, 0.5]' in warning

    cfg.model.data_preprocessor = dict(mean=[100.0], std=[50.0])
    assert 'data_preprocessor.mean has 1 values, but the images have 3' in errors_of(cfg)[0]


def test_the_effective_batch_is_compared_with_the_recipe(root):
    name = 'pspnet_r50-d8_512x512_80k_ade20k'  # 4 GPUs x 4
    cfg = config(root)
    cfg.optim_wrapper = dict(optimizer=dict(lr=0.01))

    (warning,) = warnings_of(cfg, name=name, gpus=2)
    assert 'effective batch 4 (2 a GPU x 2 GPU), the recipe has 16' in warning
    assert '--auto-scale-lr (lr 0.0025 instead of 0.01)' in warning
    assert warnings_of(cfg, name=name, gpus=8) == []


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


def test_the_page_shows_pictures_findings_and_escapes_names(root):
    paint(root, 1, np.full(SIZES[1], 77, np.uint8))
    cfg = config(root, metainfo=dict(classes=('<b>', 'c1', 'c2', 'c3', 'c4')))

    page = as_page(check(cfg, 'x', ('train',), workers=0))

    assert page.count('<img src="data:image/jpeg;base64,') == 3
    assert '&lt;b&gt;' in page
    assert '<b>error</b>: label values 77' in page
    assert 'Training would fail.' in page
    assert 'http://' not in page
    assert 'https://' not in page
