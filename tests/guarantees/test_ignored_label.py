"""One number in the data set, the heads and the metric says which label does not count: whatever
moves or pads labels on the way fills with it, and neither loss nor scores know of 255.
"""

import numpy as np
import pytest
import torch
from helpers.make_data import PREFIX, smooth_image, write_pair
from mmengine.dataset import pseudo_collate

from segkit.registry import DATASETS, METRICS, MODELS

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomRotate', prob=1.0, degree=40),
    dict(type='RandomCrop', crop_size=(40, 40), cat_max_ratio=0.75),
    dict(type='Pad', size=(48, 48)),
    dict(type='PackSegInputs'),
]
CLASSES = ('a', 'b', 'c', 'd')


def pairs(root, ignored):
    """Labels in which a quarter of the pixels are the ignored one."""
    rng = np.random.default_rng(0)
    for i in range(3):
        label = rng.integers(0, 4, (6, 8)).astype(np.uint8 if ignored < 256 else np.uint16)
        label[:3, :4] = ignored
        write_pair(root, f'{i}', smooth_image(rng, (48, 64)), label.repeat(8, 0).repeat(8, 1))


@pytest.mark.parametrize('ignored', [255, 250, 4, 0, 300])
def test_one_number_everywhere(tmp_path, ignored):
    pairs(tmp_path, ignored)
    dataset = DATASETS.build(
        dict(
            type='BaseSegDataset', data_root=str(tmp_path), data_prefix=PREFIX, img_suffix='.png',
            metainfo=dict(classes=CLASSES), pipeline=PIPELINE, ignore_index=ignored,
        )
    )  # fmt: skip
    head = dict(
        type='FCNHead', in_channels=6, channels=4, num_classes=4, num_convs=1, in_index=0,
        ignore_index=ignored,
    )  # fmt: skip
    model = MODELS.build(
        dict(
            type='EncoderDecoder', backbone=torch.nn.Conv2d(3, 6, 3, 8, 1), decode_head=head,
            auxiliary_head=head,
            data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 64), seg_pad_val=255),
        )
    )  # fmt: skip
    batch = model.data_preprocessor(pseudo_collate([dataset[i] for i in range(3)]), True)
    labels = torch.stack([sample.gt_sem_seg.data for sample in batch['data_samples']])
    assert set(labels.unique().tolist()) <= {0, 1, 2, 3, ignored}
    assert (labels[..., 48:, :] == ignored).all()
    assert (labels[..., 48:] == ignored).all()
    losses = model(**batch, mode='loss')
    assert all(value.isfinite().all() for value in losses.values())
    metric = METRICS.build(dict(type='IoUMetric', ignore_index=ignored))
    metric.dataset_meta = dataset.metainfo
    samples = batch['data_samples']
    for sample in samples:
        sample.pred_sem_seg = sample.gt_sem_seg.clone()
        sample.pred_sem_seg.data = torch.where(labels[0] == ignored, 1, sample.gt_sem_seg.data)
        sample.pred_sem_seg.data[sample.pred_sem_seg.data > 3] = 1
    metric.process({}, samples)
    metric.evaluate(3)
    assert metric.scores.matrix.sum() == (labels != ignored).sum()
