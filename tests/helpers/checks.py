"""Three small pairs of image and label on disk, a config that reads them, and what a check says."""

import cv2
import numpy as np
from helpers.make_data import PREFIX
from mmengine.config import Config

from segkit.inspection.check import check
from segkit.inspection.check_report import as_text

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
    return ['\n'.join([f.sentence, *f.files]) for f in findings if f.level == 'error']


def warnings_of(cfg: Config, split='train', **options) -> list[str]:
    found = check(cfg, options.pop('name', 'x'), (split,), workers=0, **options)
    assert found.ok, as_text(found)
    findings = [*found.general, *found.datasets[0].findings]
    return ['\n'.join([f.sentence, *f.files]) for f in findings if f.level == 'warning']


def paint(root, index, label) -> str:
    path = f'{root}/ann/{index:03d}.png'
    cv2.imwrite(path, label)
    return path


def labels_of(root, *values) -> None:
    for index, size in enumerate(SIZES):
        stripes = np.array(values, np.uint8)[np.arange(size[1]) * len(values) // size[1]]
        paint(root, index, np.broadcast_to(stripes, size))
