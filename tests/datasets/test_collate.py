"""Batches: what the trainer receives equals the samples, and travels as few buffers."""

import pickle
from multiprocessing.reduction import ForkingPickler

import pytest
import torch
from mmengine.structures import PixelData
from torch.utils.data import DataLoader, Dataset

from segkit.datasets import seg_collate
from segkit.registry import FUNCTIONS
from segkit.structures import ImageViews, SegDataSample


def sample(seed, height, width, labelled=True):
    generator = torch.Generator().manual_seed(seed)

    def random(channels):
        return torch.randint(
            0, 256, (channels, height, width), dtype=torch.uint8, generator=generator
        )

    data = SegDataSample(metainfo=dict(img_path=f'{seed}.png', ori_shape=(height, width)))
    if labelled:
        data.gt_sem_seg = PixelData(data=random(1))
    return dict(inputs=random(3), data_samples=data)


class Samples(Dataset):
    def __init__(self, sizes):
        self.sizes = sizes

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        return sample(index, *self.sizes[index])


def assert_equal(batch, samples):
    assert len(batch['inputs']) == len(batch['data_samples']) == len(samples)
    for image, data, wanted in zip(batch['inputs'], batch['data_samples'], samples):
        assert torch.equal(image, wanted['inputs'])
        assert torch.equal(data.gt_sem_seg.data, wanted['data_samples'].gt_sem_seg.data)
        assert data.metainfo == wanted['data_samples'].metainfo


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('sizes', [[(6, 8)] * 4, [(6, 8), (5, 9), (7, 7), (6, 8)]])
def test_batches_equal_their_samples(workers, sizes):
    dataset = Samples(sizes)
    loader = DataLoader(dataset, batch_size=4, num_workers=workers, collate_fn=seg_collate)
    batch = next(iter(loader))
    assert_equal(batch, [dataset[i] for i in range(4)])
    assert isinstance(batch['inputs'], list), 'mmengine-style preprocessors stack it themselves'
    assert torch.stack(batch['inputs'][::3]).shape == (2, 3, 6, 8)


def storages(batch):
    tensors = [*batch['inputs'], *(s.gt_sem_seg.data for s in batch['data_samples'])]
    return {tensor.untyped_storage().data_ptr() for tensor in tensors}


@pytest.mark.parametrize('sizes', [[(6, 8)] * 4, [(6, 8), (5, 9), (7, 7), (6, 8)]])
def test_a_batch_crosses_as_two_buffers(sizes):
    batch = seg_collate([sample(i, *size) for i, size in enumerate(sizes)])
    received = pickle.loads(ForkingPickler.dumps(batch))
    assert len(storages(received)) == 2


def test_a_batch_is_copied_to_pinned_memory_once(monkeypatch):
    """Without a GPU there is no pinned memory: the request for it is noted and left out."""
    pinned, make = [], torch.empty

    def empty(*args, pin_memory=False, **kwargs):
        out = make(*args, **kwargs)
        pinned.extend([out.data_ptr()] * pin_memory)
        return out

    monkeypatch.setattr(torch, 'empty', empty)
    samples = [sample(i, 6, 8) for i in range(3)]
    batch = {key: value.pin_memory() for key, value in seg_collate(samples).items()}
    assert_equal(batch, samples)
    assert storages(batch) == set(pinned)
    assert len(pinned) == 2


def test_images_without_labels_and_views_and_other_things_are_left_in_their_order():
    unlabelled = [sample(i, 4, 5, labelled=False) for i in range(2)]
    batch = seg_collate(unlabelled)
    assert [tuple(image.shape) for image in batch['inputs']] == [(3, 4, 5)] * 2
    assert [s.metainfo['img_path'] for s in batch['data_samples']] == ['0.png', '1.png']

    views = [dict(inputs=ImageViews([torch.full((1, n, n), i) for n in (1, 2)])) for i in range(2)]
    inputs = pickle.loads(ForkingPickler.dumps(seg_collate(views)))['inputs']
    shapes = [[tuple(view.shape) for view in image.tensors] for image in inputs]
    assert shapes == [[(1, 1, 1), (1, 2, 2)]] * 2
    assert [image.tensors[0].item() for image in inputs] == [0, 1]

    assert seg_collate([1, 2]) == [1, 2]


def test_it_is_found_by_name():
    assert FUNCTIONS.get('seg_collate') is seg_collate
