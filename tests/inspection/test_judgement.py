"""What the values of labels and the settings of a config are judged by, and the cures named."""

import numpy as np
import pytest
from helpers.checks import SIZES, config, errors_of, labels_of, paint, warnings_of

from segkit.inspection.check import check
from segkit.inspection.check_report import as_page, as_text


@pytest.mark.parametrize(
    ('values', 'num_classes', 'cure'),
    [
        ((1, 2, 3, 4, 5, 255), 5, 'They count from 1: set reduce_zero_label=True'),
        ((0, 1, 2, 3, 4, 5), 5, 'If 0 means "unlabelled", set reduce_zero_label=True'),
        ((0, 1, 2, 3, 4, 5), 5, 'there are 6: set num_classes in all heads'),
        ((0, 128), 2, 'set label_map={128: 1}'),
        ((7, 11, 26, 255), 3, 'set label_map={stored value: class} in the dataset'),
    ],
)
def test_values_outside_the_classes_get_the_likely_cure(root, values, num_classes, cure):
    labels_of(root, *values)

    (error,) = errors_of(config(root, num_classes=num_classes))

    assert cure in error
    assert (
        f'neither one of the {num_classes} classes (0 to {num_classes - 1}) nor ignored (255)'
        in error
    )
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

    assert 'label value(s) 24001' in error


def test_masks_of_0_and_255(root):
    labels_of(root, 0, 255)

    (warning,) = warnings_of(config(root, num_classes=2))

    assert 'If 255 marks the objects, set label_map={255: 1}' in warning


def test_labels_that_are_all_ignored(root):
    paint(root, 1, np.full(SIZES[1], 255, np.uint8))
    (warning,) = [w for w in warnings_of(config(root)) if 'no labelled pixel' in w]
    assert f'{root}/ann/001.png' in warning

    labels_of(root, 255)
    assert 'nothing to learn' in errors_of(config(root))[0]


def ignoring(root, ignored, *heads):
    cfg = config(root)
    for name in heads:
        cfg.model[name].ignore_index = ignored
    cfg.train_dataloader.dataset.ignore_index = ignored
    return cfg


def test_another_ignored_label_is_that_of_the_heads(root):
    labels_of(root, 0, 1, 2, 3, 4, 250)
    found = check(ignoring(root, 250, 'decode_head', 'auxiliary_head'), 'x', ('train',), workers=0)
    assert found.ok
    share = found.datasets[0].summary.ignored_share
    assert share == pytest.approx(1 / 6, abs=1e-2)
    assert f'ignored (250): {100 * share:.2f}%' in as_text(found)
    assert 'are ignored (250)' in as_page(found)

    (error,) = errors_of(ignoring(root, 250))
    assert 'If 250 marks what does not count, set label_map={250: 255} in the dataset' in error
    assert 'or ignore_index=250 in the dataset, all heads and the metric' in error
    (error,) = errors_of(ignoring(root, 250, 'decode_head'))
    assert 'model.auxiliary_head.ignore_index is 255, that of model.decode_head 250' in error


def test_without_a_head_the_ignored_label_is_that_of_the_dataset(root):
    labels_of(root, 0, 1, 2, 3, 4, 250)
    cfg = ignoring(root, 250)
    cfg.pop('model')
    assert check(cfg, 'x', ('train',), workers=0).ok


def test_one_class_with_labels_0_and_1_is_answered_with_the_binary_recipe(root):
    labels_of(root, 0, 1)
    (error,) = errors_of(config(root, num_classes=1))
    assert 'set num_classes=2, out_channels=1 and loss_decode.use_sigmoid=True' in error


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
    cfg = config(root)
    cfg.auto_scale_lr = dict(base_batch_size=16)
    cfg.optim_wrapper = dict(optimizer=dict(lr=0.01))

    (warning,) = warnings_of(cfg, gpus=2)
    assert 'effective batch 4 (2 a GPU x 2 GPU), the recipe has 16' in warning
    assert '--auto-scale-lr (lr 0.0025 instead of 0.01)' in warning
    assert warnings_of(cfg, gpus=8) == []


def test_each_of_several_heads_is_named_as_it_is_typed(root):
    cfg = config(root, num_classes=5)
    cfg.model.auxiliary_head = [dict(num_classes=5), dict(num_classes=7)]
    (finding,) = [f for f in check(cfg, 'x', ('train',), workers=0).findings if f.options]
    assert finding.text.startswith('model.auxiliary_head.1.num_classes is 7, but')
    (option,) = finding.options
    key, _, value = option.partition('=')
    cfg.merge_from_dict({key: int(value)})
    assert check(cfg, 'x', ('train',), workers=0).ok


def test_a_batch_that_accumulation_cannot_reach_is_an_error(root):
    cfg = config(root)
    cfg.auto_scale_lr = dict(base_batch_size=16)
    cfg.train_cfg = dict(accumulate='auto')
    found = check(cfg, 'x', ('train',), workers=0, gpus=2).findings
    assert 'effective batch 16 (2 a GPU x 2 GPU x 4 accumulated)' in ' '.join(f.text for f in found)
    (error,) = errors_of(cfg, gpus=3)
    assert "train_cfg.accumulate='auto' cannot reach 16 images per step" in error
